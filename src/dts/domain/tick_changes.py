"""What a change of definitions does to the ticks to come: which appear, which vanish, which move."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from operator import itemgetter

from dts.domain.ids import MICROSECOND
from dts.domain.schedule import CompiledSchedule

Move = tuple[datetime | None, datetime | None]
"""When something ran, and when it will: None on the left appears, None on the right vanishes."""


@dataclass(slots=True)
class TickChanges:
    """The difference of two schedules over a time. Ticks on excluded dates do not run, so they are none here.

    stay: ticks of both. first: the first differences, in the order of time.
    """

    stay: int = 0
    appear: int = 0
    vanish: int = 0
    move: int = 0
    first: list[Move] = field(default_factory=list)

    @property
    def differ(self) -> bool:
        """Whether there is any difference."""
        return bool(self.appear or self.vanish or self.move)


def tick_changes(
    before: CompiledSchedule | None, after: CompiledSchedule | None, *, since: datetime, until: datetime, listed: int
) -> TickChanges:
    """Compares the ticks in [since, until), one after the other.

    A tick that vanishes next to one that appears, with nothing of the two schedules' differences between them, has
    moved. None on either side is a task that is not there, or has no schedule, or is paused.

    Args:
        before: what is.
        after: what would be.
        since: the first instant that counts.
        until: the first one that no longer counts.
        listed: so many differences are kept; all are counted.
    """
    found = TickChanges()
    for old, new in _moves(before, after, since, until):
        if old is not None and old == new:
            found.stay += 1
            continue
        if old is None:
            found.appear += 1
        elif new is None:
            found.vanish += 1
        else:
            found.move += 1
        if len(found.first) < listed:
            found.first.append((old, new))
    return found


def _moves(
    before: CompiledSchedule | None, after: CompiledSchedule | None, since: datetime, until: datetime
) -> Iterator[Move]:
    """Every tick with what becomes of it; a difference is held back until it is known whether it has moved."""
    held: Move | None = None
    sides = (_side(before, 0, since, until), _side(after, 1, since, until))
    for at, group in groupby(heapq.merge(*sides), key=itemgetter(0)):
        there = {side for _, side in group}
        if len(there) == 2:
            yield at, at
            continue
        single: Move = (at, None) if 0 in there else (None, at)
        if held is None:
            held = single
        elif (held[0] is None) is (single[0] is None):
            yield held
            held = single
        else:
            yield held[0] or single[0], held[1] or single[1]
            held = None
    if held is not None:
        yield held


def _side(
    schedule: CompiledSchedule | None, side: int, since: datetime, until: datetime
) -> Iterator[tuple[datetime, int]]:
    if schedule is None:
        return
    for tick in schedule.walk(since - MICROSECOND, until - MICROSECOND):
        if not tick.excluded:
            yield tick.at, side
