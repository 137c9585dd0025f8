"""A fault run as one drawing: time to the right, a line for each task, faults as shaded bands.

Contents: `draw`, which puts together the bands, the lines of tasks, the marks of violations, the axis and the legend.

All of one kind in a line is one path, so that two hundred tasks of ten minutes are still a file that a browser opens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape

from faults.checker.evidence import Evidence, gather, group, over, rows_by_tick
from faults.checker.oracle import MICROSECOND, ticks
from faults.checker.picture_style import KINDS, STYLE
from faults.checker.words import clock, span
from faults.model import Every, Fault, Observed, Row, Violation

WIDTH = 1600
GUTTER = 170
"""Where the names of tasks stand."""

MARGIN = 20
LANE = 15
"""Height of a lane of faults' names."""

AXIS = 22
LEGEND = 46
TITLE = 30
LINES = 1500
"""How high all lines together should be at most, if they are not thinner than can be seen."""

NARROWEST = 1.8
"""Width of what has no length."""

THINNEST, THICKEST = 5.0, 26.0
LETTER = 6.4
"""Width of a letter of the names of faults."""

STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600)
"""Seconds between marks of the axis."""


def draw(observed: Observed, violations: Sequence[Violation]) -> str:
    """One self-contained SVG."""
    evidence = gather(observed)
    lanes = list(_lanes(observed))
    frame = Frame(observed.begun, observed.read, evidence.tasks, lanes=max([0, *lanes]) + 1)
    parts = [
        *_heading(frame, observed, violations),
        *_bands(frame, observed.faults, lanes),
        *_axis(frame),
        *(part for task in evidence.tasks for part in _line(frame, evidence, task)),
        *_marks(frame, evidence, violations),
        *_legend(frame),
    ]
    size = f'width="{WIDTH}" height="{frame.height:g}" viewBox="0 0 {WIDTH} {frame.height:g}"'
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
    background = f'<rect class="paper" width="{WIDTH}" height="{frame.height:g}"/>'
    return "\n".join([opening, f"<style>{STYLE}</style>", background, *parts, "</svg>"]) + "\n"


@dataclass(frozen=True, slots=True)
class Frame:
    """Where things stand, in pixels."""

    begin: datetime
    end: datetime
    tasks: Sequence[str]
    lanes: int

    @property
    def top(self) -> float:
        """Above the first line."""
        return TITLE + self.lanes * LANE + AXIS

    @property
    def step(self) -> float:
        """From one line to the next."""
        return max(THINNEST, min(THICKEST, LINES / max(1, len(self.tasks))))

    @property
    def bottom(self) -> float:
        """Below the last line."""
        return self.top + self.step * len(self.tasks)

    @property
    def height(self) -> float:
        """Of all."""
        return self.bottom + LEGEND

    def x(self, instant: datetime) -> float:
        """Of an instant, kept within the picture."""
        share = (instant - self.begin) / (self.end - self.begin)
        return GUTTER + max(0.0, min(1.0, share)) * (WIDTH - GUTTER - MARGIN)

    def y(self, task: str) -> float:
        """The upper edge of a task's line."""
        return self.top + self.step * self.tasks.index(task)


# -- what is broken


def _lanes(observed: Observed) -> Iterator[int]:
    """The lane of each fault's name: the first that is free where it begins."""
    seconds = (observed.read - observed.begun).total_seconds()
    free: list[float] = []
    for fault in observed.faults:
        begin = (fault.begun - observed.begun).total_seconds() * (WIDTH - GUTTER - MARGIN) / seconds
        lane = next((number for number, end in enumerate(free) if end <= begin), len(free))
        free[lane : lane + 1] = [begin + LETTER * (len(_title(fault)) + 2)]
        yield lane


def _title(fault: Fault) -> str:
    return f"{fault.name}: {fault.target}"


def _bands(frame: Frame, faults: Sequence[Fault], lanes: Sequence[int]) -> Iterator[str]:
    for fault, lane in zip(faults, lanes, strict=True):
        y = TITLE + lane * LANE
        until = f"healed {clock(fault.healed)}, {span(fault.recovery)} to recover"
        title = f"<title>{escape(_title(fault))}, {clock(fault.begun)}, {until}</title>"
        begin, healed, well = frame.x(fault.begun), frame.x(fault.healed), frame.x(over(fault))
        for kind, left, right in (("fault", begin, healed), ("recovery", healed, well)):
            box = f'x="{left:.1f}" y="{y}" width="{right - left:.1f}" height="{frame.bottom - y:.1f}"'
            yield f'<rect class="{kind}" {box}>{title}</rect>'
        # A name at the right end is written to the left, or it would be cut off.
        fits = begin + LETTER * len(_title(fault)) < WIDTH
        anchor = f'x="{begin + 3:.1f}"' if fits else f'x="{WIDTH - 4}" text-anchor="end"'
        yield f'<text class="name" {anchor} y="{y + LANE - 4}">{escape(_title(fault))}</text>'


# -- what became of each task


def _line(frame: Frame, evidence: Evidence, task: str) -> Iterator[str]:
    y, step = frame.y(task), frame.step
    yield f'<path class="rule" d="M{GUTTER} {y + step:.1f}H{WIDTH - MARGIN}"/>'
    yield from _name(task, y, step)
    rows = [row for row in evidence.rows_of.get(task, ()) if row.scheduled_at <= evidence.observed.read]
    windows = {tick: (tick, tick + _tolerance(evidence, task, tick)) for tick in evidence.owed(task)}
    written = rows_by_tick(rows, windows)
    yield from _path(frame, "window", y + step * 0.08, step * 0.84, windows.values())
    lost = [window for tick, window in windows.items() if not written.get(tick)]
    yield from _path(frame, "lost", y + step * 0.08, step * 0.84, lost)
    for kind, some in group(rows, _kind).items():
        spans = [_span(evidence, row) for row in some]
        high = 0.36 if kind == "hollow" else 0.6
        yield from _path(frame, kind, y + step * (1 - high) / 2, step * high, spans)


def _name(task: str, y: float, step: float) -> Iterator[str]:
    """As much of a task's name as there is room for."""
    size = min(12.0, step * 0.95)
    room = int((GUTTER - 12) / (size * 0.62))
    shown = task if len(task) <= room else f"{task[: room - 1]}…"
    yield f'<text class="task" x="{GUTTER - 8}" y="{y + step * 0.72:.1f}" font-size="{size:.1f}">{escape(shown)}</text>'


def _tolerance(evidence: Evidence, task: str, tick: datetime) -> timedelta:
    return max((one.tolerance for one in evidence.course(task).definitions(tick)), default=timedelta(0))


def _kind(row: Row) -> str:
    match row.state:
        case "succeeded":
            return "good"
        case "failed" | "timed_out" | "cancelled":
            return "bad"
        case "skipped":
            return "hollow"
        case _:
            return "open"


def _span(evidence: Evidence, row: Row) -> tuple[datetime, datetime]:
    """From when to when a row is drawn: its work, or the ticks that it stands for."""
    began = evidence.began(row)
    if began is None:
        return row.scheduled_at, row.last_scheduled_at or row.scheduled_at
    witnessed = [one.ended for one in evidence.witnesses.get(row.run_id, ()) if one.ended]
    return began, max(witnessed, default=None) or evidence.ended(row) or evidence.observed.read


def _path(
    frame: Frame, kind: str, y: float, height: float, spans: Iterable[tuple[datetime, datetime]]
) -> Iterator[str]:
    """Boxes of one kind in one line, none too narrow to be seen."""
    boxes = []
    for begin, end in spans:
        left = frame.x(begin)
        width = max(frame.x(end) - left, NARROWEST)
        boxes.append(f"M{left:.1f} {y:.1f}h{width:.1f}v{height:.1f}h-{width:.1f}z")
    if boxes:
        yield f'<path class="{kind}" d="{"".join(boxes)}"/>'


# -- what was not kept


def _marks(frame: Frame, evidence: Evidence, violations: Sequence[Violation]) -> Iterator[str]:
    """A triangle at the run, or before the line of the task; its sentence on hovering."""
    for violation in violations:
        if violation.task not in frame.tasks:
            continue
        row = evidence.rows.get(violation.run_id)
        x = frame.x(row.scheduled_at) if row else GUTTER - 3
        y, half = frame.y(violation.task) + frame.step * 0.5, max(3.5, min(6.0, frame.step * 0.3))
        title = f"<title>{escape(f'{violation.promise} {violation.task}: {violation.what}')}</title>"
        corners = f"M{x - half:.1f} {y - half * 1.6:.1f}h{half * 2:.1f}L{x:.1f} {y:.1f}z"
        yield f'<path class="mark" d="{corners}">{title}</path>'


# -- around it


def _heading(frame: Frame, observed: Observed, violations: Sequence[Violation]) -> Iterator[str]:
    verdict = f"{len(violations)} violations" if violations else "every promise was kept"
    words = f"Fault run {observed.seed}: {verdict}"
    yield f'<text class="title" x="{MARGIN}" y="20">{escape(words)}</text>'
    when = f"{len(frame.tasks)} tasks, {clock(observed.begun)} – {clock(observed.read)} UTC"
    yield f'<text class="note" x="{WIDTH - MARGIN}" y="20" text-anchor="end">{when}</text>'


def _axis(frame: Frame) -> Iterator[str]:
    seconds = (frame.end - frame.begin).total_seconds()
    step = next((one for one in STEPS if seconds / one <= 20), STEPS[-1])
    for instant in ticks(Every(timedelta(seconds=step)), frame.begin - MICROSECOND, frame.end):
        x = frame.x(instant)
        yield f'<path class="grid" d="M{x:.1f} {frame.top - 5:.1f}V{frame.bottom:.1f}"/>'
        yield f'<text class="note" x="{x:.1f}" y="{frame.top - 8:.1f}" text-anchor="middle">{instant:%H:%M:%S}</text>'


def _legend(frame: Frame) -> Iterator[str]:
    y, x = frame.bottom + 16, float(GUTTER)
    for kind, words in KINDS.items():
        if kind == "mark":
            yield f'<path class="mark" d="M{x + 5} {y + 1}h12l-6 10z"/>'
        else:
            yield f'<rect class="{kind}" x="{x:.1f}" y="{y}" width="22" height="12"/>'
        yield f'<text class="note" x="{x + 28:.1f}" y="{y + 10}">{words}</text>'
        x += 52 + LETTER * len(words)
