"""A look ahead: definitions replayed on a virtual clock with the durations seen so far.

One pass over the ticks of all tasks in the order of time. What is kept is what is live or waits, and figures: a week of
a thousand tasks needs no more memory than their runs at one moment. Overlap, groups and places are judged as a claim
does; attempts never fail, so retries, lost nodes and everything else that nobody can foresee are left out.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from operator import itemgetter
from typing import NamedTuple

from dts.domain.ids import MICROSECOND
from dts.domain.placement import Need, Refusal, Room
from dts.domain.policies import Effective
from dts.domain.replay_figures import Herds, Report, TaskFigures
from dts.domain.replay_rooms import Rooms, Waiters
from dts.domain.schedule import CompiledSchedule, Tick
from dts.pb.dts.v1 import Node, Overlap

HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Replayed:
    """A task in a replay.

    need: as `simplified` leaves it.
    took: how long each of its runs takes. seen: how many runs say so; 0 if it is an assumption.
    max_runs: it is due at most this often; what it ran before the replay is not known.
    """

    name: str
    schedule: CompiledSchedule
    policies: Effective
    need: Need
    took: timedelta
    seen: int
    max_runs: int | None = None


def replay(
    tasks: Sequence[Replayed],
    nodes: Sequence[Node],
    *,
    since: datetime,
    until: datetime,
    herd: int,
    reached: Callable[[timedelta], object] = lambda _past: None,
) -> Report:
    """What the ticks in [since, until) will do to tasks and nodes, if nothing runs at the beginning.

    Args:
        tasks: all that are due in that time.
        nodes: those that stand ready get the runs; without any, everything has room.
        since: the first instant that counts.
        until: the first one that no longer counts.
        herd: so many tasks that start within a second or a minute are told.
        reached: hears now and then how much of the time is past.
    """
    run = _Replay(tasks, nodes, herd)
    told = since
    for tick, task in _due(tasks, since - MICROSECOND, until - MICROSECOND):
        if tick.at >= told:
            reached(tick.at - since)
            told = tick.at + HOUR
        run.due(task, tick)
    return run.end(until)


def _due(tasks: Sequence[Replayed], after: datetime, until: datetime) -> Iterator[tuple[Tick, Replayed]]:
    """The ticks of all tasks in the order of time."""
    streams = [_of_one(task, number, after, until) for number, task in enumerate(tasks)]
    for _, _, tick, task in heapq.merge(*streams, key=itemgetter(0, 1)):
        yield tick, task


def _of_one(
    task: Replayed, number: int, after: datetime, until: datetime
) -> Iterator[tuple[datetime, int, Tick, Replayed]]:
    left = task.max_runs
    for tick in task.schedule.walk(after, until):
        if left == 0:
            return
        if left is not None and not tick.excluded:
            left -= 1
        yield tick.at, number, tick, task


@dataclass(slots=True, eq=False)
class _Due:
    """A run whose instant has come. pinned: the node that alone may have it."""

    task: Replayed
    pinned: str
    at: datetime
    figures: TaskFigures

    @property
    def place(self) -> tuple[str, str]:
        """Whose places it needs one of."""
        return self.task.name, self.pinned

    @property
    def gives_up_at(self) -> datetime:
        """When its start deadline is over."""
        return self.at + self.task.policies.start_deadline


@dataclass(slots=True, eq=False)
class _Live:
    """A run that has started. over: it has ended, or was stopped."""

    due: _Due
    room: Room | None
    over: bool = False


@dataclass(frozen=True, slots=True)
class _Delayed:
    """A tick that starts later than its instant, by its jitter."""

    task: Replayed


class _Need(NamedTuple):
    """What runs wait for; who waits for the same waits in line."""

    need: Need
    group: str
    pinned: str


ENDS, STARTS = 0, 1
"""At the same instant what ends comes first: a run that takes exactly the interval does not overlap the next."""


class _Replay:
    def __init__(self, tasks: Sequence[Replayed], nodes: Sequence[Node], herd: int) -> None:
        self._figures = {task.name: TaskFigures(task.name, task.took, task.seen) for task in tasks}
        self._rooms = Rooms(nodes)
        self._waiters: Waiters[_Need, _Due] = Waiters()
        self._herds = Herds(herd)
        self._live: dict[tuple[str, str], list[_Live]] = {}
        self._turns: dict[tuple[str, str], deque[_Due]] = {}
        self._groups: dict[str, int] = {}
        # The number is there so that events themselves are never compared.
        self._events: list[tuple[datetime, int, int, _Live | _Delayed | _Need]] = []
        self._numbers = count()

    def due(self, task: Replayed, tick: Tick) -> None:
        """A tick: what comes before it is settled first."""
        self._go_on_to(tick.at)
        figures = self._figures[task.name]
        figures.ticks += 1
        if tick.excluded:
            figures.excluded += 1
        elif tick.start > tick.at:
            self._later(tick.start, STARTS, _Delayed(task))
        else:
            self._start_of(task, tick.at)

    def end(self, until: datetime) -> Report:
        """What was found."""
        self._go_on_to(until)
        for due in self._waiters.left():
            due.figures.waiting += 1
        self._waiters.close(until)
        self._herds.close()
        return Report(
            tasks=list(self._figures.values()),
            nodes=self._rooms.figures(),
            herds=self._herds.worst.listed(),
            herd_count=self._herds.worst.count,
            shortages=self._waiters.worst.listed(),
            shortage_count=self._waiters.worst.count,
        )

    def _later(self, at: datetime, rank: int, event: _Live | _Delayed | _Need) -> None:
        heapq.heappush(self._events, (at, rank, next(self._numbers), event))

    def _go_on_to(self, instant: datetime) -> None:
        while self._events and self._events[0][0] <= instant:
            at, _, _, event = heapq.heappop(self._events)
            match event:
                case _Live(over=False):
                    self._ended(event, at)
                case _Delayed(task):
                    self._start_of(task, at)
                case _Need():
                    self._look_again(event, at)

    def _start_of(self, task: Replayed, at: datetime) -> None:
        self._herds.add(at, task.name)
        figures = self._figures[task.name]
        if words := self._rooms.nowhere(task.need):
            figures.no_place += 1
            figures.nowhere = words
            return
        pins = [room.node.id for room in self._rooms.fit(task.need)] if task.need.every else []
        for pinned in pins or [""]:
            self._come(_Due(task, pinned, at, figures), at)

    def _come(self, due: _Due, now: datetime) -> None:
        """A run whose instant or turn it is."""
        words = self._hindrance(due, now)
        if words is not None:
            need = _Need(due.task.need, due.task.policies.group, due.pinned)
            self._waiters.add(need, due, task=due.task.name, at=now, words=words)
            self._later(due.gives_up_at, ENDS, need)

    def _hindrance(self, due: _Due, now: datetime) -> str | None:
        """Settles what becomes of a run; if it waits for room, what is in its way."""
        if now >= due.gives_up_at:
            due.figures.no_place += 1
            return None
        overlap = due.task.policies.overlap
        live = self._live.get(due.place, [])
        if overlap is not Overlap.ALLOW and len(live) >= due.task.policies.max_parallel:
            due.figures.overlapped(due.at)
            if overlap not in {Overlap.CANCEL_OTHER, Overlap.TERMINATE_OTHER}:
                self._blocked(due, overlap)
                return None
            due.figures.replaced += len(live)
            for holder in list(live):
                self._stop(holder)
        return self._placed(due, now)

    def _blocked(self, due: _Due, overlap: Overlap) -> None:
        """Earlier runs have all places of the task."""
        turns = self._turns.setdefault(due.place, deque())
        most = {Overlap.QUEUE_ONE: 1, Overlap.QUEUE_ALL: due.task.policies.queue_limit}.get(overlap, 0)
        if len(turns) < most:
            turns.append(due)
            due.figures.queued += 1
        elif overlap is Overlap.QUEUE_ALL:
            due.figures.queue_full += 1
        else:
            due.figures.skipped += 1

    def _placed(self, due: _Due, now: datetime) -> str | None:
        """Starts a run; if it cannot, what is in its way."""
        group = due.task.policies.group
        if group and self._groups.get(group, 0) >= due.task.policies.group_limit:
            return f"group {group} is full"
        room = self._rooms.take(due.task.need, due.pinned, now)
        if isinstance(room, Refusal):
            return room.message
        self._begin(_Live(due, room), now)
        return None

    def _begin(self, run: _Live, now: datetime) -> None:
        due = run.due
        due.figures.started += 1
        if now > due.at:
            due.figures.waited_for_room(now - due.at)
        if due.place in self._live and due.task.policies.overlap is Overlap.ALLOW:
            due.figures.beside += 1
            due.figures.overlapped(due.at)
        self._live.setdefault(due.place, []).append(run)
        if group := due.task.policies.group:
            self._groups[group] = self._groups.get(group, 0) + 1
        self._later(now + min(due.task.took, due.task.policies.timeout), ENDS, run)

    def _ended(self, run: _Live, now: datetime) -> None:
        self._stop(run)
        turns = self._turns.get(run.due.place)
        if turns:
            following = turns.popleft()
            following.at = now  # its start deadline, and what counts as waiting for room, begin when its turn comes
            self._come(following, now)
        for need in self._waiters.needs():
            self._look_again(need, now)

    def _stop(self, run: _Live) -> None:
        """Gives back all that it had."""
        run.over = True
        place = run.due.place
        self._live[place].remove(run)
        if not self._live[place]:
            del self._live[place]
        if group := run.due.task.policies.group:
            self._groups[group] -= 1
        if run.room is not None:
            run.room.leave(run.due.task.need)

    def _look_again(self, need: _Need, now: datetime) -> None:
        """Something became free, or time is over for somebody: those who wait have their turn."""
        while (due := self._waiters.first(need)) is not None and self._hindrance(due, now) is None:
            self._waiters.remove(need, now - due.at, now)
