"""Whoever ends ticks says how many and how, once for each."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dts.pb.dts.v1 import (
    Capacity,
    ClaimRequest,
    MaterialiseRequest,
    NodeOffer,
    Reason,
    Resources,
    RunState,
    SweepRequest,
)
from support.ledger import Ledger, every

MINUTE = timedelta(minutes=1)


@pytest.fixture
def world(database):
    return Ledger.on(database)


def counted(response):
    return {(one.state, one.reason): one.ticks for one in response.ended}


async def test_results_are_counted_when_they_are_final_and_once(world):
    await world.node()
    for name in ("good", "bad"):
        await world.trigger(await world.task(name))
    keys = await world.claim()
    assert not counted(await world.report(keys, RunState.RUNNING, Reason.UNSPECIFIED))
    assert counted(await world.report(keys)) == {(RunState.SUCCEEDED, Reason.OK): 2}
    assert not counted(await world.report(keys))


async def test_an_attempt_that_is_tried_again_is_not_counted(world):
    await world.node()
    await world.trigger(await world.task("again", retries=1))
    first = await world.claim()
    assert not counted(await world.report(first, RunState.FAILED, Reason.EXIT_CODE, exit_code=1))
    second = await world.claim(now=await world.now() + MINUTE)
    ended = await world.report(second, RunState.FAILED, Reason.EXIT_CODE, exit_code=1)
    assert counted(ended) == {(RunState.FAILED, Reason.EXIT_CODE): 1}


async def test_missed_ticks_are_counted_with_all_of_their_stretch(world):
    task_id = await world.task("t", every(60))
    now = await world.now()
    await world.rewind(task_id, now - timedelta(hours=3))
    response = await world.store.ledger.materialise(MaterialiseRequest(horizon=MINUTE, limit=10, now=now))
    ticks = counted(response)[RunState.SKIPPED, Reason.MISSED]
    assert 178 <= ticks <= 180
    await world.rewind(task_id, now - timedelta(hours=3))
    again = await world.store.ledger.materialise(MaterialiseRequest(horizon=MINUTE, limit=10, now=now))
    assert not counted(again)


async def test_what_a_claim_ends_is_counted(world):
    await world.node()
    task_id = await world.task("t")
    for _ in range(3):
        await world.trigger(task_id)
    offer = NodeOffer(
        node_id="alpha",
        incarnation=world.nodes["alpha"],
        free=Capacity(slots=9, resources=Resources(cpus=9, memory=1 << 36)),
    )
    response = await world.store.claims.claim(ClaimRequest(offers=[offer], lead=timedelta(seconds=2), limit=10))
    assert counted(response) == {(RunState.SKIPPED, Reason.SKIPPED_OVERLAP): 2}


async def test_what_nobody_took_in_time_is_counted(world):
    await world.trigger(await world.task("t"))
    response = await world.store.upkeep.sweep(SweepRequest(now=await world.now() + timedelta(hours=1)))
    assert counted(response) == {(RunState.FAILED, Reason.NO_NODE): 1}
    assert response.expired == 1


async def test_what_was_lost_with_its_node_is_counted(world):
    await world.node()
    await world.trigger(await world.task("t"))
    await world.report(await world.claim(), RunState.RUNNING, Reason.UNSPECIFIED)
    now = await world.now()
    assert not counted(await world.store.upkeep.sweep(SweepRequest(now=now + MINUTE)))
    response = await world.store.upkeep.sweep(SweepRequest(now=now + 10 * MINUTE))
    assert counted(response) == {(RunState.FAILED, Reason.NODE_LOST): 1}
