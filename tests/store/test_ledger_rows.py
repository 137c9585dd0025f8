"""Every tick is in the ledger exactly once, whatever becomes of it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import pairwise

import pytest

from dts.pb.dts.v1 import (
    Catchup,
    DateRange,
    FindTasksRequest,
    Policies,
    Reason,
    RunState,
    TaskAction,
    TaskChange,
    TaskSpec,
)
from dts.store.queries import sql
from support.ledger import NOOP, PROCESS, Ledger, every

SECOND = timedelta(seconds=1)


@pytest.fixture
def ledger(database) -> Ledger:
    return Ledger.on(database)


def ticks(runs) -> int:
    return sum(max(run.ticks, 1) for run in runs)


async def test_the_coming_ticks_are_written_ahead(ledger):
    task = await ledger.task("pulse", every(1))
    await ledger.materialise()
    rows = await ledger.written(task)
    assert 9 <= len(rows) <= 11
    assert [b["scheduled_at"] - a["scheduled_at"] for a, b in pairwise(rows)] == [SECOND] * (len(rows) - 1)
    assert {row["state"] for row in rows} == {"pending"}


async def test_ticks_that_are_not_due_yet_are_no_runs_yet(ledger):
    task = await ledger.task("later", every(3600))
    await ledger.materialise()
    assert await ledger.runs(task) == []


async def test_ten_replicas_at_once_write_each_tick_once(ledger):
    tasks = [await ledger.task(f"t{n}", every(1)) for n in range(20)]
    await asyncio.gather(*(ledger.materialise() for _ in range(10)))
    for task in tasks:
        instants = [row["scheduled_at"] for row in await ledger.written(task)]
        assert len(instants) == len(set(instants)) >= 9
        assert [b - a for a, b in pairwise(instants)] == [SECOND] * (len(instants) - 1)


async def test_after_a_gap_the_latest_tick_runs_and_the_rest_is_one_row(ledger):
    task = await ledger.task("minutely", every(60))
    now = await ledger.now()
    await ledger.rewind(task, now - timedelta(hours=5))
    await ledger.materialise()
    runs = await ledger.runs(task)
    missed = [run for run in runs if run.reason is Reason.MISSED]
    assert len(missed) == 1
    assert missed[0].last_scheduled_at is not None
    pending = [run for run in runs if run.state is RunState.PENDING]
    caught_up = [run for run in pending if run.scheduled_at < now - timedelta(seconds=5)]
    assert len(caught_up) <= 1
    assert missed[0].ticks + len(runs) - 1 in range(299, 302)
    assert pending[0].scheduled_at == missed[0].last_scheduled_at + timedelta(minutes=1)


async def test_without_catch_up_every_passed_tick_is_missed(ledger):
    task = await ledger.task("strict", every(3600), catchup=Catchup.NONE)
    now = await ledger.now()
    await ledger.rewind(task, now - timedelta(hours=48))
    await ledger.materialise()
    past = [run for run in await ledger.runs(task) if run.scheduled_at < now - timedelta(seconds=5)]
    assert {run.reason for run in past} == {Reason.MISSED}
    assert ticks(past) in {47, 48}


async def test_all_ticks_of_the_window_are_caught_up_up_to_the_maximum(ledger):
    task = await ledger.task(
        "thorough", every(60), catchup=Catchup.ALL, catchup_window=timedelta(hours=1), catchup_max=20
    )
    now = await ledger.now()
    await ledger.rewind(task, now - timedelta(hours=3))
    await ledger.materialise()
    runs = [run for run in await ledger.runs(task) if run.scheduled_at < now - timedelta(seconds=5)]
    by_reason = {reason: [run for run in runs if run.reason is reason] for reason in {run.reason for run in runs}}
    assert ticks(by_reason[Reason.MISSED]) in {119, 120, 121}
    assert ticks(by_reason[Reason.DROPPED_CAP]) in {39, 40, 41}
    assert len([run for run in runs if run.state is RunState.PENDING]) == 20
    assert ticks(runs) in {179, 180}


async def test_excluded_days_are_recorded_and_do_not_run(ledger):
    now = await ledger.now()
    today = DateRange(
        first=(now - timedelta(days=1)).date().isoformat(), last=(now + timedelta(days=1)).date().isoformat()
    )
    task = await ledger.task("holiday", every(1, exclude=[today]))
    await ledger.rewind(task, now - timedelta(seconds=30))
    await ledger.materialise()
    runs = await ledger.runs(task)
    assert {run.reason for run in runs} == {Reason.EXCLUDED}
    assert ticks(runs) >= 25


async def test_a_paused_task_owes_nothing_and_the_stretch_is_recorded(ledger):
    task = await ledger.task("pausing", every(1), kind=NOOP)
    await ledger.materialise()
    await ledger.change(TaskChange(action=TaskAction.PAUSE, task_id=task, note="holiday"))
    await ledger.pool.execute("UPDATE task_cursor SET upto = upto - interval '1 hour'")
    await ledger.change(TaskChange(action=TaskAction.RESUME, task_id=task))
    runs = await ledger.runs(task)
    stretch = [run for run in runs if run.reason is Reason.SKIPPED_PAUSED]
    assert ticks(stretch) in range(3598, 3604)
    await ledger.materialise()
    now = await ledger.now()
    assert all(row["scheduled_at"] > now - timedelta(seconds=5) for row in await ledger.written(task))


async def test_an_edit_replaces_the_coming_ticks_and_keeps_the_past(ledger):
    task = await ledger.task("edited", every(1))
    await ledger.materialise()
    spec = TaskSpec(name="edited", kind=PROCESS, schedule=every(2), policies=Policies())
    await ledger.change(TaskChange(action=TaskAction.UPDATE, task_id=task, spec=spec, expected_version=1))
    await ledger.materialise()
    now = await ledger.now()
    coming = [row for row in await ledger.written(task) if row["scheduled_at"] > now]
    assert {row["task_version"] for row in coming} == {2}
    assert {b["scheduled_at"] - a["scheduled_at"] for a, b in pairwise(coming)} == {2 * SECOND}


async def test_max_runs_ends_a_schedule(ledger):
    task = await ledger.task("thrice", every(1, max_runs=3))
    for _ in range(3):
        await ledger.materialise()
    assert len(await ledger.written(task)) == 3
    row = await ledger.pool.fetchrow("SELECT * FROM task_cursor")
    assert (row["runs_left"], row["visit_at"]) == (0, None)


async def test_a_deleted_task_runs_no_more_and_its_name_is_free(ledger):
    task = await ledger.task("gone", every(1))
    await ledger.materialise()
    await ledger.change(TaskChange(action=TaskAction.DELETE, task_id=task))
    assert await ledger.written(task) == []
    assert await ledger.task("gone", every(1)) != task


async def test_a_visit_costs_nothing_for_tasks_that_are_not_due(ledger):
    await ledger.pool.execute(
        "INSERT INTO task (id, name, version, spec, labels, created_at, updated_at) "
        "SELECT gen_random_uuid(), 't' || n, 1, '', '{}', now(), now() FROM generate_series(1, 20000) n"
    )
    await ledger.pool.execute(
        "INSERT INTO task_cursor (task_id, version, upto, next_due_at, visit_at) "
        "SELECT id, 1, now(), now() + interval '1 day', now() + interval '1 day' FROM task"
    )
    await ledger.pool.execute("ANALYZE task_cursor")
    async with ledger.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        statement = sql("lock_due_cursors").replace("$1", "now()").replace("$2", "500")
        plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {statement}"))
    assert "task_cursor_visit" in plan
    assert "Seq Scan" not in plan


async def test_the_next_tick_is_told_even_if_it_is_in_the_ledger_already(ledger):
    task = await ledger.task("pulse", every(2))
    await ledger.materialise()
    [found] = await ledger.store.tasks.find(FindTasksRequest(tasks=[task]))
    assert found.next_due_at - await ledger.now() < 2 * SECOND
