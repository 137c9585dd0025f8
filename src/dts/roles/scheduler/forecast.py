"""How many ticks are due in each coming minute, of all tasks together.

To walk the schedules of ten thousand tasks takes seconds, so it is done beside everything else, when somebody asks and
at most for a twentieth of the time; whoever asks is told what is known by then.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from heapq import nlargest

from dts.domain.definition import need_of
from dts.domain.ids import MICROSECOND
from dts.domain.kinds import kind_of
from dts.domain.placement import Need
from dts.domain.replay_rooms import simplified
from dts.domain.shares import Share, shares
from dts.pb.dts.v1 import (
    Capacity,
    FindNodesRequest,
    Herd,
    ListTasksRequest,
    ListTickCountsResponse,
    Node,
    NodeTicks,
    PageTasksRequest,
    Task,
    TaskSpec,
)
from dts.roles.scheduler.ports import Answers
from dts.roles.scheduler.upcoming import compiled, time_of

MINUTE = timedelta(minutes=1)
AHEAD = (timedelta(hours=1), timedelta(days=1), timedelta(days=7))
"""How far is looked; the least that is enough is taken."""

SPARE = timedelta(hours=1)
"""So much further is counted, so that what was counted serves until the next time."""

PAGE = 50
TICKS = 100_000
"""So many ticks of one task are counted at most: of one that is due each second, those of the first day."""

HERDS = 10
NODES = 50
CELL = 15
"""Minutes of which the fullest is told of each node."""

NEEDS = 1000
"""So many different needs are told apart; what comes after them is taken for something that any node could take."""

NAMES = 6
REST = 20
LEAST_REST_SECONDS = 2.0
SOON_SECONDS = 0.05
"""So long the first who asks waits."""


@dataclass(slots=True)
class Look:
    """What was counted.

    at: when. minutes: ticks in each from `begin` on, which is on a quarter of an hour.
    tasks_in: how many tasks are due in each. One that is due each second hardly has more at work at once than one that
        is due each minute, so it is these that are held against slots.
    names: some of them. needs: how many of them need the same of a node.
    """

    at: datetime
    begin: datetime
    minutes: list[int]
    tasks_in: list[int]
    names: dict[int, list[str]] = field(default_factory=dict)
    needs: dict[Need, Counter[int]] = field(default_factory=dict)
    shares: list[Share] = field(default_factory=list)
    tasks: int = 0
    complete: bool = False
    fresh_until: float = 0.0

    def covers(self, begin: datetime, count: int) -> bool:
        """Whether it says something of so many minutes."""
        return self.begin <= begin and (begin - self.begin) // MINUTE + count <= len(self.minutes)


class Forecast:
    """Counts when it is asked; `run` does the work.

    Args:
        database: where tasks are.
        monotonic: in seconds.
    """

    def __init__(self, database: Answers, *, monotonic: Callable[[], float]) -> None:
        self._database = database
        self._monotonic = monotonic
        self._looks: dict[timedelta, Look] = {}
        self._under_way: dict[timedelta, Look] = {}
        self._wanted: set[timedelta] = set()
        self._asked = asyncio.Event()
        self._done = asyncio.Event()

    async def counts(self, now: datetime, *, within: timedelta, step: timedelta) -> ListTickCountsResponse:
        """What is known by now, for steps of whole minutes from the minute under way."""
        ahead = next(each for each in AHEAD if each >= within)
        begin, count = now.replace(second=0, microsecond=0), -(-within // MINUTE)
        look = self._looks.get(ahead)
        if look is None or not look.covers(begin, count) or self._monotonic() > look.fresh_until:
            look = await self._another(ahead, look if look is not None and look.covers(begin, count) else None)
        return _answer(look or _empty(begin, begin, count), begin, count, step // MINUTE)

    async def run(self) -> None:
        """Counts whenever somebody has asked."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            while self._wanted:
                await self._count(min(self._wanted))

    async def _another(self, ahead: timedelta, old: Look | None) -> Look | None:
        """Asks for a new one, and takes what there is."""
        self._wanted.add(ahead)
        self._asked.set()
        if old is not None:
            return old
        done = self._done
        try:
            async with asyncio.timeout(SOON_SECONDS):
                await done.wait()
        except TimeoutError:
            pass
        return self._looks.get(ahead) or self._under_way.get(ahead)

    async def _count(self, ahead: timedelta) -> None:
        began = self._monotonic()
        now = await time_of(self._database)
        begin = now.replace(minute=now.minute - now.minute % CELL, second=0, microsecond=0)
        look = self._under_way[ahead] = _empty(now, begin, (ahead + SPARE) // MINUTE)
        token, more = "", True
        while more:
            query = ListTasksRequest(page_size=PAGE, page_token=token)
            page = await self._database.page_tasks(PageTasksRequest(query=query, due_until=begin + ahead + SPARE))
            await asyncio.to_thread(_add, look, page.tasks)
            token = page.next_page_token
            more = bool(token)
        nodes = (await self._database.find_nodes(FindNodesRequest())).nodes
        look.shares = await asyncio.to_thread(_shares, look, nodes)
        look.needs.clear()  # a look is kept, and a thousand counters of ten thousand minutes are large
        look.complete = True
        look.fresh_until = self._monotonic() + max(LEAST_REST_SECONDS, REST * (self._monotonic() - began))
        self._looks[ahead] = look
        self._wanted.discard(ahead)
        done, self._done = self._done, asyncio.Event()
        done.set()


def _empty(at: datetime, begin: datetime, count: int) -> Look:
    return Look(at, begin, minutes=[0] * count, tasks_in=[0] * count)


def _add(look: Look, tasks: Sequence[Task]) -> None:
    """Counts the ticks of some tasks; in a thread, for the worst schedules take long."""
    until = look.begin + len(look.minutes) * MINUTE - MICROSECOND
    for task in tasks:
        schedule = compiled(task)
        name = task.spec.name if task.spec else ""
        minutes, seen = _of_its_need(look, task), set[int]()
        for tick in schedule.between(look.begin - MICROSECOND, until, limit=TICKS) if schedule else ():
            minute = (tick.start - look.begin) // MINUTE
            if tick.excluded or minute >= len(look.minutes):
                continue
            look.minutes[minute] += 1
            if minute in seen:
                continue
            seen.add(minute)
            look.tasks_in[minute] += 1
            minutes[minute] += 1
            names = look.names.setdefault(minute, [])
            if len(names) < NAMES:
                names.append(name)
        look.tasks += 1


def _of_its_need(look: Look, task: Task) -> Counter[int]:
    """Where a task is counted, beside all that need the same."""
    spec = task.spec or TaskSpec()
    need = replace(simplified(need_of(spec)), prefer=(), cpus=0.0, memory=0)
    if len(look.needs) >= NEEDS and need not in look.needs:
        need = Need(kind=kind_of(spec.kind), weightless=need.weightless)
    return look.needs.setdefault(need, Counter())


def _shares(look: Look, nodes: Sequence[Node]) -> list[Share]:
    """What falls upon nodes; it counts each need of each node, so it is done once for all who ask."""
    cells = -(-len(look.minutes) // CELL)
    return shares(look.needs, nodes, cells=cells, cell=CELL)[:NODES]


def _answer(look: Look, begin: datetime, count: int, step: int) -> ListTickCountsResponse:
    first = (begin - look.begin) // MINUTE
    minutes, tasks_in = look.minutes[first : first + count], look.tasks_in[first : first + count]
    shared = [number for number, tasks in enumerate(tasks_in) if tasks > 1]
    fullest = nlargest(HERDS, shared, key=lambda number: (tasks_in[number], minutes[number]))
    return ListTickCountsResponse(
        since=begin,
        ticks=[sum(minutes[start : start + step]) for start in range(0, count, step)],
        herds=[
            Herd(
                at=begin + number * MINUTE,
                ticks=minutes[number],
                tasks=list(look.names.get(first + number, [])),
                task_count=tasks_in[number],
            )
            for number in fullest
        ],
        task_peaks=[max(tasks_in[start : start + step]) for start in range(0, count, step)],
        complete=look.complete,
        tasks=look.tasks,
        counted_at=look.at,
        nodes=[_node_ticks(share, first // CELL, -(-(first + count) // CELL)) for share in look.shares],
    )


def _node_ticks(share: Share, first: int, end: int) -> NodeTicks:
    capacity = share.node.capacity or Capacity()
    return NodeTicks(hostname=share.node.hostname, slots=capacity.slots, peaks=list(share.peaks[first:end]))
