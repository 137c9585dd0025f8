"""The coming ticks as a field: a row for each hour and a cell for each minute, or a row for each day or node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from math import ceil, log

from dts.pb.dts.v1 import NodeTicks

MINUTE = timedelta(minutes=1)
LEVELS = 5
OVER = "over"
PEAKS = {OVER, f"level{LEVELS}"}


@dataclass(frozen=True, slots=True)
class Shape:
    """row: how long a row is. step: how long a cell is."""

    row: timedelta
    step: timedelta

    @property
    def cells(self) -> int:
        """Of a row."""
        return self.row // self.step


DAY = Shape(row=timedelta(hours=1), step=MINUTE)
WEEK = Shape(row=timedelta(days=1), step=15 * MINUTE)


@dataclass(frozen=True, slots=True)
class Cell:
    """x: its place in the row. kind: the class of its colour, over where it is more than there are slots for."""

    x: int
    kind: str
    told: str


@dataclass(frozen=True, slots=True)
class Row:
    """begin: of its first cell. paths: most of its cells, by class. peaks: the fullest, which say what they are."""

    begin: datetime
    paths: dict[str, str]
    peaks: list[Cell]
    total: int


@dataclass(frozen=True, slots=True)
class Lane:
    """What falls upon a node. width: how many cells. paths: those with ticks, by class. most: of the fullest minute."""

    name: str
    slots: int
    width: int
    paths: dict[str, str]
    most: float


@dataclass(frozen=True, slots=True)
class Field:
    """The picture."""

    width: int
    rows: list[Row]
    most: int
    total: int


def field(since: datetime, ticks: Sequence[int], shape: Shape, *, tasks: Sequence[int], slots: int) -> Field:
    """The picture.

    Args:
        since: where the first count begins.
        ticks: how many are due in each step.
        shape: of the picture.
        tasks: how many tasks are due in each step: these are held against slots.
        slots: how many runs all nodes could have at once; 0 if that is not known.
    """
    begin = since - (since - _midnight(since)) % shape.row
    before = (since - begin) // shape.step
    most = max(ticks, default=0)
    rows = []
    for number in range(ceil((before + len(ticks)) / shape.cells)):
        first = number * shape.cells - before
        within = [x for x in range(shape.cells) if 0 <= first + x < len(ticks)]
        counts = [(x, ticks[first + x], bool(slots) and tasks[first + x] > slots) for x in within]
        start = begin + number * shape.row
        rows.append(_row(start, counts, shape, lambda count: _level(count, most)))
    return Field(shape.cells, rows, most, sum(ticks))


def lanes(nodes: Sequence[NodeTicks], *, together: int) -> list[Lane]:
    """A row for each node.

    Args:
        nodes: how full they will be.
        together: so many cells are drawn as one, as full as the fullest of them.
    """
    return [_lane(node, together) for node in nodes]


def _lane(node: NodeTicks, together: int) -> Lane:
    peaks = [max(node.peaks[at : at + together]) for at in range(0, len(node.peaks), together)]
    paths: dict[str, str] = {}
    at = 0
    for kind, alike in groupby(peaks, key=lambda peak: _fullness(peak, node.slots)):
        width = len(list(alike))
        if kind:
            paths[kind] = paths.get(kind, "") + f"M{at} 0h{width}v10h-{width}z"
        at += width
    return Lane(node.hostname, node.slots, len(peaks), paths, max(peaks, default=0.0))


def _fullness(peak: float, slots: int) -> str:
    if not peak:
        return ""
    return OVER if peak > slots else f"level{1 + int((LEVELS - 1) * peak / slots)}"


def _row(begin: datetime, counts: Sequence[tuple[int, int, bool]], shape: Shape, level_of: Callable[[int], str]) -> Row:
    paths: dict[str, str] = {}
    peaks: list[Cell] = []
    for x, count, is_over in counts:
        if not count:
            continue
        kind = OVER if is_over else level_of(count)
        if kind in PEAKS:
            peaks.append(Cell(x, kind, f"{begin + x * shape.step:%a %d %b %H:%M} UTC: {count} due"))
        else:
            # Thousands of them: as one path they cost a tenth.
            paths[kind] = paths.get(kind, "") + f"M{x} 0h.92v10h-.92z"
    return Row(begin, paths, peaks, sum(count for _, count, _ in counts))


def _level(count: int, most: int) -> str:
    return f"level{1 + int((LEVELS - 1) * log(count) / log(most)) if most > 1 else 1}"


def _midnight(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)
