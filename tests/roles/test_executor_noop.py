from __future__ import annotations

import time
from uuid import uuid4

from dts.pb.dts.v1 import Reason, RunState
from support.executors import NOOP, running
from support.polling import eventually
from support.scheduler import ScriptedScheduler


def new_key():
    return uuid4(), 1


async def test_a_noop_is_reported_until_it_is_acknowledged(tmp_path):
    scheduler = ScriptedScheduler()
    async with running(scheduler, tmp_path) as executor:
        key = new_key()
        scheduler.assign([key], NOOP)
        report = await eventually(lambda: scheduler.final(key))
        await eventually(lambda: executor.unacknowledged == 0)
    assert report.state is RunState.SUCCEEDED
    assert report.reason is Reason.OK
    assert report.started_ago >= report.finished_ago >= 0


async def test_ten_thousand_noops_of_one_instant_take_well_under_a_second_of_a_processor(tmp_path):
    scheduler = ScriptedScheduler()
    async with running(scheduler, tmp_path):
        keys = [new_key() for _ in range(10_000)]
        scheduler.assign(keys, NOOP)
        begun = time.process_time()
        await eventually(lambda: len(scheduler.reports) == len(keys))
        assert time.process_time() - begun < 0.7
    assert scheduler.batches <= 10
    assert {report.key for report in scheduler.reports} == set(keys)


async def test_a_noop_waits_for_its_instant_which_counts_from_the_reading_of_the_clock(tmp_path):
    scheduler = ScriptedScheduler()
    async with running(scheduler, tmp_path):
        key = new_key()
        begun = time.monotonic()
        scheduler.assign([key], NOOP, start_in=1.3, age=1.0)
        report = await eventually(lambda: scheduler.final(key))
        seen = time.monotonic()
    started = seen - report.started_ago / 1e6
    assert 0.3 <= started - begun < 0.45


async def test_a_noop_whose_start_deadline_has_passed_fails(tmp_path):
    scheduler = ScriptedScheduler()
    async with running(scheduler, tmp_path):
        key = new_key()
        scheduler.assign([key], NOOP, start_in=0, start_by_in=0.5, age=1.0)
        report = await eventually(lambda: scheduler.final(key))
    assert (report.state, report.reason) == (RunState.FAILED, Reason.START_DEADLINE)
    assert report.started_ago == -1
    assert report.finished_ago >= 0
    assert "start deadline" in report.detail.message


async def test_a_recalled_noop_is_given_back_and_never_runs(tmp_path):
    scheduler = ScriptedScheduler()
    async with running(scheduler, tmp_path):
        gone, kept = new_key(), new_key()
        scheduler.assign([gone, kept], NOOP, start_in=0.2)
        scheduler.recall(gone, unstarted_only=True)
        await eventually(lambda: scheduler.recalled == [gone])
        await eventually(lambda: scheduler.final(kept))
    assert scheduler.of(gone) == []


async def test_an_assignment_that_its_recall_overtook_is_given_back_again(tmp_path):
    scheduler = ScriptedScheduler()
    async with running(scheduler, tmp_path):
        key, witness = new_key(), new_key()
        scheduler.recall(key)
        scheduler.assign([key, witness], NOOP)
        await eventually(lambda: scheduler.final(witness))
        await eventually(lambda: key in scheduler.recalled)
    assert scheduler.of(key) == []


async def test_what_was_not_acknowledged_is_sent_again_on_the_next_connection(tmp_path):
    scheduler = ScriptedScheduler(acknowledges=False)
    async with running(scheduler, tmp_path) as executor:
        key = new_key()
        scheduler.assign([key], NOOP)
        await eventually(lambda: scheduler.final(key))
        scheduler.drop()
        await eventually(lambda: len(scheduler.of(key)) == 2)
        scheduler.acknowledges = True
        scheduler.drop()
        await eventually(lambda: executor.unacknowledged == 0)
    assert len(scheduler.hellos) == 3
    assert len({hello.node.incarnation for hello in scheduler.hellos}) == 3  # each connection has its own


async def test_the_same_assignment_twice_runs_once(tmp_path):
    scheduler = ScriptedScheduler(acknowledges=False)
    async with running(scheduler, tmp_path):
        key, witness = new_key(), new_key()
        scheduler.assign([key], NOOP, start_in=0.1)
        scheduler.assign([key], NOOP, start_in=0.1)
        await eventually(lambda: scheduler.final(key))
        scheduler.assign([key], NOOP)
        scheduler.assign([witness], NOOP)
        await eventually(lambda: scheduler.final(witness))
    assert len(scheduler.of(key)) == 1
