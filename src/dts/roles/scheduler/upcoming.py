"""The coming schedule: the ticks of all tasks in time order."""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Iterator
from datetime import datetime

from dts.domain.errors import Internal, InvalidArgument
from dts.domain.ids import MICROSECOND
from dts.domain.schedule import CompiledSchedule, Tick, schedule_of, to_tick
from dts.pb.dts.v1 import ListTasksRequest, PageTasksRequest, ReadClockRequest, Task
from dts.pb.dts.v1 import Tick as TickMessage
from dts.roles.scheduler.ports import Answers

PAGE = 1000
CHUNK = 50


async def time_of(database: Answers) -> datetime:
    """The database's clock: it alone decides what is due.

    Raises:
        Internal: the database service did not say what time it is.
    """
    now = (await database.read_clock(ReadClockRequest())).now
    if now is None:
        raise Internal("the database service did not say what time it is")
    return now


async def due_tasks(database: Answers, until: datetime, *, limit: int) -> AsyncIterator[Task]:
    """Enabled tasks with a tick up to `until`, as far as the first `limit` ticks can be theirs."""
    if limit < PAGE:  # one more than is listed: whether there are more is asked too
        for task in (await database.page_tasks(PageTasksRequest(due_until=until, soonest=limit + 1))).tasks:
            yield task
        return
    token = ""
    while True:
        query = ListTasksRequest(page_size=PAGE, page_token=token)
        page = await database.page_tasks(PageTasksRequest(query=query, due_until=until))
        for task in page.tasks:
            yield task
        token = page.next_page_token
        if not token:
            return


async def first_of_each(database: Answers, until: datetime, *, limit: int) -> tuple[list[TickMessage], bool]:
    """The next tick of each task, soonest first, and whether there are more.

    As cursors and ledger know them: no schedule is walked.
    """
    tasks = (await database.page_tasks(PageTasksRequest(due_until=until, soonest=limit + 1))).tasks
    found = [tick for task in tasks if (tick := _next(task)) is not None]
    return found[:limit], len(found) > limit


def _next(task: Task) -> TickMessage | None:
    at = task.next_due_at
    if at is None or task.spec is None or task.spec.schedule is None:
        return None
    excluded = False
    if task.spec.schedule.exclude and (schedule := compiled(task)) is not None:
        tick = schedule.next_after(at - MICROSECOND)
        excluded = tick is not None and tick.at == at and tick.excluded
    return to_tick(Tick(at, at, excluded), task=task.spec.name, timezone=task.spec.schedule.timezone or "UTC")


def merge(tasks: list[Task], *, after: datetime, until: datetime, limit: int) -> tuple[list[TickMessage], bool]:
    """The first `limit` ticks of the tasks, oldest first, and whether there are more."""
    streams = [_ticks(task, schedule, after, until) for task in tasks if (schedule := compiled(task))]
    found: list[TickMessage] = []
    for _, name, zone, tick in heapq.merge(*streams, key=lambda item: (item[0], item[1])):
        if len(found) == limit:
            return found, True
        found.append(to_tick(tick, task=name, timezone=zone))
    return found, False


def compiled(task: Task) -> CompiledSchedule | None:
    """The schedule of a task; None if it has none that can be read."""
    try:
        return schedule_of(task.spec)
    except InvalidArgument:
        return None  # the zone database changed under it: the ledger says so, a listing goes on


def _ticks(
    task: Task, schedule: CompiledSchedule, after: datetime, until: datetime
) -> Iterator[tuple[datetime, str, str, Tick]]:
    name = task.spec.name if task.spec else ""
    while True:
        chunk = schedule.between(after, until, limit=CHUNK)
        for tick in chunk:
            yield tick.at, name, schedule.timezone, tick
        if len(chunk) < CHUNK:
            return
        after = chunk[-1].at
