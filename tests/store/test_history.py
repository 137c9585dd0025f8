"""History by day: partitions come ahead, retention drops whole days, and what it must keep is kept."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from dts.pb.dts.v1 import MaintainRequest, Overlap
from support.ledger import NOOP, Ledger

DAY = timedelta(days=1)
KEEP = timedelta(days=3)


@pytest.fixture
async def ledger(database) -> Ledger:
    return Ledger.on(database)


async def maintain(ledger: Ledger, now: datetime):
    return await ledger.store.upkeep.maintain(MaintainRequest(keep=KEEP, now=now))


async def partitions(ledger: Ledger) -> set[str]:
    rows = await ledger.pool.fetch(
        "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
        " WHERE inhparent = 'run_history'::regclass"
    )
    return {row["relname"] for row in rows}


async def finish(ledger: Ledger, task: str, state: str, at: datetime, count: int) -> None:
    """Rows of history: one run a minute."""
    await ledger.pool.execute(
        "INSERT INTO run_history"
        " (id, task_id, task_version, trigger, scheduled_at, created_at, state, reason, finished_at)"
        " SELECT gen_random_uuid(), $1::uuid, 1, 'schedule', t, t, $2::text::run_state, 'ok', t"
        " FROM generate_series($3::timestamptz, $3::timestamptz + ($4 - 1) * interval '1 minute', '1 minute') t",
        task,
        state,
        at,
        count,
    )


async def test_days_come_ahead_and_go_when_they_are_too_old(ledger):
    now = await ledger.now()
    first = await maintain(ledger, now)
    assert f"run_history_{now:%Y%m%d}" in first.created
    assert f"log_chunk_{now:%Y%m%d}" in first.created
    again = await maintain(ledger, now)
    assert (again.created, again.dropped) == ([], [])
    later = await maintain(ledger, now + 10 * DAY)
    assert f"run_history_{now:%Y%m%d}" in later.dropped
    assert f"run_history_{now:%Y%m%d}" not in await partitions(ledger)


async def test_retention_keeps_the_last_successes_and_failures_of_each_task(ledger):
    now = await ledger.now()
    await maintain(ledger, now)
    often, rare = await ledger.task("often"), await ledger.task("rare")
    noon = now.replace(hour=12, minute=0, second=0, microsecond=0)
    await finish(ledger, often, "succeeded", noon, 300)
    await finish(ledger, rare, "succeeded", noon, 4)
    await finish(ledger, rare, "failed", noon + timedelta(hours=6), 70)
    await maintain(ledger, now + 10 * DAY)
    rows = await ledger.pool.fetch("SELECT task_id::text, state::text, count(*) FROM run_history GROUP BY 1, 2")
    assert {(row["task_id"], row["state"]): row["count"] for row in rows} == {
        (often, "succeeded"): 10,
        (rare, "succeeded"): 4,
        (rare, "failed"): 50,
    }


async def test_what_was_kept_goes_when_newer_runs_took_its_place(ledger):
    now = await ledger.now()
    task = await ledger.task("weekly")
    for week in range(15):
        await maintain(ledger, now + 7 * week * DAY)
        await finish(ledger, task, "succeeded", now + 7 * week * DAY, 1)
    assert await ledger.pool.fetchval("SELECT count(*) FROM run_history") in {10, 11}


async def test_what_is_over_leaves_the_hot_table(ledger):
    await maintain(ledger, await ledger.now())
    await ledger.node()
    task = await ledger.task("many", kind=NOOP, overlap=Overlap.ALLOW)
    for _ in range(30):
        await ledger.trigger(task)
    await ledger.report(await ledger.claim())
    assert await ledger.written(task) == []
    assert len(await ledger.runs(task)) == 30
    assert await ledger.pool.fetchval("SELECT count(*) FROM run_history_rest") == 0


async def test_runs_of_a_day_without_a_partition_are_kept_all_the_same(ledger):
    task = await ledger.task("old")
    at = await ledger.now() - 400 * DAY
    await finish(ledger, task, "succeeded", at, 5)
    await maintain(ledger, await ledger.now())
    assert len(await ledger.runs(task)) == 5
