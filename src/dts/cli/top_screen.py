"""What `dts top` looks like: a snapshot as lines of the width and number of the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rich.cells import cell_len, set_cell_size

from dts.cli.errors import printable
from dts.cli.output import STYLES
from dts.cli.top_data import LogView, Place, Snapshot
from dts.domain.durations import format_duration
from dts.domain.words import lateness, rounded, took, word
from dts.pb.dts.v1 import Node, NodeState, Reason, Run, Tick

KEYS = "↑↓ choose  l log  c cancel  r retry  q quit"
LOG_KEYS = "q back"
NODES_SHOWN = 6
NEXT_SHOWN = 6
SECOND = timedelta(seconds=1)

Fragment = tuple[str, str]
"""A style of prompt_toolkit, and text."""

Line = list[Fragment]


@dataclass(frozen=True, slots=True)
class Screen:
    """Lines to show. runs: those among which the pointer moves, in the order in which they are shown."""

    lines: list[Line]
    runs: list[Run]


@dataclass(frozen=True, slots=True)
class Room:
    """How many rows each list gets."""

    nodes: int
    running: int
    upcoming: int
    recent: int


def lists(found: Snapshot, place: Place, *, server: str, width: int, height: int, problem: str) -> Screen:
    """The four lists, cut to the size of the terminal.

    Args:
        found: what the server said.
        place: where somebody is.
        server: its address.
        width: columns of the terminal.
        height: rows of it.
        problem: why the server gave no answer since; empty if it did.
    """
    room = rooms(found, height)
    running, recent = list(found.running[: room.running]), list(found.recent[: room.recent])
    chosen = place.run([*running, *recent])
    mark = chosen.id if chosen else ""
    lines = [_head(found, server, problem)]
    lines += _section("NODES", len(found.nodes), [_node(node) for node in found.nodes[: room.nodes]])
    lines += _section("RUNNING", len(found.running), [_running(run, found.at, mark) for run in running])
    lines += _section("NEXT", len(found.upcoming), [_tick(tick, found.at) for tick in found.upcoming[: room.upcoming]])
    lines += _section("RECENT", len(found.recent), [_past(run, mark) for run in recent])
    return Screen(_framed(lines, _foot(place, KEYS), width, height), [*running, *recent])


def log(view: LogView, place: Place, *, width: int, height: int) -> Screen:
    """The last lines of a log, its standard error in red."""
    run = view.run
    state = "over" if view.over else "goes on"
    head: Line = [("bold", f"log of {run.id[:8]} {run.task} "), ("", f"scheduled {_clock(run.scheduled_at)}, {state}")]
    shown = [[("fg:ansired" if error else "", line)] for error, line in view.last(height - 2)]
    return Screen(_framed([head, *shown], _foot(place, LOG_KEYS), width, height), [])


def rooms(found: Snapshot, height: int) -> Room:
    """Shares the rows out: nodes and next get few, what runs up to half of the rest, and what ran what is left."""
    rows = max(height - 2 - 4, 4)  # head and foot, and the title of each list
    nodes = min(len(found.nodes), NODES_SHOWN, rows // 4)
    upcoming = min(len(found.upcoming), NEXT_SHOWN, rows // 4)
    rest = rows - nodes - upcoming
    running = min(len(found.running), max(rest - min(len(found.recent), rest // 2), 1))
    return Room(nodes, running, upcoming, min(len(found.recent), rest - running))


def _head(found: Snapshot, server: str, problem: str) -> Line:
    ready = sum(node.state is NodeState.READY for node in found.nodes)
    head: Line = [("bold", f"dts {server}  "), ("", f"{_clock(found.at)}  {ready} of {len(found.nodes)} nodes ready")]
    return [*head, ("fg:ansired", f"  no answer since: {printable(problem)}")] if problem else head


def _section(title: str, count: int, rows: Sequence[Line]) -> list[Line]:
    shown = f"{len(rows)} of {count}" if len(rows) < count else str(count)
    return [[("bold reverse", f"{title} {shown} ")], *rows]


def _node(node: Node) -> Line:
    state = word(node.state).replace("_", " ")
    slots = f"{node.running}/{node.capacity.slots}" if node.capacity is not None else str(node.running)
    name: Line = [("", f"  {_cut(node.hostname, 24)} "), _state(word(node.state), state, 12)]
    return [*name, ("", f"{slots:>9} runs  "), *_note(node)]


def _note(node: Node) -> Line:
    return [("", printable(node.drain_note))] if node.drain_note else []


def _running(run: Run, now: datetime, mark: str) -> Line:
    since = now - run.started_at if run.started_at is not None else None
    shown = rounded(_whole(since)) if since is not None else "-"
    return _run(run, mark, f"{shown:>10}", run.node or run.message)


def _past(run: Run, mark: str) -> Line:
    reason = word(run.reason)
    if run.reason is Reason.EXIT_CODE:
        reason = f"exit code {run.exit_code}"
    late = lateness(run)
    said = [run.node, "" if reason == "ok" else reason, f"late {rounded(late)}" if late and late >= SECOND else ""]
    return _run(run, mark, f"{rounded(took(run)) or '-':>10}", "  ".join(text for text in said if text))


def _run(run: Run, mark: str, span: str, more: str) -> Line:
    pointer = "❯" if run.id == mark else " "
    name = f"{pointer} {run.id[:8]} {_cut(run.task, 28)} {_clock(run.scheduled_at)} "
    style = "reverse" if run.id == mark else ""
    return [(style, name), _state(word(run.state), word(run.state), 10), ("", f"{span}  {printable(more)}")]


def _tick(tick: Tick, now: datetime) -> Line:
    due = tick.scheduled_at
    left = f"in {format_duration(max(_whole(due - now), timedelta(0)))}" if due is not None else ""
    excluded = "  excluded" if tick.excluded else ""
    return [("", f"  {_cut(tick.task, 37)} {_clock(due)} {left}{excluded}")]


def _state(key: str, text: str, width: int) -> Fragment:
    color = STYLES.get(key)
    return (f"fg:ansi{color}" if color else "", _cut(text, width))


def _foot(place: Place, keys: str) -> Line:
    if place.asked:
        return [("bold", f"{place.asked} [y/N]")]
    return [("fg:ansibrightblack", keys), ("", f"   {printable(place.message)}" if place.message else "")]


def _framed(lines: list[Line], foot: Line, width: int, height: int) -> list[Line]:
    """Lines of exactly this height, the foot last, none wider than the terminal."""
    body = lines[: height - 1]
    body += [[] for _ in range(height - 1 - len(body))]
    return [_fitted(line, width) for line in [*body, foot]]


def _fitted(line: Line, width: int) -> Line:
    fitted: Line = []
    left = width
    for style, text in line:
        clean = printable(text)
        cells = cell_len(clean)
        fitted.append((style, clean if cells <= left else set_cell_size(clean, left)))
        left -= min(cells, left)
    return fitted


def _cut(text: str, width: int) -> str:
    return set_cell_size(printable(text), width)


def _whole(span: timedelta) -> timedelta:
    return timedelta(seconds=int(span.total_seconds()))


def _clock(at: datetime | None) -> str:
    return f"{at.astimezone():%H:%M:%S}" if at is not None else " " * 8
