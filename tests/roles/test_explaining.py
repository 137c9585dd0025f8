"""Any instant of a task has an answer that names the cause and says what can be done."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dts.domain.explain import explain
from dts.pb.dts.v1 import (
    Catchup,
    Cron,
    DateRange,
    FindTasksRequest,
    GapPolicy,
    OneShot,
    Overlap,
    Reason,
    Rule,
    RunState,
    Schedule,
    TaskAction,
    TaskChange,
)
from dts.roles.database.service import DatabaseService
from dts.roles.scheduler.explaining import gathered
from support.ledger import Ledger, every

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def world(database):
    return Ledger.on(database)


@pytest.fixture
async def hour(world):
    """The last full hour."""
    return (await world.now()).replace(minute=0, second=0, microsecond=0)


async def asked(world, task_id, at=None, *, now=None):
    database = DatabaseService(world.store)
    [task] = (await database.find_tasks(FindTasksRequest(tasks=[task_id]))).tasks
    facts = await gathered(database, task, at=at, now=now or await world.now(), deleted=False)
    answer = explain(facts)
    assert answer.message
    return answer


def cron(expression, timezone="UTC", **more):
    return Schedule(rules=[Rule(cron=Cron(expression=expression))], timezone=timezone, **more)


async def since(world, task_id, instant):
    """As if the task had been made then, and its ledger written from there on."""
    await world.pool.execute("UPDATE task SET created_at = $1", instant)
    await world.rewind(task_id, instant)
    await world.materialise()


async def test_between_two_ticks_both_are_named_and_what_became_of_the_one_before(world, hour):
    task_id = await world.task("t", every(3600), catchup=Catchup.NONE)
    await since(world, task_id, hour - 5 * HOUR)
    answer = await asked(world, task_id, hour - 1.5 * HOUR)
    assert answer.verdict == "not_due"
    before, after = hour - 2 * HOUR, hour - HOUR
    assert f"the tick before was at {before:%Y-%m-%d %H:%M:%S} UTC" in answer.message
    assert f"the next one is at {after:%Y-%m-%d %H:%M:%S} UTC" in answer.message
    assert answer.advice == f"`dts explain t --at {before:%Y-%m-%dT%H:%M:%SZ}` tells of the tick before"
    steps = {step.step: step.detail for step in answer.steps}
    assert "UTC: missed, nothing could run at that time" in steps["before"]


async def test_who_leaves_out_the_seconds_means_the_tick(world, hour):
    task_id = await world.task("t", every(3600), catchup=Catchup.NONE)
    await since(world, task_id, hour - 5 * HOUR)
    answer = await asked(world, task_id, hour - 2 * HOUR + timedelta(seconds=59))
    assert (answer.verdict, answer.reason) == ("missed", Reason.MISSED)
    assert "dts task backfill t --since" in answer.advice


async def test_an_instant_before_the_task_was_made(world, hour):
    task_id = await world.task("t", every(3600))
    for at in (hour - 10 * DAY, hour - 10 * DAY + HOUR / 2):
        answer = await asked(world, task_id, at)
        assert answer.verdict == "never"
        assert "did not exist" in answer.message
        assert "dts task backfill t" in answer.advice


async def test_a_paused_task_owes_nothing_since_it_was_paused(world, hour):
    task_id = await world.task("t", every(3600))
    await world.change(TaskChange(action=TaskAction.PAUSE, task_id=task_id, note="audit"))
    for at in (None, hour + 2 * HOUR, hour + 2.5 * HOUR):
        answer = await asked(world, task_id, at)
        assert answer.verdict == "paused"
        assert "(audit)" in answer.message
        assert answer.advice == "resume it with `dts task resume t`"


async def test_an_excluded_date_to_come_is_told_before_it_comes(world, hour):
    day = hour + 2 * DAY
    task_id = await world.task("t", every(3600, exclude=[DateRange(first=f"{day:%Y-%m-%d}")]))
    answer = await asked(world, task_id, day)
    assert answer.verdict == "excluded"
    assert "the date is excluded" in answer.message
    assert "dts task trigger t" in answer.advice


async def test_what_the_clock_jumps_over_is_told_by_the_clock(world):
    gap = datetime(2027, 3, 28, 1, 30, tzinfo=UTC)
    task_id = await world.task("t", cron("30 2 * * *", "Europe/Zurich", dst_gap=GapPolicy.SKIP))
    answer = await asked(world, task_id, gap)
    assert answer.verdict == "not_due"
    assert "the clock goes from 02:00 on to 03:00; what falls into the gap does not run" in answer.message
    assert "clock" in {step.step for step in answer.steps}


async def test_a_tick_beside_a_change_of_the_clock_says_so_in_its_chain(world):
    task_id = await world.task("t", cron("30 2 * * *", "Europe/Zurich"))
    answer = await asked(world, task_id, datetime(2027, 3, 28, 1, tzinfo=UTC))
    assert answer.verdict == "not_yet"
    assert "runs at once after it" in {step.step: step.detail for step in answer.steps}["clock"]


async def test_a_schedule_that_has_ended_never_fires_again(world, hour):
    task_id = await world.task("t", every(3600, ends_at=hour + HOUR))
    answer = await asked(world, task_id, now=hour + 2 * HOUR)
    assert (answer.verdict, answer.at) == ("unknown", hour + HOUR)
    answer = await asked(world, task_id, hour + 5 * HOUR, now=hour + 6 * HOUR)
    assert answer.verdict == "not_due"
    assert "none follows" in answer.message


async def test_a_task_that_ran_as_often_as_it_may_says_so(world, hour):
    task_id = await world.task("t", every(3600, max_runs=1))
    await world.rewind(task_id, hour - HOUR)
    await world.pool.execute("UPDATE task_cursor SET runs_left = 0, next_due_at = NULL, visit_at = NULL")
    for at in (hour + HOUR, hour + 1.5 * HOUR):
        answer = await asked(world, task_id, at)
        assert "as often as max_runs allows" in answer.message


async def test_a_task_without_a_schedule_says_how_it_runs(world, hour):
    task_id = await world.task("t")
    answer = await asked(world, task_id, hour)
    assert answer.verdict == "never"
    assert "dts task trigger t" in answer.advice


async def test_a_run_in_the_way_is_named_with_what_to_do_about_it(world):
    task_id = await world.task("t")
    blocker = await world.trigger(task_id)
    await world.node()
    [key] = await world.claim()
    await world.report([key], RunState.RUNNING, Reason.UNSPECIFIED)
    await world.trigger(task_id)
    assert await world.claim() == []
    answer = await asked(world, task_id)
    assert (answer.verdict, answer.reason) == ("skipped", Reason.SKIPPED_OVERLAP)
    assert f"run {blocker.hex[:8]} was not over" in answer.message
    assert f"dts run show {blocker.hex[:8]}" in answer.advice


async def test_a_run_that_waits_for_its_turn_names_whom_it_waits_for(world):
    task_id = await world.task("t", overlap=Overlap.QUEUE_ONE)
    blocker = await world.trigger(task_id)
    await world.node()
    await world.claim()
    await world.trigger(task_id)
    await world.claim()
    answer = await asked(world, task_id)
    assert answer.verdict == "waiting"
    assert f"waits for run {blocker.hex[:8]}" in answer.message
    assert f"dts run cancel {blocker.hex[:8]}" in answer.advice


async def test_a_run_that_waits_for_a_place_hears_each_node(world):
    task_id = await world.task("t", constraints=["node.labels.gpu==true"])
    await world.trigger(task_id)
    await world.node("alpha")
    await world.node("beta", labels={"disk": "ssd"})
    await world.claim("alpha", "beta")
    answer = await asked(world, task_id)
    assert answer.verdict == "waiting"
    assert answer.message == "2 nodes: 2 lack label gpu=true"
    steps = {step.step: step.detail for step in answer.steps}
    assert steps["node alpha"] == steps["node beta"] == "lacks label gpu=true"
    assert "loosen `constraints`" in answer.advice


@pytest.mark.parametrize(
    ("reason", "words", "advice"),
    [
        (Reason.IMAGE_PULL, "its image could not be pulled", "DTS_REGISTRY_AUTH_FILE"),
        (Reason.POLICY_DENIED, "the node's policy forbids it", "DTS_POLICY_FILE"),
        (Reason.OOM_KILLED, "used more memory than it may", "resources.memory"),
        (Reason.EXIT_CODE, "exit code 3", "dts run logs"),
    ],
)
async def test_a_run_that_failed_says_why_and_where_to_look(world, reason, words, advice):
    task_id = await world.task("t")
    await world.trigger(task_id)
    await world.node()
    await world.report(await world.claim(), RunState.FAILED, reason, exit_code=3)
    answer = await asked(world, task_id)
    assert (answer.verdict, answer.reason) == ("failed", reason)
    assert words in answer.message
    assert advice in answer.advice


async def test_a_tick_that_started_late_says_that_it_waited(world, hour):
    due = hour - HOUR / 2
    once = Schedule(rules=[Rule(at=OneShot(time=due.isoformat()))])
    task_id = await world.task("t", once, catchup=Catchup.LATEST, catchup_window=3 * HOUR)
    await since(world, task_id, due - HOUR)
    await world.node()
    await world.report(await world.claim())
    answer = await asked(world, task_id, due)
    assert answer.verdict == "ran"
    assert "it succeeded, but started late: it waited" in answer.message
