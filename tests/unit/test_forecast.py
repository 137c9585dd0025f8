"""The coming ticks, counted for whoever asks."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

from dts.pb.dts.v1 import (
    Capacity,
    ContainerKind,
    FindNodesResponse,
    Interval,
    Kind,
    Node,
    NodeState,
    NoopKind,
    PageTasksResponse,
    Policies,
    ReadClockResponse,
    Rule,
    Schedule,
    Task,
    TaskSpec,
)
from dts.roles.scheduler import forecast
from dts.roles.scheduler.forecast import Forecast
from support.polling import eventually

NOW = datetime(2026, 3, 27, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTELY = Schedule(rules=[Rule(every=Interval(period=timedelta(minutes=1)))])


class Database:
    """A node, and these tasks, each minute."""

    def __init__(self, *tasks):
        self.tasks = [
            Task(
                id=str(UUID(int=number)),
                version=1,
                enabled=True,
                spec=TaskSpec(
                    name=f"t{number}", kind=kind, schedule=MINUTELY, policies=Policies(constraints=constraints)
                ),
            )
            for number, (kind, constraints) in enumerate(tasks)
        ]

    async def read_clock(self, _):
        return ReadClockResponse(now=NOW)

    async def page_tasks(self, _):
        return PageTasksResponse(tasks=self.tasks)

    async def find_nodes(self, _):
        kinds = ["container", "noop"]
        node = Node(id="a", hostname="a", state=NodeState.READY, kinds=kinds, capacity=Capacity(slots=4))
        return FindNodesResponse(nodes=[node])


async def test_what_takes_no_slot_takes_none_though_its_need_is_one_too_many_to_be_told_apart(monkeypatch):
    monkeypatch.setattr(forecast, "NEEDS", 1)
    container, noop = Kind(container=ContainerKind(image="i")), Kind(noop=NoopKind())
    counting = Forecast(Database((container, []), (noop, ["node.hostname==a"])), monotonic=lambda: 0.0)
    running = asyncio.create_task(counting.run())

    async def counted():
        answer = await counting.counts(NOW, within=HOUR, step=HOUR)
        return answer if answer.complete else None

    answer = await eventually(counted)
    running.cancel()
    assert (answer.ticks, answer.tasks) == ([120], 2)
    [share] = answer.nodes
    assert set(share.peaks) == {1}
