"""Runs given to the windows in which they should have started, without asking a run which it is.

The check of Jepsen's test of Chronos (jepsen-io/jepsen, chronos/checker.clj), written from faults.md §3.2. Windows are
intervals and runs are points, so no solver is needed: the greatest matching comes of a sweep over the runs by their
start, each of which goes to the open window that closes first (Glover 1967).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import heappop, heappush
from typing import NamedTuple

FORGIVENESS = timedelta(seconds=5)
"""F: by how much a deadline may be missed."""


class Window(NamedTuple):
    """Whole seconds since the epoch in which one run must start, both ends included."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Point:
    """A run, by when it started. complete: whether it came to its end."""

    start: float
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Matching:
    """Which windows have a run, and what is left of both."""

    pairs: Sequence[tuple[Window, Point]]
    unmatched: Sequence[Window]
    extra: Sequence[Point]
    incomplete: Sequence[Point]

    @property
    def valid(self) -> bool:
        """Whether each window has a run of its own."""
        return not self.unmatched


def repeats(
    *, start: datetime, count: int, interval: timedelta, tolerance: timedelta, lasts: timedelta, read: datetime
) -> Iterator[Window]:
    """The windows of a job of Chronos: those whose runs must be over when the runs are read."""
    for k in range(count):
        tick = start + k * interval
        if tick >= read - tolerance - lasts:
            return
        yield window(tick, tick + tolerance)


def window(tick: datetime, deadline: datetime) -> Window:
    """From a tick to its forgiven deadline."""
    return Window(int(tick.timestamp() // 1), int((deadline + FORGIVENESS).timestamp() // 1))


def match(windows: Iterable[Window], points: Iterable[Point]) -> Matching:
    """As many windows as possible with a complete run each. O((n + m) log n)."""
    runs = sorted(points, key=lambda point: point.start)
    coming = sorted(windows, reverse=True)  # the next one last
    opened: list[tuple[int, int]] = []  # by their end
    pairs, unmatched, extra = list[tuple[Window, Point]](), list[Window](), list[Point]()
    for run in (run for run in runs if run.complete):
        second = int(run.start // 1)
        while coming and coming[-1].begin <= second:
            begin, end = coming.pop()
            heappush(opened, (end, begin))
        while opened and opened[0][0] < second:
            unmatched.append(_window(heappop(opened)))
        if opened:
            pairs.append((_window(heappop(opened)), run))
        else:
            extra.append(run)
    left = [*unmatched, *map(_window, opened), *coming]
    return Matching(pairs, sorted(left), extra, [run for run in runs if not run.complete])


def _window(opened: tuple[int, int]) -> Window:
    end, begin = opened
    return Window(begin, end)
