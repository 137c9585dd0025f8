from __future__ import annotations

import time
from datetime import timedelta
from uuid import uuid4

from dts.pb.dts.v1 import AttachResponse, LeaseRenewed, RunState
from dts.roles.executor.lease import Lease
from support.executors import NOOP, ScriptedRunner, process, running
from support.polling import eventually
from support.scheduler import ScriptedScheduler


def new_key():
    return uuid4(), 1


def test_a_lease_counts_from_before_it_was_asked_for_less_a_margin():
    lease = Lease()
    assert not lease.holds(0)
    lease.granted(timedelta(seconds=10), asked_at=100)
    assert lease.holds(108.9)
    assert not lease.holds(109)
    sequence = lease.ask(104)
    lease.ask(106)
    lease.renewed(sequence)
    assert lease.until == 113


def test_an_answer_to_an_unknown_or_older_heartbeat_never_changes_the_lease():
    lease = Lease()
    lease.granted(timedelta(seconds=10), asked_at=100)
    first, second = lease.ask(101), lease.ask(102)
    lease.renewed(second)
    lease.renewed(first)
    lease.renewed(77)
    assert lease.until == 111


async def test_without_a_lease_nothing_starts_and_what_runs_goes_on(tmp_path):
    scheduler = ScriptedScheduler(lease=timedelta(seconds=0.4), heartbeat=timedelta(seconds=0.1))
    runner = ScriptedRunner()
    async with running(scheduler, tmp_path, runners={"process": runner}) as executor:
        runs, waits, noop = new_key(), new_key(), new_key()
        scheduler.assign([runs], process())
        await eventually(lambda: scheduler.of(runs))
        scheduler.renews, scheduler.refuses = False, True
        scheduler.assign([waits], process(), start_in=0.8)
        scheduler.assign([noop], NOOP, start_in=0.8)
        await eventually(lambda: waits in runner.works)
        await eventually(lambda: not executor.attached)
        await eventually(lambda: runner.works[waits].discarded)
        runner.works[runs].end(0)
        await eventually(lambda: executor.unacknowledged == 1)
        scheduler.renews, scheduler.refuses = True, False
        report = await eventually(lambda: scheduler.final(runs))
        assert report.state is RunState.SUCCEEDED
        assert scheduler.held() == {}
        # The ledger still says that they are ours: they come again.
        scheduler.assign([waits], process())
        scheduler.assign([noop], NOOP)
        await eventually(lambda: scheduler.final(noop))
        await eventually(lambda: scheduler.of(waits))
    assert len(scheduler.of(noop)) == 1
    assert runner.log.count("start") == 2


async def test_work_that_comes_after_the_lease_is_over_is_not_held_on_to(tmp_path):
    """It may be somebody else's by now, and its times count from when it was sent, long ago for a frozen node."""
    times = {"lease": timedelta(seconds=2), "heartbeat": timedelta(seconds=0.2)}
    scheduler = ScriptedScheduler(**times, renews=False, lingers=True)
    runner = ScriptedRunner()
    async with running(scheduler, tmp_path, runners={"process": runner}) as executor:
        lease = executor._tools.lease
        await eventually(lambda: not lease.holds(time.monotonic()))
        late = new_key()
        scheduler.assign([late], process(), start_in=30)
        await eventually(lambda: late in runner.works)
        await eventually(lambda: len(scheduler.hellos) == 2)
        assert scheduler.held() == {}
        await eventually(lambda: runner.works[late].discarded)


async def test_a_renewal_that_comes_too_late_does_not_hide_what_was_given_up(tmp_path):
    """The scheduler has heard every heartbeat, and would wait forever for what it believes to be here."""
    scheduler = ScriptedScheduler(lease=timedelta(seconds=2), heartbeat=timedelta(seconds=0.2), renews=False)
    runner = ScriptedRunner()
    async with running(scheduler, tmp_path, runners={"process": runner}) as executor:
        lease = executor._tools.lease
        waits, noop = new_key(), new_key()
        scheduler.assign([waits], process(), start_in=30)
        scheduler.assign([noop], NOOP, start_in=30)
        await eventually(lambda: waits in runner.works)
        await eventually(lambda: not lease.holds(time.monotonic()))
        scheduler.renews = True
        scheduler.send(AttachResponse(lease=LeaseRenewed(sequence=scheduler.heartbeats[-1].sequence)))
        await eventually(lambda: len(scheduler.hellos) == 2)
        assert scheduler.held() == {}
        await eventually(lambda: runner.works[waits].discarded)


async def test_the_lease_is_kept_by_heartbeats(tmp_path):
    scheduler = ScriptedScheduler(lease=timedelta(seconds=0.5), heartbeat=timedelta(seconds=0.1))
    async with running(scheduler, tmp_path):
        key = new_key()
        scheduler.assign([key], NOOP, start_in=1.0)
        await eventually(lambda: scheduler.final(key))
    assert len(scheduler.hellos) == 1
    sequences = [beat.sequence for beat in scheduler.heartbeats]
    assert sequences == sorted(set(sequences))


async def test_a_scheduler_that_renews_nothing_is_left(tmp_path):
    scheduler = ScriptedScheduler(lease=timedelta(seconds=0.3), heartbeat=timedelta(seconds=0.1), renews=False)
    async with running(scheduler, tmp_path):
        await eventually(lambda: len(scheduler.hellos) >= 2)
