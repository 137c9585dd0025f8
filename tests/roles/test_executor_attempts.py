from __future__ import annotations

import asyncio
import time
from uuid import uuid4

import pytest

from dts.pb.dts.v1 import ContainerKind, Kind, Reason, RunState, WorkSpec
from dts.roles.executor.work import Refused
from support.executors import NOOP, ScriptedRunner, process, running
from support.polling import eventually
from support.scheduler import ScriptedScheduler


@pytest.fixture
def scheduler():
    return ScriptedScheduler()


@pytest.fixture
async def runner():
    return ScriptedRunner()


@pytest.fixture
async def executor(scheduler, runner, tmp_path):
    async with running(scheduler, tmp_path, runners={"process": runner}) as executor:
        yield executor


def new_key():
    return uuid4(), 1


async def started(scheduler, runner, key):
    await eventually(lambda: any(report.state is RunState.RUNNING for report in scheduler.of(key)))
    return runner.works[key]


async def test_work_runs_is_reported_and_tidied_up(executor, scheduler, runner):
    key = new_key()
    scheduler.assign([key], process())
    work = await started(scheduler, runner, key)
    work.end(0)
    report = await eventually(lambda: scheduler.final(key))
    assert (report.state, report.reason, report.exit_code) == (RunState.SUCCEEDED, Reason.OK, 0)
    assert report.started_ago >= report.finished_ago >= 0
    assert (report.detail.handle, report.detail.image_digest) == ("1234", "sha256:abc")
    await eventually(lambda: work.discarded)
    await eventually(lambda: executor.unacknowledged == 0 and not executor.attempts)


@pytest.mark.usefixtures("executor")
@pytest.mark.parametrize(
    ("end", "reason", "code"),
    [
        ({"code": 3}, Reason.EXIT_CODE, 3),
        ({"code": 137, "oom": True}, Reason.OOM_KILLED, 137),
        ({"code": None}, Reason.NODE_LOST, -1),
        ({"code": 22, "why": "the answer was 400 Ung\udcfcltig"}, Reason.EXIT_CODE, 22),  # as a server said it
    ],
)
async def test_work_that_ends_badly_fails_and_says_how(scheduler, runner, end, reason, code):
    key = new_key()
    scheduler.assign([key], process())
    (await started(scheduler, runner, key)).end(**end)
    report = await eventually(lambda: scheduler.final(key))
    assert (report.state, report.reason, report.exit_code) == (RunState.FAILED, reason, code)
    assert report.detail.message


@pytest.mark.usefixtures("executor")
async def test_work_is_prepared_before_its_instant_and_started_on_it(scheduler, runner):
    key = new_key()
    due = time.monotonic() + 0.4
    scheduler.assign([key], process(), start_in=0.4)
    work = await eventually(lambda: runner.works.get(key), within=0.3)
    assert runner.log == []
    await started(scheduler, runner, key)
    assert -0.01 <= work.started_at - due < 0.1


@pytest.mark.usefixtures("executor")
async def test_work_that_is_not_ready_by_its_start_deadline_fails_without_a_start(scheduler, runner):
    runner.prepared.clear()
    key = new_key()
    scheduler.assign([key], process(), start_by_in=0.1)
    report = await eventually(lambda: scheduler.final(key))
    assert (report.state, report.reason, report.started_ago) == (RunState.FAILED, Reason.START_DEADLINE, -1)
    assert runner.log == []


@pytest.mark.usefixtures("executor")
@pytest.mark.parametrize("when", ["prepare", "start"])
async def test_a_refusal_is_reported_as_the_runner_words_it(scheduler, runner, when):
    refusal = Refused(Reason.IMAGE_PULL, "no such image", final=True)
    if when == "prepare":
        runner.refusal = refusal
    key = new_key()
    scheduler.assign([key], process(), start_in=0.1)
    if when == "start":
        (await eventually(lambda: runner.works.get(key))).refusal = refusal
    report = await eventually(lambda: scheduler.final(key))
    assert (report.state, report.reason, report.started_ago) == (RunState.FAILED, Reason.IMAGE_PULL, -1)
    assert (report.detail.message, report.detail.final) == ("no such image", True)
    if when == "start":
        await eventually(lambda: runner.log == ["start", "discard"])


@pytest.mark.usefixtures("executor")
@pytest.mark.parametrize("when", ["prepare", "start"])
@pytest.mark.parametrize("reason", [Reason.ENGINE_ERROR, Reason.IMAGE_PULL])
async def test_what_a_node_refuses_because_it_runs_the_kind_no_more_is_given_back(scheduler, runner, when, reason):
    refusal = Refused(reason, "the engine went away")
    key = new_key()
    if when == "prepare":
        runner.refusal, runner.why_missing = refusal, "no engine answers"
    scheduler.assign([key], process(), start_in=0.1)
    if when == "start":
        (await eventually(lambda: runner.works.get(key))).refusal = refusal
        runner.why_missing = "no engine answers"
    await eventually(lambda: key in scheduler.recalled)
    assert scheduler.of(key) == []
    assert runner.log == ([] if when == "prepare" else ["start", "discard"])


@pytest.mark.usefixtures("executor")
async def test_a_definition_that_is_wrong_is_so_whatever_the_node_can_run(scheduler, runner):
    runner.refusal, runner.why_missing = Refused(Reason.INVALID, "no such thing"), "no engine answers"
    key = new_key()
    scheduler.assign([key], process())
    report = await eventually(lambda: scheduler.final(key))
    assert (report.reason, scheduler.recalled) == (Reason.INVALID, [])


@pytest.mark.usefixtures("executor")
async def test_a_bug_in_a_runner_costs_its_own_attempt_only(scheduler, runner):
    runner.refusal = ZeroDivisionError("oops")
    key, witness = new_key(), new_key()
    scheduler.assign([key], process())
    scheduler.assign([witness], NOOP)
    report = await eventually(lambda: scheduler.final(key))
    assert (report.state, report.reason) == (RunState.FAILED, Reason.ENGINE_ERROR)
    assert "oops" not in report.detail.message
    assert await eventually(lambda: scheduler.final(witness))


@pytest.mark.usefixtures("executor")
@pytest.mark.parametrize("spec", [WorkSpec(kind=Kind(container=ContainerKind(image="a"))), WorkSpec(task="odd")])
async def test_a_kind_that_the_node_does_not_run_is_refused(scheduler, spec):
    key = new_key()
    scheduler.assign([key], spec)
    report = await eventually(lambda: scheduler.final(key))
    assert (report.state, report.reason) == (RunState.FAILED, Reason.INVALID)
    assert "kind" in report.detail.message


@pytest.mark.usefixtures("executor")
async def test_work_that_runs_too_long_is_stopped_and_timed_out(scheduler, runner):
    key = new_key()
    scheduler.assign([key], process(timeout=0.1, grace=2))
    report = await eventually(lambda: scheduler.final(key))
    assert (report.state, report.reason, report.exit_code) == (RunState.TIMED_OUT, Reason.TIMEOUT, 143)
    assert runner.log[:2] == ["start", "stop 2"]
    assert "timeout" in report.detail.message


@pytest.mark.usefixtures("executor")
@pytest.mark.parametrize("reason", [Reason.CANCELLED, Reason.REPLACED])
async def test_a_recall_stops_what_runs_and_gives_its_reason(scheduler, runner, reason):
    key = new_key()
    scheduler.assign([key], process())
    await started(scheduler, runner, key)
    scheduler.recall(key, reason=reason)
    report = await eventually(lambda: scheduler.final(key))
    assert (report.state, report.reason, report.exit_code) == (RunState.CANCELLED, reason, 143)
    assert scheduler.recalled == []


async def test_a_kill_comes_through_while_a_stop_waits(scheduler, tmp_path):
    runner = ScriptedRunner(obeys=False)
    async with running(scheduler, tmp_path, runners={"process": runner}):
        key = new_key()
        scheduler.assign([key], process())
        await started(scheduler, runner, key)
        scheduler.recall(key)
        scheduler.recall(key)
        await eventually(lambda: "stop 1" in runner.log)
        scheduler.recall(key, reason=Reason.REPLACED, kill=True)
        report = await eventually(lambda: scheduler.final(key))
    assert (report.state, report.reason) == (RunState.CANCELLED, Reason.CANCELLED)
    assert runner.log == ["start", "stop 1", "kill", "discard"]


@pytest.mark.usefixtures("executor")
@pytest.mark.parametrize("unstarted_only", [True, False])
async def test_a_recall_gives_back_what_has_not_started(scheduler, runner, unstarted_only):
    key = new_key()
    scheduler.assign([key], process(), start_in=30)
    work = await eventually(lambda: runner.works.get(key))
    scheduler.recall(key, unstarted_only=unstarted_only)
    await eventually(lambda: scheduler.recalled == [key] and work.discarded)
    assert scheduler.of(key) == []
    assert runner.log == ["discard"]


@pytest.mark.usefixtures("executor")
async def test_a_withdrawal_leaves_alone_what_runs(scheduler, runner):
    key, witness = new_key(), new_key()
    scheduler.assign([key], process())
    work = await started(scheduler, runner, key)
    scheduler.recall(key, unstarted_only=True)
    scheduler.assign([witness], NOOP)
    await eventually(lambda: scheduler.final(witness))
    assert scheduler.recalled == []
    work.end(0)
    report = await eventually(lambda: scheduler.final(key))
    assert report.state is RunState.SUCCEEDED


async def test_fenced_work_is_stopped_and_nothing_is_reported(executor, scheduler, runner):
    key = new_key()
    scheduler.assign([key], process())
    work = await started(scheduler, runner, key)
    scheduler.recall(key, fenced=True)
    await eventually(lambda: work.discarded)
    await eventually(lambda: not executor.attempts)
    assert [report.state for report in scheduler.of(key)] == [RunState.RUNNING]
    assert executor.unacknowledged == 0


@pytest.mark.parametrize("fault", ["start is refused", "wait is refused", "runner fails"])
async def test_what_may_be_left_of_work_is_gone_before_its_end_is_told(executor, scheduler, runner, fault):
    """The next run of its task may begin with that: a start that an engine calls failed may have come true."""
    key = new_key()
    scheduler.assign([key], process(), start_in=0.2)
    work = await eventually(lambda: runner.works.get(key))
    work.discards.clear()
    if fault == "start is refused":
        work.refusal = Refused(Reason.ENGINE_ERROR, "broken")
    else:
        work.failure = Refused(Reason.ENGINE_ERROR, "broken") if fault == "wait is refused" else ValueError("a bug")
    await eventually(lambda: work.discarding)
    assert (executor.unacknowledged, scheduler.final(key)) == (0, None)
    work.discards.set()
    report = await eventually(lambda: scheduler.final(key))
    assert (report.state, report.reason) == (RunState.FAILED, Reason.ENGINE_ERROR)


@pytest.mark.usefixtures("executor")
async def test_no_work_of_a_task_begins_while_fenced_work_of_it_is_being_stopped(scheduler, runner):
    """The ledger has given the fenced one up; that it lives is known here alone."""
    spec, elder, next_one, stranger = process(), new_key(), new_key(), new_key()
    scheduler.assign([elder], spec)
    work = await started(scheduler, runner, elder)
    work.discards.clear()
    scheduler.recall(elder, fenced=True)
    scheduler.assign([next_one], spec)
    scheduler.assign([stranger], process())
    await started(scheduler, runner, stranger)
    assert next_one not in runner.works
    work.discards.set()
    await started(scheduler, runner, next_one)


@pytest.mark.usefixtures("executor")
async def test_work_that_is_in_the_way_for_too_long_costs_the_start(scheduler, runner):
    spec, elder, next_one = process(), new_key(), new_key()
    scheduler.assign([elder], spec)
    work = await started(scheduler, runner, elder)
    work.discards.clear()
    scheduler.recall(elder, fenced=True)
    scheduler.assign([next_one], spec, start_by_in=0.3)
    report = await eventually(lambda: scheduler.final(next_one))
    assert (report.reason, report.started_ago) == (Reason.START_DEADLINE, -1)
    work.discards.set()


@pytest.mark.usefixtures("executor")
async def test_a_third_life_of_an_attempt_waits_for_what_is_left_of_the_first(executor, scheduler, runner):
    key = new_key()
    first = None
    for _ in range(2):
        scheduler.assign([key], process(), start_in=30)
        await eventually(lambda: executor.attempts)
        first = first or await eventually(lambda: runner.works.get(key))
        first.discards.clear()
        executor._roster.give_up()
    runner.works.clear()
    scheduler.assign([key], process())
    witness = new_key()
    scheduler.assign([witness], process())
    await started(scheduler, runner, witness)
    assert key not in runner.works
    first.discards.set()
    await started(scheduler, runner, key)


@pytest.mark.usefixtures("executor")
async def test_what_takes_long_to_start_is_stopped_meanwhile(scheduler, runner):
    """A service may wait for its node for minutes."""
    runner.start_takes = 60
    key = new_key()
    scheduler.assign([key], process())
    await eventually(lambda: runner.log == ["start"])
    scheduler.recall(key)
    await eventually(lambda: runner.log == ["start", "stop 1"])


@pytest.mark.usefixtures("executor")
async def test_what_is_refused_because_it_was_stopped_was_cancelled(scheduler, runner):
    runner.start_takes = 0.5
    key = new_key()
    scheduler.assign([key], process())
    await eventually(lambda: runner.log == ["start"])
    runner.works[key].refusal = Refused(Reason.ENGINE_ERROR, "it was removed")
    scheduler.recall(key)
    report = await eventually(lambda: scheduler.final(key))
    assert (report.state, report.reason) == (RunState.CANCELLED, Reason.CANCELLED)


async def test_heartbeats_say_what_is_taken(scheduler, runner, tmp_path):
    scheduler.heartbeat = scheduler.heartbeat / 50
    async with running(scheduler, tmp_path, runners={"process": runner}):
        keys = [new_key(), new_key()]
        scheduler.assign(keys, process())
        await eventually(lambda: scheduler.heartbeats and scheduler.heartbeats[-1].used.slots == 2)
        for key in keys:
            (await started(scheduler, runner, key)).end(0)
        await eventually(lambda: scheduler.heartbeats[-1].used.slots == 0)


async def test_a_connection_lost_on_the_way_costs_nothing(executor, scheduler, runner):
    running_key, waiting_key = new_key(), new_key()
    scheduler.assign([running_key], process())
    scheduler.assign([waiting_key], process(), start_in=30)
    work = await started(scheduler, runner, running_key)
    await eventually(lambda: waiting_key in runner.works)
    scheduler.refuses = True
    scheduler.drop()
    await eventually(lambda: not executor.attached)
    work.end(0)
    await eventually(lambda: executor.unacknowledged == 1)
    scheduler.refuses = False
    report = await eventually(lambda: scheduler.final(running_key))
    assert report.state is RunState.SUCCEEDED
    assert scheduler.held() == {waiting_key: -1}


@pytest.mark.usefixtures("executor")
async def test_hello_says_since_when_work_runs(scheduler, runner):
    key = new_key()
    scheduler.assign([key], process())
    await started(scheduler, runner, key)
    scheduler.drop()
    await eventually(lambda: len(scheduler.hellos) == 2)
    assert 0 <= scheduler.held()[key] < 5_000_000


async def test_draining_gives_back_what_waits_and_finishes_what_runs(executor, scheduler, runner):
    runs, waits, late = new_key(), new_key(), new_key()
    scheduler.assign([runs], process())
    scheduler.assign([waits], process(), start_in=30)
    work = await started(scheduler, runner, runs)
    await eventually(lambda: waits in runner.works)
    draining = asyncio.create_task(executor.drain(5))
    await eventually(lambda: scheduler.recalled == [waits])
    await eventually(lambda: scheduler.heartbeats and scheduler.heartbeats[0].leaving)
    scheduler.assign([late], NOOP)
    await eventually(lambda: scheduler.recalled == [waits, late])
    work.end(0)
    assert await draining
    assert scheduler.final(runs).state is RunState.SUCCEEDED
    assert scheduler.heartbeats[-1].leaving
    assert not scheduler.attached


async def test_draining_does_not_wait_for_ever_and_leaves_the_work_alone(executor, scheduler, runner):
    key = new_key()
    scheduler.assign([key], process())
    await started(scheduler, runner, key)
    assert not await executor.drain(0.1)
    assert scheduler.heartbeats[-1].leaving
    assert runner.log == ["start"]
