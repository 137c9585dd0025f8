"""Ticks of a serial task come in order: a younger one, claimed ahead, never takes the place of an elder that waits.

It would be what blocks the elder at its instant, and be named in the ledger as the run that was not over.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import pytest

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
