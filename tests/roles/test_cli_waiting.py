"""Waiting for a run on the command line, against a scheduler whose nodes do as the test says."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from types import SimpleNamespace
from uuid import uuid4

import pytest

from dts.cli.backfilling import Backfill, backfilled
from dts.cli.patience import Patience
from dts.cli.waiting import followed
from dts.pb.dts.v1 import NodeChoice, Overlap, Reason, RunState, TriggerTaskRequest
from dts.roles.database.service import DatabaseService
from dts.roles.scheduler.forecast import Forecast
from dts.roles.scheduler.hub import Hub
from dts.roles.scheduler.service import SchedulerService
from dts.roles.scheduler.wakes import Wakes
from dts.rpc.direct import in_process
from dts.runtime import clock
from support.ledger import Ledger, every
from support.polling import eventually

ALL = ("alpha", "beta", "gamma")


@pytest.fixture
async def ledger(database) -> Ledger:
    ledger = Ledger.on(database)
    for name in ALL:
        await ledger.node(name, hostname=name)
    return ledger


@pytest.fixture
def client(ledger):
    database = in_process(DatabaseService(ledger.store))
    hub, forecast = Hub(database, monotonic=clock.monotonic), Forecast(database, monotonic=clock.monotonic)
    service = SchedulerService(database, hub, Wakes(database), forecast, actor=lambda: "ann", new_id=uuid4)
    return SimpleNamespace(scheduler=in_process(service))


@pytest.mark.parametrize("follow", [False, True])
async def test_a_run_of_every_node_is_waited_for_on_each_of_them(ledger, client, capsys, follow):
    await ledger.task("sweep", node=NodeChoice.EVERY, overlap=Overlap.ALLOW)
    earlier = (await client.scheduler.trigger_task(TriggerTaskRequest(task="sweep"))).run
    run = (await client.scheduler.trigger_task(TriggerTaskRequest(task="sweep"))).run
    waiting = asyncio.create_task(followed(client, run.id, Patience(), follow=follow))
    given: dict[str, tuple] = {}

    async def all_given() -> bool:
        for key in await ledger.claim(*ALL):
            found = await ledger.run(key[0])
            if found.created_at == run.created_at:
                given[found.node] = key
            else:
                await ledger.report([key], node=found.node)
        return len(given) == len(ALL)

    await eventually(all_given)
    ends = {"alpha": RunState.SUCCEEDED, "beta": RunState.FAILED, "gamma": RunState.SUCCEEDED}
    for node, state in ends.items():
        assert not waiting.done()
        await ledger.report([given[node]], state, Reason.OK, node=node)
    ended = await asyncio.wait_for(waiting, 20)
    assert {each.node: each.state for each in ended} == ends
    assert earlier.id not in {each.id for each in ended}
    others = {f"run {each.id} on {each.node}" for each in ended[1:]}
    assert set(capsys.readouterr().err.splitlines()) == others


async def test_a_run_of_one_node_is_waited_for_alone(ledger, client):
    await ledger.task("single")
    run = (await client.scheduler.trigger_task(TriggerTaskRequest(task="single"))).run
    waiting = asyncio.create_task(followed(client, run.id, Patience(), follow=False))
    [key] = await ledger.claim(*ALL)
    await ledger.report([key], node=(await ledger.run(key[0])).node)
    assert [each.id for each in await asyncio.wait_for(waiting, 20)] == [run.id]


async def test_a_backfill_of_every_node_counts_the_runs_of_all(ledger, client):
    await ledger.task("swept", every(3600), node=NodeChoice.EVERY)
    until = (await ledger.now()).replace(minute=0, second=0, microsecond=0)
    span = {"since": until - timedelta(hours=1), "until": until}
    filling = asyncio.create_task(
        backfilled(client, task="swept", **span, overlap=Overlap.ALLOW, dry_run=False, wait=True, yes=True)
    )
    states = iter([RunState.FAILED, RunState.FAILED, RunState.SUCCEEDED])

    async def all_over() -> bool:
        for key in await ledger.claim(*ALL):
            await ledger.report([key], next(states), Reason.OK, node=(await ledger.run(key[0])).node)
        return filling.done()

    await eventually(all_over, within=20)
    assert await filling == Backfill(ticks=1, runs=1, succeeded=1, unsuccessful=2)
