"""From a definition to a result, over the public services, in one process and in five."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from dts.domain.errors import InvalidArgument, NotFound
from dts.pb.dts.v1 import (
    BackfillTaskRequest,
    Backoff,
    CancelRunRequest,
    CreateTaskRequest,
    Cron,
    DeleteTaskRequest,
    DrainNodeRequest,
    ExplainTaskRequest,
    GetRunRequest,
    GetStatusRequest,
    GetTaskRequest,
    Interval,
    Kind,
    ListNodesRequest,
    ListRunsRequest,
    ListUpcomingRequest,
    LogStream,
    NoopKind,
    Overlap,
    PauseTaskRequest,
    Policies,
    ProcessKind,
    Reason,
    ResumeNodeRequest,
    ResumeTaskRequest,
    RetryRunRequest,
    Rule,
    Run,
    RunState,
    Schedule,
    TailLogsRequest,
    TaskSpec,
    Trigger,
    TriggerTaskRequest,
    WatchRunRequest,
)
from support.polling import eventually
from support.system import Calls

pytestmark = pytest.mark.asyncio(loop_scope="module")

FINAL = {RunState.SUCCEEDED, RunState.FAILED, RunState.TIMED_OUT, RunState.CANCELLED, RunState.SKIPPED}
SECOND = timedelta(seconds=1)


def every(seconds: float) -> Schedule:
    return Schedule(rules=[Rule(every=Interval(period=timedelta(seconds=seconds)))])


def shell(script: str) -> Kind:
    return Kind(process=ProcessKind(command=["sh", "-c", script]))


async def create(calls: Calls, name: str, kind: Kind, schedule: Schedule | None = None, **policies) -> None:
    spec = TaskSpec(name=name, kind=kind, schedule=schedule, policies=Policies(**policies))
    await calls.tasks.create_task(CreateTaskRequest(spec=spec))


async def trigger(calls: Calls, task: str, **options) -> Run:
    response = await calls.scheduler.trigger_task(TriggerTaskRequest(task=task, **options))
    assert response.run is not None
    return response.run


async def end_of(calls: Calls, run: Run) -> Run:
    """The run once it is final, as those see it who watch it."""
    last = run
    async for answer in calls.scheduler.watch_run(WatchRunRequest(run=run.id)):
        assert answer.run is not None
        last = answer.run
    assert last.state in FINAL
    return last


async def runs_of(calls: Calls, task: str, **query) -> list[Run]:
    response = await calls.scheduler.list_runs(ListRunsRequest(task=task, page_size=1000, **query))
    return response.runs


async def output(calls: Calls, run: Run, stream: LogStream = LogStream.STDOUT) -> str:
    chunks = [
        chunk
        async for answer in calls.scheduler.tail_logs(TailLogsRequest(run=run.id, follow=True))
        for chunk in answer.chunks
    ]
    return b"".join(chunk.content for chunk in chunks if chunk.stream is stream).decode()


async def test_every_tick_of_a_schedule_runs_exactly_once_and_on_time(calls):
    # Side by side: on a machine that stands still for a second the next tick would rightly be skipped.
    await create(calls, "each-second", Kind(noop=NoopKind()), every(1), overlap=Overlap.ALLOW)

    async def six() -> list[Run]:
        done = await runs_of(calls, "each-second", states=[RunState.SUCCEEDED])
        assert len(done) >= 6
        return done

    runs = await eventually(six, within=20)
    instants = [run.scheduled_at for run in runs]
    assert [a - b for a, b in itertools.pairwise(instants)] == [SECOND] * (len(runs) - 1)
    assert all(run.trigger is Trigger.SCHEDULE and run.attempt == 1 for run in runs)
    lateness = sorted(run.started_at - run.scheduled_at for run in runs)
    assert timedelta(0) <= lateness[0] <= lateness[len(lateness) // 2] < SECOND
    await calls.tasks.delete_task(DeleteTaskRequest(task="each-second"))


async def test_a_process_runs_and_what_it_prints_is_kept(calls):
    await create(calls, "greet", shell('echo "hello $DTS_PARAM_WHO"; echo "from $DTS_TASK" >&2'))
    run = await end_of(calls, await trigger(calls, "greet", parameters={"WHO": "world"}))
    assert (run.state, run.reason, run.exit_code) == (RunState.SUCCEEDED, Reason.OK, 0)
    assert await output(calls, run) == "hello world\n"
    assert await output(calls, run, LogStream.STDERR) == "from greet\n"


async def test_a_failed_run_is_tried_again_until_it_succeeds(calls):
    await create(
        calls,
        "flaky",
        shell("test $DTS_ATTEMPT -ge 3"),
        retries=3,
        backoff=Backoff(initial=timedelta(milliseconds=50)),
    )
    run = await end_of(calls, await trigger(calls, "flaky"))
    assert run.state is RunState.SUCCEEDED
    assert [(attempt.number, attempt.exit_code) for attempt in run.attempts] == [(1, 1), (2, 1), (3, 0)]


async def test_a_run_that_fails_says_how(calls):
    await create(calls, "broken", shell("exit 7"))
    run = await end_of(calls, await trigger(calls, "broken"))
    assert (run.state, run.reason, run.exit_code) == (RunState.FAILED, Reason.EXIT_CODE, 7)
    again = (await calls.scheduler.retry_run(RetryRunRequest(run=run.id))).run
    assert again is not None
    assert again.id != run.id
    assert (await end_of(calls, again)).trigger is Trigger.RETRY


async def test_a_program_that_does_not_exist_fails_with_a_sentence(calls):
    await create(calls, "ghost", Kind(process=ProcessKind(command=["no-such-program-anywhere"])))
    run = await end_of(calls, await trigger(calls, "ghost"))
    assert run.state is RunState.FAILED
    assert "no-such-program-anywhere" in run.message


async def test_a_run_over_its_time_is_stopped_with_everything_below_it(calls):
    await create(
        calls,
        "endless",
        shell("trap 'echo asked' TERM; sleep 300 & while :; do sleep 0.1; done"),
        timeout=timedelta(seconds=1),
        stop_grace=timedelta(seconds=1),
    )
    run = await end_of(calls, await trigger(calls, "endless"))
    assert (run.state, run.reason) == (RunState.TIMED_OUT, Reason.TIMEOUT)
    assert "asked" in await output(calls, run)


async def test_a_run_can_be_cancelled_while_it_runs(calls):
    await create(calls, "long", shell("echo begun; exec sleep 300"))
    run = await trigger(calls, "long")

    async def runs() -> bool:
        answer = await calls.scheduler.get_run(GetRunRequest(run=run.id[:13]))
        return answer.run is not None and answer.run.state is RunState.RUNNING

    await eventually(runs)
    await calls.scheduler.cancel_run(CancelRunRequest(run=run.id))
    ended = await end_of(calls, run)
    assert (ended.state, ended.reason) == (RunState.CANCELLED, Reason.CANCELLED)


async def test_a_second_run_is_skipped_and_names_the_first(calls):
    await create(calls, "single", shell("sleep 300"))
    first = await trigger(calls, "single")
    second = await end_of(calls, await trigger(calls, "single"))
    assert (second.state, second.reason, second.blocked_by) == (RunState.SKIPPED, Reason.SKIPPED_OVERLAP, first.id)
    third = await trigger(calls, "single", overlap=Overlap.TERMINATE_OTHER)
    assert (await end_of(calls, first)).reason is Reason.REPLACED
    await calls.scheduler.cancel_run(CancelRunRequest(run=third.id))
    assert (await end_of(calls, third)).state is RunState.CANCELLED


async def test_past_ticks_can_be_run_again(calls):
    daily = Schedule(rules=[Rule(cron=Cron(expression="0 3 * * *"))])
    await create(calls, "daily", Kind(noop=NoopKind()), daily)
    since = datetime(2026, 1, 1, tzinfo=UTC)
    request = BackfillTaskRequest(task="daily", since=since, until=since + timedelta(days=5))
    made = await calls.scheduler.backfill_task(request)
    assert made.ticks == 5
    ended = [await end_of(calls, run) for run in made.runs]
    assert [run.state for run in ended] == [RunState.SUCCEEDED] * 5
    assert [run.scheduled_at for run in ended] == [since + timedelta(days=n, hours=3) for n in range(5)]


async def test_a_paused_task_owes_nothing(calls):
    await create(calls, "pausing", Kind(noop=NoopKind()), every(1))
    await eventually(lambda: runs_of(calls, "pausing", states=[RunState.SUCCEEDED]))
    await calls.tasks.pause_task(PauseTaskRequest(task="pausing", note="for the test"))
    explained = await calls.scheduler.explain_task(ExplainTaskRequest(task="pausing"))
    assert "for the test" in explained.message + " ".join(step.detail for step in explained.steps)
    await calls.tasks.resume_task(ResumeTaskRequest(task="pausing"))
    count = len(await runs_of(calls, "pausing", states=[RunState.SUCCEEDED]))

    async def goes_on() -> bool:
        return len(await runs_of(calls, "pausing", states=[RunState.SUCCEEDED])) > count + 1

    await eventually(goes_on)
    await calls.tasks.delete_task(DeleteTaskRequest(task="pausing"))


async def test_the_coming_schedule_is_known(calls):
    await create(calls, "hourly", Kind(noop=NoopKind()), every(3600))
    coming = await calls.scheduler.list_upcoming(ListUpcomingRequest(task="hourly", within=timedelta(hours=5)))
    assert len(coming.ticks) == 5
    assert all(tick.task == "hourly" for tick in coming.ticks)


async def test_a_drained_node_takes_nothing_new_and_the_run_says_why(calls):
    nodes = (await calls.scheduler.list_nodes(ListNodesRequest())).nodes
    assert len(nodes) == 1
    await create(calls, "waiting", shell("true"))
    await calls.scheduler.drain_node(DrainNodeRequest(node=nodes[0].hostname, note="maintenance"))
    run = await trigger(calls, "waiting")

    async def says_why() -> bool:
        answer = await calls.scheduler.get_run(GetRunRequest(run=run.id))
        return answer.run is not None and "draining" in answer.run.message

    await eventually(says_why)
    await calls.scheduler.resume_node(ResumeNodeRequest(node=nodes[0].hostname))
    assert (await end_of(calls, run)).state is RunState.SUCCEEDED


async def test_every_part_is_well(calls):
    async def well() -> bool:
        parts = (await calls.scheduler.get_status(GetStatusRequest())).parts
        return bool(parts) and all(part.well for part in parts)

    await eventually(well)


async def test_a_refusal_names_the_field(calls):
    spec = TaskSpec(name="Not A Name", kind=Kind(noop=NoopKind()), schedule=every(0))
    with pytest.raises(InvalidArgument) as refused:
        await calls.tasks.create_task(CreateTaskRequest(spec=spec))
    assert {violation.field for violation in refused.value.violations} >= {"name", "schedule.rules[0].every"}
    with pytest.raises(NotFound):
        await calls.tasks.get_task(GetTaskRequest(task="Not A Name"))
