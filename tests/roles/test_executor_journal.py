from __future__ import annotations

import asyncio
import math
import os
import shutil
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from dts.domain.columns import pack
from dts.domain.errors import FailedPrecondition
from dts.pb.dts.v1 import Assignments, LogStream, Reason, Reports, RunState
from dts.roles.executor import journal as journal_module
from dts.roles.executor import recovery as recovery_module
from dts.roles.executor.assigned import AssignmentReader, one_row, read_row
from dts.roles.executor.distant_clock import DistantClock
from dts.roles.executor.journal import open_journal
from support.executors import LogShelf, ScriptedRunner, ScriptedWork, make_executor, process, running
from support.polling import eventually
from support.scheduler import ScriptedScheduler, assignments

KEY = (uuid4().bytes, 3)
OTHER = (uuid4().bytes, 1)


def now():
    return datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
async def reopened(tmp_path):
    """Opens the journal of what a killed process left: its files as they are at this moment."""
    copies = []

    def reopen():
        target = tmp_path / f"copy{len(copies)}"
        shutil.copytree(tmp_path / "data", target)
        copies.append(open_journal(target, now))
        return copies[-1]

    yield reopen
    for journal in copies:
        await journal.close()


@pytest.fixture
async def journal(tmp_path):
    journal = open_journal(tmp_path / "data", now)
    yield journal
    await journal.close()


async def test_what_was_written_is_there_after_a_kill(journal, reopened):
    journal.job(KEY, Assignments(run_ids=KEY[0]))
    journal.started(KEY)
    journal.logs(KEY, LogStream.STDERR, 10, 20)
    journal.result(KEY, Reports(run_ids=KEY[0]))
    journal.job(OTHER, Assignments(run_ids=OTHER[0]))
    found = reopened().entries
    assert found == journal.entries
    assert found[KEY].sent == {LogStream.STDERR: (10, 20)}
    assert found[KEY].started_at == found[KEY].result_at == int(now().timestamp() * 1e6)
    assert found[OTHER].started_at is None


async def test_what_is_forgotten_is_not(journal, reopened):
    journal.job(KEY, Assignments())
    journal.forget([KEY, OTHER])
    journal.logs(KEY, LogStream.STDOUT, 0, 1)
    assert reopened().entries == {}


@pytest.mark.parametrize("cut", [1, 9, 30])
async def test_a_torn_last_record_costs_that_record_only(journal, tmp_path, cut):
    journal.job(KEY, Assignments(run_ids=KEY[0]))
    journal.started(OTHER)
    await journal.close()
    path = tmp_path / "data" / "attempts.journal"
    os.truncate(path, path.stat().st_size - cut)
    again = open_journal(tmp_path / "data", now)
    assert list(again.entries) == [KEY]
    again.started(OTHER)
    await again.close()
    third = open_journal(tmp_path / "data", now)
    assert list(third.entries) == [KEY, OTHER]
    await third.close()


@pytest.mark.usefixtures("journal")
async def test_a_directory_has_one_executor_at_a_time(tmp_path):
    with pytest.raises(FailedPrecondition, match="another executor"):
        open_journal(tmp_path / "data", now)


async def test_a_journal_of_forgotten_attempts_is_rewritten_and_nothing_is_lost(
    journal, reopened, tmp_path, monkeypatch
):
    monkeypatch.setattr(journal_module, "COMPACT_BYTES", 10_000)
    journal.job(KEY, Assignments(run_ids=KEY[0]))
    for number in range(200):
        journal.job((OTHER[0], number), Assignments(specs=[b"x" * 50]))
        journal.forget([(OTHER[0], number)])
    await journal.synced()
    assert (tmp_path / "data" / "attempts.journal").stat().st_size < 1000
    journal.started(KEY)
    assert reopened().entries == journal.entries


async def test_a_disk_that_is_full_while_it_is_rewritten_ends_neither_the_journal_nor_its_rewriting(
    journal, reopened, tmp_path, monkeypatch
):
    monkeypatch.setattr(journal_module, "COMPACT_BYTES", 10_000)
    real = journal_module._write_all

    def full(file, data):
        if file != journal._file:  # the fresh one
            raise OSError(28, "No space left on device")
        real(file, data)

    async def grown():
        for number in range(200):
            journal.job((OTHER[0], number), Assignments(specs=[b"x" * 50]))
            journal.forget([(OTHER[0], number)])
        await journal.synced()

    journal.job(KEY, Assignments(run_ids=KEY[0]))
    monkeypatch.setattr(journal_module, "_write_all", full)
    await grown()
    monkeypatch.setattr(journal_module, "_write_all", real)
    assert reopened().entries == journal.entries
    await grown()
    assert (tmp_path / "data" / "attempts.journal").stat().st_size < 1000
    journal.started(KEY)
    assert reopened().entries == journal.entries


async def test_a_full_disk_costs_no_result(journal, reopened, monkeypatch, caplog):
    real, full = os.write, True

    def write(file, data):
        if full:
            raise OSError(28, "No space left on device")
        return real(file, data)

    monkeypatch.setattr(os, "write", write)
    journal.result(KEY, Reports(run_ids=KEY[0]))
    await journal.synced()
    assert "memory only" in caplog.text
    full = False
    journal.started(OTHER)
    assert set(reopened().entries) == {KEY, OTHER}


async def killed(scheduler, data_dir, runner, logs, until):
    """Runs an executor until a moment, and leaves its files as a kill at that moment would."""
    executor = make_executor(scheduler, data_dir, runners={"process": runner}, logs=logs)
    task = asyncio.create_task(executor.run())
    try:
        await until()
        left = data_dir.with_name(f"{data_dir.name}-left")
        shutil.copytree(data_dir, left)
    finally:
        task.cancel()
        await asyncio.wait([task])
    return left


async def test_a_result_that_nobody_acknowledged_is_sent_by_the_next_process(tmp_path):
    scheduler, runner, key = ScriptedScheduler(acknowledges=False), ScriptedRunner(), (uuid4(), 2)

    async def until():
        await eventually(lambda: scheduler.attached)
        scheduler.assign([key], process())
        (await eventually(lambda: runner.works.get(key))).end(7, cpu=1.5, memory=4096)
        await eventually(lambda: scheduler.final(key))

    left = await killed(scheduler, tmp_path / "data", runner, LogShelf(), until)
    second = ScriptedScheduler()
    async with running(second, left, runners={"process": ScriptedRunner()}) as executor:
        report = await eventually(lambda: second.final(key))
        await eventually(lambda: executor.unacknowledged == 0)
    assert second.held() == {}
    first = scheduler.final(key)
    assert (report.state, report.reason, report.exit_code) == (RunState.FAILED, Reason.EXIT_CODE, 7)
    assert report.detail == first.detail
    assert report.started_ago - report.finished_ago == pytest.approx(first.started_ago - first.finished_ago, abs=2)
    third = ScriptedScheduler()
    async with running(third, left, runners={"process": ScriptedRunner()}):
        await asyncio.sleep(0)
    assert third.reports == []


async def test_work_that_goes_on_is_found_by_the_next_process(tmp_path):
    scheduler, runner, shelf, key = ScriptedScheduler(), ScriptedRunner(), LogShelf(), (uuid4(), 1)

    async def until():
        await eventually(lambda: scheduler.attached)
        scheduler.assign([key], process())
        work = await eventually(lambda: runner.works.get(key))
        emit = await eventually(lambda: work.emit)
        await emit(LogStream.STDOUT, b"one\n")
        await eventually(lambda: shelf.entries)

    left = await killed(scheduler, tmp_path / "data", runner, shelf, until)
    assert runner.log == ["start"]
    again, second = ScriptedRunner(), ScriptedScheduler()
    again.find_errors = 1
    again.left[key] = work = ScriptedWork(runner.works[key].job, again.log)
    async with running(second, left, runners={"process": again}, logs=shelf):
        assert second.held()[key] >= 0
        emit = await eventually(lambda: work.emit)
        assert [job.start_by for job in again.sought[0]] == [pytest.approx(work.job.start_by, abs=1)]
        await emit(LogStream.STDOUT, b"one\ntwo\n")
        work.end(0)
        report = await eventually(lambda: second.final(key))
    assert report.state is RunState.SUCCEEDED
    assert shelf.pieces() == [(0, b"one\n", 0), (4, b"two\n", 0)] or shelf.pieces() == [
        (0, b"one\n", 0),
        (0, b"one\n", 0),
        (4, b"two\n", 0),
    ]
    assert again.log == ["discard"]


async def test_an_attempt_whose_start_deadline_an_earlier_release_did_not_write_has_none():
    [old] = (
        AssignmentReader().read(assignments([(uuid4(), 1)], process()), received_at=5.0, clock=DistantClock()).others
    )
    row = one_row(old, now=7.0)
    assert read_row(AssignmentReader(), row, written_at=7.0, clock=DistantClock()) == old
    row.start_by_in = pack("q", [0])
    read = read_row(AssignmentReader(), row, written_at=7.0, clock=DistantClock())
    assert read.start_by == read.job.start_by == math.inf


async def test_work_that_took_long_to_start_began_when_it_had_started(tmp_path):
    scheduler, runner, key = ScriptedScheduler(), ScriptedRunner(), (uuid4(), 1)
    runner.start_takes = 1.0

    async def until():
        await eventually(lambda: scheduler.attached)
        scheduler.assign([key], process())
        await eventually(lambda: key in runner.works and runner.works[key].emit)

    left = await killed(scheduler, tmp_path / "data", runner, LogShelf(), until)
    again, second = ScriptedRunner(), ScriptedScheduler()
    again.left[key] = ScriptedWork(runner.works[key].job, again.log)
    async with running(second, left, runners={"process": again}):
        ran = time.monotonic() - runner.works[key].started_at
        assert second.held()[key] / 1_000_000 < ran + 0.1
        again.left[key].end(0)
        await eventually(lambda: second.final(key))


async def test_work_that_is_gone_after_a_restart_is_reported_as_lost_and_not_started_again(tmp_path):
    scheduler, runner, key = ScriptedScheduler(), ScriptedRunner(), (uuid4(), 1)

    async def until():
        await eventually(lambda: scheduler.attached)
        scheduler.assign([key], process())
        await eventually(lambda: scheduler.of(key))

    left = await killed(scheduler, tmp_path / "data", runner, LogShelf(), until)
    again, second = ScriptedRunner(), ScriptedScheduler()
    async with running(second, left, runners={"process": again}):
        second.assign([key], process())
        report = await eventually(lambda: second.final(key))
    assert (report.state, report.reason) == (RunState.FAILED, Reason.NODE_LOST)
    assert again.log == []


async def test_what_had_not_started_is_not_held_after_a_restart(tmp_path):
    scheduler, runner, key = ScriptedScheduler(), ScriptedRunner(), (uuid4(), 1)

    async def until():
        await eventually(lambda: scheduler.attached)
        scheduler.assign([key], process(), start_in=30)
        await eventually(lambda: runner.works)

    left = await killed(scheduler, tmp_path / "data", runner, LogShelf(), until)
    again, second = ScriptedRunner(), ScriptedScheduler()
    async with running(second, left, runners={"process": again}):
        assert second.held() == {}
        second.assign([key], process())
        await eventually(lambda: second.of(key))
    assert [list(jobs) for jobs in again.sought] == [[]]


async def test_nothing_is_prepared_before_leftovers_were_looked_for(tmp_path):
    scheduler, runner, key = ScriptedScheduler(), ScriptedRunner(), (uuid4(), 1)
    runner.find_errors = 1
    async with running(scheduler, tmp_path, runners={"process": runner}):
        scheduler.assign([key], process())
        await eventually(lambda: scheduler.of(key))
        assert runner.sought


async def test_what_is_left_behind_later_is_looked_for_again_and_again(tmp_path, monkeypatch):
    """An engine may make what was given up meanwhile; one that is away then is asked the next time."""
    monkeypatch.setattr(recovery_module, "TIDY_SECONDS", 0.01)
    scheduler, runner, key = ScriptedScheduler(), ScriptedRunner(), (uuid4(), 1)
    async with running(scheduler, tmp_path, runners={"process": runner}):
        scheduler.assign([key], process())
        await eventually(lambda: scheduler.of(key))
        runner.find_errors = 2
        await eventually(lambda: not runner.find_errors)
        runner.sought.clear()
        await eventually(lambda: len(runner.sought) > 2)
        assert not any(runner.sought)
        runner.works[key].end(0)
        await eventually(lambda: scheduler.final(key))
    assert scheduler.final(key).state is RunState.SUCCEEDED


async def test_the_wall_clock_may_step_back_between_two_processes(tmp_path):
    key = (uuid4(), 1)
    journal = open_journal(tmp_path, lambda: datetime.now(UTC) + timedelta(days=1))
    scheduler, runner = ScriptedScheduler(acknowledges=False), ScriptedRunner()
    await journal.close()

    async def until():
        await eventually(lambda: scheduler.attached)
        scheduler.assign([key], process())
        (await eventually(lambda: runner.works.get(key))).end(0)
        await eventually(lambda: scheduler.final(key))

    left = await killed(scheduler, tmp_path / "data", runner, LogShelf(), until)
    early = open_journal(left, lambda: datetime.now(UTC) + timedelta(days=1))
    for entry in early.entries.values():
        entry.result_at += 86_400_000_000
    early._rewrite()
    await early.close()
    second = ScriptedScheduler()
    async with running(second, left, runners={"process": ScriptedRunner()}):
        report = await eventually(lambda: second.final(key))
    assert report.finished_ago >= 0
