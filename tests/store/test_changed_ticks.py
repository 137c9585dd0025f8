"""A task is changed while a node has a tick of it: that runs once or not at all, and the ledger says which."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from dts.pb.dts.v1 import (
    Catchup,
    Interval,
    Overlap,
    Policies,
    Reason,
    RequestCancelRequest,
    Rule,
    Run,
    RunState,
    Schedule,
    TaskAction,
    TaskChange,
    TaskSpec,
)
from support.ledger import NOOP, Ledger, every

LEAD = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


@pytest.fixture
async def ledger(database) -> Ledger:
    made = Ledger.on(database)
    await made.node()
    return made


async def hourly(ledger: Ledger, **fields: object) -> Schedule:
    """Due in three to four seconds, and then not for an hour."""
    due = (await ledger.now()).timestamp() // 1 + 4
    return Schedule(rules=[Rule(every=Interval(period=HOUR, phase=timedelta(seconds=due) % HOUR))], **fields)


async def tick_ahead(ledger: Ledger, task: str) -> tuple[UUID, datetime]:
    """The next tick of a task."""
    await ledger.materialise()
    (row,) = await ledger.written(task)
    return row["id"], row["scheduled_at"]


def altered(task: str, action: TaskAction, schedule: Schedule | None = None, **policies: object) -> TaskChange:
    spec = None
    if action is TaskAction.UPDATE:
        spec = TaskSpec(
            name="pulse", description="changed", kind=NOOP, schedule=schedule, policies=Policies(**policies)
        )
    return TaskChange(action=action, task_id=task, spec=spec)


async def test_a_tick_that_ran_although_it_was_withdrawn_does_not_run_again(ledger):
    schedule = await hourly(ledger)
    task = await ledger.task("pulse", schedule, kind=NOOP, overlap=Overlap.ALLOW)
    tick, instant = await tick_ahead(ledger, task)
    held = await ledger.claim(now=instant - LEAD)
    await ledger.change(altered(task, TaskAction.UPDATE, schedule, overlap=Overlap.ALLOW))
    await ledger.report(held)
    await ledger.materialise()
    assert tick not in [run_id for run_id, _ in await ledger.claim(now=instant)]
    assert (await ledger.run(tick)).state is RunState.SUCCEEDED


async def test_a_coming_tick_that_was_cancelled_stays_cancelled_when_its_task_is_changed(ledger):
    schedule = await hourly(ledger)
    task = await ledger.task("pulse", schedule, kind=NOOP)
    tick, instant = await tick_ahead(ledger, task)
    await ledger.store.runs.cancel(RequestCancelRequest(run_ids=[str(tick)]))
    await ledger.change(altered(task, TaskAction.UPDATE, schedule))
    await ledger.materialise()
    assert tick not in [run_id for run_id, _ in await ledger.claim(now=instant)]


@pytest.mark.parametrize("action", [TaskAction.DELETE, TaskAction.PAUSE])
async def test_a_tick_that_came_back_from_its_node_ends_with_its_task(ledger, action):
    schedule = await hourly(ledger)
    task = await ledger.task("pulse", schedule, kind=NOOP)
    tick, instant = await tick_ahead(ledger, task)
    held = await ledger.claim(now=instant - LEAD)
    assert [run_id for run_id, _ in held] == [tick]
    await ledger.take_back(*held)
    await ledger.change(altered(task, action))
    assert await ledger.claim(now=instant) == []


async def test_a_tick_that_came_back_from_its_node_runs_the_changed_task(ledger):
    schedule = await hourly(ledger)
    task = await ledger.task("pulse", schedule, kind=NOOP)
    tick, instant = await tick_ahead(ledger, task)
    held = await ledger.claim(now=instant - LEAD)
    await ledger.take_back(*held)
    await ledger.change(altered(task, TaskAction.UPDATE, schedule))
    await ledger.materialise()
    assert [run_id for run_id, _ in await ledger.claim(now=instant)] == [tick]
    assert (await ledger.run(tick)).task_version == 2


async def test_a_tick_that_is_put_back_keeps_to_the_overlap_of_the_changed_task(ledger):
    """It took the place of a run that goes on, and no claim of any task went through any more."""
    schedule = await hourly(ledger)
    task = await ledger.task("pulse", schedule, kind=NOOP, overlap=Overlap.ALLOW)
    tick, instant = await tick_ahead(ledger, task)
    held = await ledger.claim(now=instant - LEAD)
    await ledger.change(altered(task, TaskAction.UPDATE, schedule, overlap=Overlap.SKIP))
    manual = await ledger.trigger(task)
    assert [run_id for run_id, _ in await ledger.claim()] == [manual]
    await ledger.take_back(*held)
    assert await ledger.claim(now=instant) == []
    assert (await ledger.run(tick)).state is RunState.SKIPPED


async def test_a_change_does_not_use_up_runs_that_did_not_run(ledger):
    task = await ledger.task("pulse", every(2, max_runs=3), kind=NOOP)
    await ledger.materialise()
    for _ in range(3):
        await ledger.change(altered(task, TaskAction.UPDATE, every(2, max_runs=3)))
        await ledger.materialise()
    assert len(await ledger.written(task)) == 3


async def test_a_task_that_has_used_up_its_runs_misses_nothing_when_it_is_changed(ledger):
    task = await ledger.task("pulse", every(1, max_runs=1), kind=NOOP)
    await ledger.materialise()
    (row,) = await ledger.written(task)
    await ledger.claim(now=row["scheduled_at"])
    await ledger.report([(row["id"], 1)])
    await ledger.pool.execute(
        "UPDATE task_cursor SET upto = $2, visit_at = NULL WHERE task_id = $1",
        UUID(task),
        row["scheduled_at"] - timedelta(hours=1),
    )
    await ledger.change(altered(task, TaskAction.UPDATE, every(1, max_runs=1)))
    assert [run.id for run in await ledger.runs(task)] == [str(row["id"])]


async def test_every_tick_of_a_pause_is_in_a_row_although_one_ran_at_its_beginning(ledger):
    task = await ledger.task("pulse", every(1), kind=NOOP, overlap=Overlap.ALLOW)
    await ledger.materialise()
    now = await ledger.now()
    row = next(row for row in await ledger.written(task) if row["scheduled_at"] > now + LEAD / 5)
    tick, instant = row["id"], row["scheduled_at"]
    held = await ledger.claim(now=instant)
    await ledger.change(altered(task, TaskAction.PAUSE))
    await ledger.report([(tick, 1)])
    await ledger.take_back(*(key for key in held if key[0] != tick))
    await asyncio.sleep(2.5)
    await ledger.change(altered(task, TaskAction.RESUME))
    rows = await ledger.pool.fetch(
        "SELECT state::text, scheduled_at, last_scheduled_at, ticks FROM run_history WHERE task_id = $1", UUID(task)
    )
    paused = [row for row in rows if row["state"] == "skipped" and row["scheduled_at"] > instant]
    assert [row["state"] for row in rows if row["scheduled_at"] == instant] == ["succeeded"]
    assert sum(row["ticks"] for row in paused) >= 1


@pytest.mark.parametrize("over", [True, False], ids=["it is over", "it still runs"])
@pytest.mark.parametrize("settled_by", ["a pass", "an edit"])
async def test_a_missed_stretch_is_in_rows_although_its_first_tick_ran(ledger, settled_by, over):
    """An edit puts the cursor back to now; what a node had in its hands ran; then nothing could run for two hours."""
    minutely, none = every(60), {"catchup": Catchup.NONE, "overlap": Overlap.ALLOW}
    task = await ledger.task("pulse", minutely, kind=NOOP, **none)
    now = await ledger.now()
    first = now.replace(second=0, microsecond=0) - 2 * HOUR
    await ledger.rewind(task, first - LEAD)
    await ledger.materialise(first)
    held = await ledger.claim(now=first)
    assert len(held) == 1
    if over:
        await ledger.report(held)
    await ledger.rewind(task, first - LEAD)
    if settled_by == "a pass":
        await ledger.materialise()
    else:
        await ledger.change(altered(task, TaskAction.UPDATE, minutely, **none))
    await ledger.report(held)
    ran, missed = (await ledger.runs(task))[:2]
    assert (ran.scheduled_at, ran.state) == (first, RunState.SUCCEEDED)
    assert (missed.scheduled_at, missed.state) == (first + timedelta(minutes=1), RunState.SKIPPED)
    assert missed.ticks in {118, 119, 120}
    assert missed.last_scheduled_at == first + missed.ticks * timedelta(minutes=1)


async def returned_late(ledger: Ledger, *edits: tuple[timedelta, TaskAction, Schedule | None]) -> list[Run]:
    """A tick of ten minutes ago that its node gives back after these edits, each so long after it: its rows."""
    minutely, none = every(60), {"catchup": Catchup.NONE}
    task = await ledger.task("pulse", minutely, kind=NOOP, **none)
    first = (await ledger.now()).replace(second=0, microsecond=0) - 10 * MINUTE
    await ledger.pool.execute("UPDATE task_version SET created_at = $1", first - HOUR)
    await ledger.rewind(task, first - LEAD)
    await ledger.materialise(first)
    held = await ledger.claim(now=first)
    assert len(held) == 1
    await ledger.pool.execute("UPDATE run SET recall = 'withdraw'")
    for after, action, schedule in edits:
        await ledger.change(altered(task, action, schedule, **none))
        if after < timedelta(0):  # the ledger is settled up to the edit, and goes on from there
            await ledger.pool.execute("DELETE FROM run_history")
            await ledger.rewind(task, first + after)
        await ledger.pool.execute(
            "UPDATE task_version SET created_at = $1 WHERE version = (SELECT version FROM task)", first + after
        )
    await ledger.take_back(*held)
    return [run for run in await ledger.runs(task) if run.scheduled_at == first]


BEFORE, AFTER = -LEAD, LEAD * 30
NEVER = Schedule(rules=[Rule(every=Interval(period=HOUR, phase=timedelta(seconds=7)))])


@pytest.mark.parametrize(
    ("edits", "reason"),
    [
        ([(BEFORE, TaskAction.PAUSE, None), (AFTER, TaskAction.UPDATE, every(60))], Reason.SKIPPED_PAUSED),
        ([(BEFORE, TaskAction.UPDATE, every(60)), (AFTER, TaskAction.UPDATE, NEVER)], Reason.MISSED),
        ([(BEFORE, TaskAction.UPDATE, every(60)), (AFTER, TaskAction.PAUSE, None)], Reason.SKIPPED_PAUSED),
        ([(BEFORE, TaskAction.UPDATE, every(60)), (AFTER, TaskAction.DELETE, None)], Reason.CANCELLED),
    ],
    ids=["paused, then edited", "edited twice", "edited, then paused", "edited, then deleted"],
)
async def test_a_tick_that_comes_back_late_is_in_a_row_if_it_counted_when_it_was_due(ledger, edits, reason):
    """A stretch is written beside its row, so that no other row says what became of it."""
    assert [run.reason for run in await returned_late(ledger, *edits)] == [reason]


async def test_a_tick_that_no_longer_counted_when_it_was_due_leaves_nothing(ledger):
    assert await returned_late(ledger, (BEFORE, TaskAction.UPDATE, NEVER)) == []


async def test_a_tick_of_a_pause_that_comes_back_before_the_next_edit_is_in_the_row_of_the_pause(ledger):
    assert await returned_late(ledger, (BEFORE, TaskAction.PAUSE, None)) == []
    (task,) = await ledger.pool.fetchrow("SELECT id FROM task")
    await ledger.change(altered(str(task), TaskAction.RESUME))
    stretch = (await ledger.runs(str(task)))[0]
    assert (stretch.reason, stretch.ticks >= 10) == (Reason.SKIPPED_PAUSED, True)
