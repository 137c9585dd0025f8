"""The last hour and the next on one line: a lane for what no node had, and one for each node.

A cell is a minute. What ended stands from the bottom up, by outcome; what is to come is hollow.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import log2

from dts.pb.dts.v1 import ListRunCountsResponse, Run

MINUTE = timedelta(minutes=1)
PAST = 60
CELLS = 120
HEIGHT = 24
LANES = 12
"""More nodes than these share the last lane."""

NO_NODE = "schedule"
OTHERS = "other nodes"
KINDS = ("succeeded", "failed", "cancelled", "skipped")
CLASSES = {"succeeded": "ok", "failed": "bad", "cancelled": "off", "skipped": "skip"}


@dataclass(frozen=True, slots=True)
class Mark:
    """A rectangle in a lane, in cells and in units of its height."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    told: str


@dataclass(slots=True)
class Lane:
    """A line of the picture."""

    name: str
    marks: list[Mark] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Timeline:
    """now: where the present is, in cells. more: the marks of what is to come end early."""

    lanes: list[Lane]
    now: float
    begin: datetime
    counted_since: datetime | None


def begin_of(now: datetime) -> datetime:
    """The first minute of the picture."""
    return now.replace(second=0, microsecond=0) - PAST * MINUTE


def timeline(
    now: datetime,
    nodes: Sequence[str],
    counts: ListRunCountsResponse,
    running: Iterable[Run],
    coming: Sequence[int],
) -> Timeline:
    """The picture.

    Args:
        now: the present.
        nodes: names of those that have a lane in any case.
        counts: of the last hour, by minute and node, from `begin_of(now)`.
        running: what goes on.
        coming: how many ticks are due in each minute from the present one on.
    """
    begin = begin_of(now)
    names = _lanes(nodes, counts)
    lanes = {name: Lane(name) for name in (NO_NODE, *names)}
    for (name, minute), cell in _cells(names, counts).items():
        lanes[name].marks += _stack(minute, cell, begin)
    for run in running:
        if run.started_at is not None:
            lanes[_lane_of(run.node, names)].marks.append(_bar(run, begin, now))
    lanes[NO_NODE].marks += [_hollow(PAST + number, count, begin) for number, count in enumerate(coming) if count]
    return Timeline(list(lanes.values()), (now - begin) / MINUTE, begin, counts.counted_since)


def _lanes(nodes: Sequence[str], counts: ListRunCountsResponse) -> list[str]:
    names = list(dict.fromkeys([*nodes, *(name for name in counts.nodes if name)]))
    return names if len(names) <= LANES else [*names[: LANES - 1], OTHERS]


def _lane_of(node: str, names: Sequence[str]) -> str:
    if not node:
        return NO_NODE
    return node if node in names else OTHERS if OTHERS in names else NO_NODE


def _cells(names: Sequence[str], counts: ListRunCountsResponse) -> dict[tuple[str, int], dict[str, int]]:
    cells: dict[tuple[str, int], dict[str, int]] = defaultdict(lambda: dict.fromkeys(KINDS, 0))
    for row, (node, step) in enumerate(zip(counts.nodes, counts.steps, strict=True)):
        cell = cells[_lane_of(node, names), step]
        for kind in KINDS:
            cell[kind] += getattr(counts, kind)[row]
    return cells


def _stack(minute: int, cell: dict[str, int], begin: datetime) -> list[Mark]:
    """One cell: its height grows with the logarithm of what is in it, and each outcome has its share of it."""
    total = sum(cell.values())
    if not total:
        return []
    whole = _height(total)
    said = ", ".join(f"{count} {kind}" for kind, count in cell.items() if count)
    told = f"{begin + minute * MINUTE:%H:%M} UTC: {said}"
    marks: list[Mark] = []
    bottom = float(HEIGHT)
    for kind, count in cell.items():
        if count:
            height = max(whole * count / total, 3.0)  # the one that failed among a thousand must be seen
            bottom -= height
            marks.append(Mark(minute + 0.12, round(bottom, 1), 0.76, round(height, 1), CLASSES[kind], told))
    return marks


def _bar(run: Run, begin: datetime, now: datetime) -> Mark:
    assert run.started_at is not None
    start = max((run.started_at - begin) / MINUTE, 0.0)
    width = max((now - begin) / MINUTE - start, 0.6)
    return Mark(round(start, 2), 2, round(width, 2), 5, "run", f"{run.task} is running")


def _hollow(minute: int, count: int, begin: datetime) -> Mark:
    height = _height(count)
    told = f"{begin + minute * MINUTE:%H:%M} UTC: {count} due"
    return Mark(minute + 0.2, round(HEIGHT - height - 0.5, 1), 0.6, round(height, 1), "due", told)


def _height(count: int) -> float:
    return min(8.0 + 3.0 * log2(count), HEIGHT - 2.0)
