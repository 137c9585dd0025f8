"""The database's clock as nodes know it, and what they date by it."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from dts.roles.executor.distant_clock import DistantClock, SkewWatch
from support.executors import ScriptedRunner, ScriptedWork, process, running
from support.polling import eventually
from support.scheduler import ScriptedScheduler

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def test_nothing_is_known_before_an_answer_tells():
    clock = DistantClock()
    assert clock.at(5) is None
    clock.heard(None, asked_at=1, heard_at=2)
    assert clock.at(5) is None


def test_what_is_told_was_true_in_the_middle_of_question_and_answer():
    clock = DistantClock()
    clock.heard(NOON, asked_at=100, heard_at=100.5)
    assert clock.at(100.25) == NOON
    assert clock.at(110.25) == NOON + 10 * SECOND


def off(clock: DistantClock, monotonic: float, true: datetime) -> float:
    told = clock.at(monotonic)
    assert told is not None
    return abs((told - true).total_seconds())


def test_an_answer_that_was_long_on_its_way_tells_less():
    clock = DistantClock()
    clock.heard(NOON, asked_at=100, heard_at=100.2)
    clock.heard(NOON + 10 * SECOND, asked_at=102, heard_at=110.1)
    assert off(clock, 110.1, NOON + 10 * SECOND) <= 0.1


def test_answers_that_take_longer_and_longer_make_nothing_worse():
    """A node that loses packets, or is frozen now and then: the clock shows `NOON` at 100, all the time."""
    clock = DistantClock()
    now = 100.0
    for took in (0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.4, 4.8, 9.5, 19):
        clock.heard(NOON + timedelta(seconds=now - 100), asked_at=now, heard_at=now + took)
        now += 20
    assert off(clock, now, NOON + timedelta(seconds=now - 100)) < 0.1


def test_a_good_answer_outlives_minutes_of_bad_ones():
    clock = DistantClock()
    clock.heard(NOON, asked_at=99.99, heard_at=100.01)
    clock.heard(NOON + 300 * SECOND, asked_at=385, heard_at=400.5)
    assert off(clock, 400, NOON + 300 * SECOND) < 0.1


def test_what_two_bad_answers_leave_possible_is_less_than_either():
    """One was long on its way there, the other on its way back."""
    clock = DistantClock()
    clock.heard(NOON + 9.9 * SECOND, asked_at=100, heard_at=110)
    clock.heard(NOON + 20.1 * SECOND, asked_at=120, heard_at=130)
    assert off(clock, 130, NOON + 30 * SECOND) <= 0.1


def test_an_instant_of_it_is_never_taken_for_an_earlier_one():
    clock = DistantClock()
    assert clock.latest(NOON) is None
    clock.heard(NOON, asked_at=100, heard_at=104)
    assert clock.latest(NOON + 10 * SECOND) == 114
    clock.heard(NOON + 20 * SECOND, asked_at=120, heard_at=120.5)
    latest = clock.latest(NOON + 20 * SECOND)
    assert latest is not None
    assert 120.5 <= latest < 120.6


def test_a_younger_answer_that_was_as_quick_counts_since_the_clock_may_have_been_set():
    clock = DistantClock()
    clock.heard(NOON, asked_at=100, heard_at=100.2)
    clock.heard(NOON + timedelta(hours=1), asked_at=103, heard_at=103.3)
    assert clock.at(103.15) == NOON + timedelta(hours=1)


def test_a_clock_that_was_set_back_is_believed_at_once_however_slow_the_answer():
    clock = DistantClock()
    clock.heard(NOON, asked_at=100, heard_at=100.002)
    clock.heard(NOON, asked_at=161, heard_at=162)
    assert clock.at(161.5) == NOON


def test_a_wrong_clock_of_the_machine_is_said_once_and_so_is_that_it_is_right_again(caplog):
    watch = SkewWatch()
    caplog.set_level("INFO")
    watch.look(NOON, None)
    watch.look(NOON + SECOND, NOON)
    assert caplog.messages == []
    for wall in (NOON + 90 * SECOND, NOON + 91 * SECOND):
        watch.look(wall, NOON)
    watch.look(NOON, NOON)
    watch.look(NOON - 5 * SECOND, NOON)
    assert caplog.messages == [
        "the clock of this machine is 90.0 s ahead of the database's",
        "the clock of this machine agrees with the database's again",
        "the clock of this machine is 5.0 s behind the database's",
    ]


def test_a_clock_is_not_called_wrong_by_an_answer_that_tells_too_little(caplog):
    """A first answer that was long on its way: what it tells of the clock is seconds off."""
    clock, watch = DistantClock(), SkewWatch()
    clock.heard(NOON, asked_at=90, heard_at=100)
    watch.look(NOON, clock.at(100), error=clock.error)
    assert not watch.wrong
    watch.look(NOON + 60 * SECOND, clock.at(100), error=clock.error)
    assert watch.wrong
    clock.heard(NOON + SECOND, asked_at=101, heard_at=101)
    watch.look(NOON + SECOND, clock.at(101), error=clock.error)
    assert not watch.wrong
    assert len(caplog.messages) == 1


# -- what is dated by it

EPOCH = time.monotonic()
NEAR = timedelta(seconds=1)
"""How exact a date is that crosses two processes of a busy machine."""


def database_clock() -> datetime:
    """No wall clock of a test shows anything like it."""
    return NOON + timedelta(seconds=time.monotonic() - EPOCH)


async def test_an_executor_that_attaches_again_dates_what_it_holds(tmp_path):
    scheduler, runner, key = ScriptedScheduler(clock=database_clock), ScriptedRunner(), (uuid4(), 1)
    async with running(scheduler, tmp_path, runners={"process": runner}):
        scheduler.assign([key], process())
        await eventually(lambda: scheduler.of(key))
        began = scheduler.of(key)[0].started_at
        scheduler.drop()
        await eventually(lambda: len(scheduler.hellos) == 2)
    again = scheduler.hellos[1]
    assert again.sent_at is not None
    assert abs(again.sent_at - timedelta(microseconds=scheduler.held()[key]) - began) < NEAR


@pytest.mark.parametrize("hours", [-1, 1])
async def test_the_next_process_dates_a_result_by_the_database_whatever_its_machine_says(tmp_path, hours):
    """The wall clock was set between the two processes."""
    wall = datetime.now(UTC) + timedelta(hours=hours)
    first, runner, key = ScriptedScheduler(clock=database_clock, acknowledges=False), ScriptedRunner(), (uuid4(), 1)
    async with running(first, tmp_path, runners={"process": runner}):
        first.assign([key], process())
        (await eventually(lambda: runner.works.get(key))).end(0)
        told = await eventually(lambda: first.final(key))
    second = ScriptedScheduler(clock=database_clock)
    async with running(second, tmp_path, runners={"process": ScriptedRunner()}, now=lambda: wall):
        again = await eventually(lambda: second.final(key))
    assert abs(again.finished_at - told.finished_at) < NEAR
    took, told_took = again.finished_at - again.started_at, told.finished_at - told.started_at
    assert abs(took - told_took) < timedelta(milliseconds=1)


@pytest.mark.parametrize("takes", ["start", "answer"])
async def test_work_began_when_its_engine_says_however_long_the_answer_was_on_its_way(tmp_path, takes):
    """As for an executor that is frozen between the order and its confirmation, or an engine that is busy."""
    scheduler, runner, key = ScriptedScheduler(clock=database_clock), ScriptedRunner(), (uuid4(), 1)
    runner.tells = True
    setattr(runner, f"{takes}_takes", 2.0)
    async with running(scheduler, tmp_path, runners={"process": runner}):
        scheduler.assign([key], process())
        await eventually(lambda: scheduler.of(key))
        work = runner.works[key]
        work.end(0)
        told = await eventually(lambda: scheduler.final(key))
    began = NOON + timedelta(seconds=work.started_at - EPOCH)
    assert abs(scheduler.of(key)[0].started_at - began) < NEAR
    assert abs(told.started_at - began) < NEAR


async def test_work_that_is_found_again_began_when_its_engine_says(tmp_path):
    """The executor was killed between the order and its confirmation."""
    scheduler, runner, key = ScriptedScheduler(clock=database_clock), ScriptedRunner(), (uuid4(), 1)
    runner.answer_takes = 60
    async with running(scheduler, tmp_path, runners={"process": runner}):
        scheduler.assign([key], process())
        ordered = await eventually(lambda: key in runner.works and runner.works[key].started_at)
    again = ScriptedRunner()
    again.left[key] = found = ScriptedWork(runner.works[key].job, again.log)
    found.started_at, found.tells = ordered + 2.0, True
    await asyncio.sleep(ordered + 2.0 - time.monotonic())
    second = ScriptedScheduler(clock=database_clock)
    async with running(second, tmp_path, runners={"process": again}):
        await eventually(lambda: found.emit)
        found.end(0)
        told = await eventually(lambda: second.final(key))
    assert abs(told.started_at - NOON - timedelta(seconds=found.started_at - EPOCH)) < NEAR
