"""What is counted of the coming ticks, and what of it is held against slots."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from dts.pb.dts.v1 import (
    Capacity,
    FindNodesResponse,
    Kind,
    Node,
    NodeState,
    PageTasksResponse,
    ProcessKind,
    ReadClockResponse,
    Task,
    TaskSpec,
)
from dts.roles.scheduler.forecast import Forecast
from dts.runtime import clock
from support.ledger import every
from support.polling import eventually

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


class Database:
    def __init__(self, **seconds):
        self.tasks = [
            Task(
                id=name,
                enabled=True,
                spec=TaskSpec(name=name, kind=Kind(process=ProcessKind()), schedule=every(period)),
            )
            for name, period in seconds.items()
        ]

    async def read_clock(self, _):
        return ReadClockResponse(now=NOON)

    async def page_tasks(self, _):
        return PageTasksResponse(tasks=self.tasks)

    async def find_nodes(self, _):
        capacity = Capacity(slots=1)
        return FindNodesResponse(
            nodes=[Node(id="a", hostname="a", state=NodeState.READY, kinds=["process"], capacity=capacity)]
        )


async def counted(**seconds):
    forecast = Forecast(Database(**seconds), monotonic=clock.monotonic)

    async def whole():
        answer = await forecast.counts(NOON, within=HOUR, step=MINUTE)
        return answer if answer.complete else None

    async with asyncio.TaskGroup() as group:
        work = group.create_task(forecast.run())
        answer = await eventually(whole)
        work.cancel()
    return answer


async def test_a_task_that_is_due_each_second_is_one_that_a_slot_is_needed_for():
    answer = await counted(often=1)
    assert set(answer.ticks) == {60}
    assert set(answer.task_peaks) == {1}
    assert answer.herds == []
    assert max(answer.nodes[0].peaks) == 1


async def test_a_herd_is_of_many_tasks_whatever_their_ticks_are():
    answer = await counted(often=1, hourly=3600, too=3600)
    herd = answer.herds[0]
    assert (herd.at, herd.ticks, herd.task_count) == (NOON, 62, 3)
    assert sorted(herd.tasks) == ["hourly", "often", "too"]
    assert len(answer.herds) == 1
    assert max(answer.nodes[0].peaks) == 3
