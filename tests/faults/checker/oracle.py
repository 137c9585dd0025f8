"""When tasks are due, found without dts: what a plan names, and what the changes of a task make of it.

Contents: `ticks`, `next_tick`, `names`: a plan. `World`: one thing that may be true of a task. `Course`: what may be
true of it at each instant. `course_of`: the course that operations make.

An operation that was acknowledged took effect at some instant between its invocation and its answer, and dts is given
δ to follow; until then both are right. One that failed did nothing. One of which nobody knows (INFO) may have
happened, may happen yet, and may never: both are right from its invocation on, for ever.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from itertools import pairwise

from faults.model import Definition, Every, Minutely, Once, Operation, Outcome, Plan, Verb

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
MINUTE = timedelta(minutes=1)

FOLLOW = timedelta(seconds=2)
"""δ: how soon after its answer a change has its effect; as far ahead as dts claims what is due."""

RAREST = timedelta(days=1)
"""No plan of a fault run is due less often."""

# -- plans


def ticks(plan: Plan, after: datetime, until: datetime) -> Iterator[datetime]:
    """The instants in (after, until] that the plan names, in order."""
    match plan:
        case Every():
            yield from _every(plan, after, until)
        case Minutely():
            yield from _minutely(plan, after, until)
        case Once() if after < plan.at <= until:
            yield plan.at


def next_tick(plan: Plan, after: datetime) -> datetime | None:
    """The first instant after this one, if there is one within a day."""
    return next(ticks(plan, after, after + RAREST), None)


def names(plan: Plan, instant: datetime) -> bool:
    """Whether the plan names this very instant."""
    return next(ticks(plan, instant - MICROSECOND, instant), None) is not None


def _every(plan: Every, after: datetime, until: datetime) -> Iterator[datetime]:
    anchor = EPOCH + plan.phase
    tick = anchor + ((after - anchor) // plan.period + 1) * plan.period
    while tick <= until:
        yield tick
        tick += plan.period


def _minutely(plan: Minutely, after: datetime, until: datetime) -> Iterator[datetime]:
    tick = after.replace(second=0, microsecond=0) + MINUTE
    while tick <= until:
        if tick.minute in plan.minutes:
            yield tick
        tick += MINUTE


# -- what operations make of them


class Due(Enum):
    """Whether a task owes a tick."""

    SURELY = auto()
    EITHER = auto()
    NOT = auto()


@dataclass(frozen=True, slots=True)
class World:
    """One thing that may be true of a task at an instant. definition: None while there is no such task."""

    definition: Definition | None = None
    paused: bool = False

    def plans(self, tick: datetime) -> bool:
        """Whether the definition names the tick, paused or not."""
        return self.definition is not None and names(self.definition.plan, tick)

    def after(self, operation: Operation) -> World:
        """The world in which the operation has happened."""
        match operation.verb:
            case Verb.CREATE if self.definition is None:
                return World(operation.definition)
            case Verb.UPDATE if self.definition is not None:
                return replace(self, definition=operation.definition)
            case Verb.PAUSE | Verb.RESUME if self.definition is not None:
                return replace(self, paused=operation.verb is Verb.PAUSE)
            case Verb.DELETE:
                return World()
            case _:
                return self


Worlds = frozenset[World]
NOTHING: Worlds = frozenset({World()})


@dataclass(frozen=True, slots=True)
class Course:
    """What may be true of a task: from `turns[i]` on one of `worlds[i]`, until the next turn."""

    turns: Sequence[datetime]
    worlds: Sequence[Worlds]

    def at(self, instant: datetime) -> Worlds:
        """What may be true at an instant."""
        place = bisect_right(self.turns, instant)
        return self.worlds[place - 1] if place else NOTHING

    def definitions(self, instant: datetime) -> frozenset[Definition]:
        """The definitions of which one applies at an instant; if none can, all that the task ever had."""
        applying = frozenset(world.definition for world in self.at(instant) if world.definition is not None)
        return applying or frozenset(world.definition for some in self.worlds for world in some if world.definition)

    def due(self, tick: datetime) -> Due:
        """Whether the task owes a tick."""
        worlds = self.at(tick)
        owing = [world for world in worlds if not world.paused and world.plans(tick)]
        if not owing:
            return Due.NOT
        return Due.SURELY if len(owing) == len(worlds) else Due.EITHER

    def paused(self, tick: datetime) -> bool:
        """Whether the tick may have passed while the task was paused."""
        return any(world.paused and world.plans(tick) for world in self.at(tick))

    def ever_planned(self, tick: datetime) -> bool:
        """Whether any definition that the task ever had names the tick."""
        return any(world.plans(tick) for worlds in self.worlds for world in worlds)

    def surely_due(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """The ticks in (after, until] that are owed in every world, in order."""
        parts = pairwise([*self.turns, until + MICROSECOND])
        for (begin, end), worlds in zip(parts, self.worlds, strict=True):
            first = next(iter(worlds)).definition
            since, last = max(after, begin - MICROSECOND), min(until, end - MICROSECOND)
            if first is not None and since < last:
                yield from (tick for tick in ticks(first.plan, since, last) if self.due(tick) is Due.SURELY)


def course_of(operations: Iterable[Operation]) -> Course:
    """What the operations on one task make of it."""
    done = sorted((one for one in operations if one.outcome is not Outcome.FAIL), key=lambda one: one.invoked)
    turns = sorted({instant for one in done for instant in (one.invoked, _followed(one)) if instant})
    return Course(turns, [_worlds(done, turn) for turn in turns])


def _followed(operation: Operation) -> datetime | None:
    """From when on an operation surely has its effect; None if that is never sure."""
    if operation.outcome is not Outcome.OK or operation.completed is None:
        return None
    return operation.completed + FOLLOW


def _worlds(operations: Sequence[Operation], instant: datetime) -> Worlds:
    worlds, doubtful = NOTHING, list[Operation]()
    for operation in operations:
        if operation.invoked > instant:
            break
        happened = frozenset(world.after(operation) for world in worlds)
        followed = _followed(operation)
        worlds = happened if followed is not None and followed <= instant else worlds | happened
        if operation.outcome is Outcome.INFO:
            doubtful.append(operation)
        # What nobody knows of may also have happened last.
        worlds |= {world.after(late) for late in doubtful for world in worlds}
    return worlds
