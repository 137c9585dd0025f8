"""After an outage: what was missed is made up for, the oldest first, once each (F2)."""

from __future__ import annotations

import asyncio
import itertools
from datetime import timedelta

import pytest

from dts.pb.dts.v1 import Catchup, Overlap, Reason
from support.ledger import NOOP, Ledger, every

MINUTE = timedelta(minutes=1)
TASKS = 100
MISSED = 20
POLICIES = {"catchup": Catchup.ALL, "catchup_window": timedelta(hours=1), "catchup_max": 1000, "overlap": Overlap.ALLOW}


@pytest.fixture
def ledger(database) -> Ledger:
    return Ledger.on(database)


async def test_a_hundred_tasks_catch_up_oldest_first_and_each_tick_once(ledger):
    """By three replicas at once, of which each would do."""
    tasks = [await ledger.task(f"minutely-{number}", every(60), kind=NOOP, **POLICIES) for number in range(TASKS)]
    await ledger.node()
    now = (await ledger.now()).replace(second=30, microsecond=0)
    for task in tasks:
        await ledger.rewind(task, now - MISSED * MINUTE)
    await asyncio.gather(*(ledger.materialise(now) for _ in range(3)))
    instants = {row["id"]: row["scheduled_at"] for row in await ledger.pool.fetch("SELECT id, scheduled_at FROM run")}
    claimed: list[list] = []
    while keys := await ledger.claim(now=now, limit=500):
        claimed.append([instants[run_id] for run_id, _ in keys])
        await ledger.report(keys)
    assert sum(len(batch) for batch in claimed) == TASKS * MISSED
    assert all(max(batch) <= min(later) for batch, later in itertools.pairwise(claimed))
    for task in tasks[:5]:
        runs = await ledger.runs(task)
        assert [run.reason for run in runs] == [Reason.OK] * MISSED
        assert len({run.scheduled_at for run in runs}) == MISSED
