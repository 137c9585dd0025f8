"""The coming schedule: the ticks of all tasks in time order."""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Iterator
from datetime import datetime

from dts.domain.errors import InvalidArgument
from dts.domain.schedule import CompiledSchedule, Tick, compile_schedule, to_tick
from dts.pb.dts.v1 import ListTasksRequest, PageTasksRequest, Task
from dts.pb.dts.v1 import Tick as TickMessage
from dts.roles.scheduler.ports import Answers

PAGE = 1000
CHUNK = 50


async def due_tasks(database: Answers, until: datetime) -> AsyncIterator[Task]:
    """Enabled tasks with a tick up to `until`."""
    token = ""
    while True:
        query = ListTasksRequest(page_size=PAGE, page_token=token)
        page = await database.page_tasks(PageTasksRequest(query=query, due_until=until))
        for task in page.tasks:
            yield task
        token = page.next_page_token
        if not token:
            return


def merge(tasks: list[Task], *, after: datetime, until: datetime, limit: int) -> tuple[list[TickMessage], bool]:
    """The first `limit` ticks of the tasks, oldest first, and whether there are more."""
    streams = [_ticks(task, compiled, after, until) for task in tasks if (compiled := _compile(task))]
    found: list[TickMessage] = []
    for _, name, zone, tick in heapq.merge(*streams, key=lambda item: (item[0], item[1])):
        if len(found) == limit:
            return found, True
        found.append(to_tick(tick, task=name, timezone=zone))
    return found, False


def _compile(task: Task) -> CompiledSchedule | None:
    if task.spec is None or task.spec.schedule is None:
        return None
    try:
        return compile_schedule(task.spec.schedule, key=task.spec.name)
    except InvalidArgument:
        return None  # the zone database changed under it: the ledger says so, a listing goes on


def _ticks(
    task: Task, compiled: CompiledSchedule, after: datetime, until: datetime
) -> Iterator[tuple[datetime, str, str, Tick]]:
    name = task.spec.name if task.spec else ""
    while True:
        chunk = compiled.between(after, until, limit=CHUNK)
        for tick in chunk:
            yield tick.at, name, compiled.timezone, tick
        if len(chunk) < CHUNK:
            return
        after = chunk[-1].at
