"""Ticks of a serial task come in order: a younger one, claimed ahead, never takes the place of an elder that waits.

It would be what blocks the elder at its instant, and be named in the ledger as the run that was not over.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from dts.pb.dts.v1 import Overlap, RequestedRun, RequestRunsRequest, RunState, Trigger
from dts.store.claims import ClaimStore
from dts.store.definitions import Definitions
from support.ledger import NOOP, Ledger, every


@pytest.fixture
async def ledger(database) -> Ledger:
    made = Ledger.on(database)
    await made.node()
    return made


async def ticks_of(ledger: Ledger, task: str) -> tuple[UUID, UUID, datetime]:
    """The first tick, the second one, and the instant of the first."""
    first, second = [row["id"] for row in await ledger.written(task)][:2]
    return first, second, (await ledger.run(first)).scheduled_at


async def test_an_elder_that_waits_for_its_group_is_not_overtaken(ledger):
    other = await ledger.task("other", group="press", group_limit=1)
    await ledger.trigger(other)
    busy = await ledger.claim()
    pulse = await ledger.task("pulse", every(1), kind=NOOP, group="press", group_limit=1)
    await ledger.materialise()
    first, second, start = await ticks_of(ledger, pulse)
    assert await ledger.claim(now=start - timedelta(seconds=1.2)) == []
    await ledger.report(busy)
    # The first is looked at again half a second after it was refused; the second can be claimed ahead before that.
    assert await ledger.claim(now=start - timedelta(seconds=0.95)) == []
    assert await ledger.claim(now=start - timedelta(seconds=0.6)) == [(first, 1)]
    await ledger.report([(first, 1)])
    assert await ledger.claim(now=start + timedelta(seconds=1)) == [(second, 1)]


async def test_an_elder_that_was_put_off_to_its_instant_is_not_overtaken_before_it(ledger):
    pulse = await ledger.task("pulse", every(1), kind=NOOP)
    await ledger.materialise()
    first, second, start = await ticks_of(ledger, pulse)
    # As if what held its place had ended while that was decided.
    put_off = "UPDATE run SET claim_at = scheduled_at + interval '2 seconds' WHERE id = $1"
    await ledger.pool.execute(put_off, first)
    assert await ledger.claim(now=start - timedelta(seconds=0.9)) == []
    assert await ledger.claim(now=start) == [(first, 1)]
    await ledger.report([(first, 1)])
    assert await ledger.claim(now=start + timedelta(seconds=0.1)) == [(second, 1)]


async def test_an_elder_that_is_left_to_another_replica_is_not_overtaken_in_the_same_claim(ledger):
    for name in ("alpha", "beta"):
        await ledger.node(name, hostname=name)
    tasks = [await ledger.task(f"pulse-{number}", every(1), kind=NOOP) for number in range(12)]
    await ledger.materialise()
    found = [await ticks_of(ledger, task) for task in tasks]
    elders = {first for first, _, _ in found}
    start = max(start for _, _, start in found)
    here = {run_id for run_id, _ in await ledger.claim("alpha", now=start)}
    assert here < elders, "some are left to beta"
    there = {run_id for run_id, _ in await ledger.claim("beta", now=start)}
    assert here | there == elders


async def test_many_runs_at_once_take_their_turns_though_few_can_be_looked_at(ledger):
    """The eldest was rarely among the few that a claim looked at; those gave way to it, and were looked at again."""
    task = await ledger.task("backfilled", overlap=Overlap.QUEUE_ALL, queue_limit=100)
    hours = [await ledger.now() - timedelta(hours=hour) for hour in range(24, 0, -1)]
    runs = [RequestedRun(id=str(uuid4()), scheduled_at=hour) for hour in hours]
    await ledger.store.runs.request(RequestRunsRequest(task_id=task, trigger=Trigger.BACKFILL, runs=runs))
    taken = []
    for _ in range(48):
        held = await ledger.claim(slots=4)
        await ledger.report(held)
        taken += [str(run_id) for run_id, _ in held]
    assert taken == [run.id for run in runs]


async def test_a_run_that_gives_way_does_not_take_the_turn_of_another_task(ledger, database_dsn):
    """Its elder is in the hands of another claim; with one place on the node it was all that was looked at."""
    line = await ledger.task("line", overlap=Overlap.QUEUE_ALL)
    first, second = [await ledger.trigger(line) for _ in range(2)]
    other = await ledger.trigger(await ledger.task("other"))
    other_claim = await asyncpg.connect(database_dsn)
    try:
        async with other_claim.transaction():
            await other_claim.execute("SELECT FROM run WHERE id = $1 FOR UPDATE", first)
            assert await ledger.claim(slots=1) == []
            assert await ledger.claim(slots=1) == [(other, 1)]
    finally:
        await other_claim.close()
    now = await ledger.now()
    assert await ledger.claim(now=now + timedelta(seconds=1)) == [(first, 1)]
    assert (await ledger.run(second)).state is RunState.PENDING


async def test_a_run_that_is_left_to_another_replica_holds_up_no_other_place(ledger):
    for name in ("alpha", "beta"):
        await ledger.node(name, hostname=name)
    task = await ledger.task("many", overlap=Overlap.QUEUE_ALL, max_parallel=10)
    for _ in range(10):
        await ledger.trigger(task)
    mine = await ledger.claim("alpha")
    assert 0 < len(mine) < 10
    rest = await ledger.claim("alpha", now=await ledger.now() + timedelta(seconds=1.6))
    assert len(mine) + len(rest) == 10


async def test_an_elder_does_not_stop_a_younger_run_that_began_before_it_could(ledger):
    """Both wait for their group, and are looked at together: apart, the younger one could begin first."""
    busy_task = await ledger.task("busy", group="press", group_limit=1)
    await ledger.trigger(busy_task)
    busy = await ledger.claim()
    task = await ledger.task("replaces", overlap=Overlap.CANCEL_OTHER, group="press", group_limit=1)
    elder = await ledger.trigger(task)
    now = await ledger.now()
    assert await ledger.claim(now=now) == []
    younger = await ledger.trigger(task)
    assert await ledger.claim(now=now + timedelta(seconds=0.3)) == []
    assert await ledger.claim(now=now + timedelta(seconds=0.6)) == []
    await ledger.report(busy)
    assert await ledger.claim(now=now + timedelta(seconds=0.9)) == []
    assert await ledger.claim(now=now + timedelta(seconds=1.2)) == [(elder, 1)]
    rows = await ledger.pool.fetch("SELECT id FROM run WHERE id = $1 AND state = 'pending'", younger)
    assert len(rows) == 1


class Interrupted(Definitions):
    """Something happens in the midst of a claim: once it has its candidates, and before it has decided."""

    def __init__(self, happens):
        super().__init__()
        self._happens = happens

    async def get(self, connection, wanted):
        await self._happens()
        return await super().get(connection, wanted)


async def test_an_elder_whose_turn_comes_in_the_midst_of_a_claim_is_not_overtaken(ledger):
    line = await ledger.task("line", overlap=Overlap.QUEUE_ALL)
    await ledger.trigger(line)
    held = await ledger.claim()
    second = await ledger.trigger(line)
    assert await ledger.claim() == []
    third = await ledger.trigger(line)
    claims = ClaimStore(ledger.pool, Interrupted(lambda: ledger.report(held)), ledger.store.wakeups)
    undisturbed, ledger.store = ledger.store, replace(ledger.store, claims=claims)
    assert await ledger.claim() == []
    ledger.store = undisturbed
    assert await ledger.claim() == [(second, 1)]
    assert (await ledger.run(third)).state is RunState.PENDING
