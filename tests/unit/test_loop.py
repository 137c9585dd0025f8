from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from dts.domain.errors import Internal, Unavailable
from dts.runtime.loop import FIRST_BACK_OFF, LEAST_PATIENCE, LONGEST_BACK_OFF, Again, Loop, back_off, watch
from support.polling import eventually

LONG = timedelta(hours=1)


@asynccontextmanager
async def running(loop: Loop) -> AsyncIterator[Loop]:
    task = asyncio.create_task(loop.run())
    yield loop
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def answers(*results: Again | Exception | None) -> Callable[[], Awaitable[Again | None]]:
    """A tick that gives these answers one after the other, then None for ever."""
    left = list(results)

    async def tick() -> Again | None:
        result = left.pop(0) if left else None
        if isinstance(result, Exception):
            raise result
        return result

    return tick


async def test_the_first_pass_is_at_once_and_the_next_after_a_period() -> None:
    async with running(Loop(answers(), name="x", every=LONG)) as loop:
        await eventually(lambda: loop.turns == 1)
        await asyncio.sleep(0.05)
        assert loop.turns == 1


async def test_a_pass_that_has_more_to_do_is_followed_at_once() -> None:
    async with running(Loop(answers(*[Again.NOW] * 4), name="x", every=LONG)) as loop:
        await eventually(lambda: loop.turns == 5)


async def test_a_pass_that_always_has_more_to_do_lets_others_go_on() -> None:
    async def tick() -> Again:
        return Again.NOW

    async with running(Loop(tick, name="x", every=LONG)) as loop:
        for _ in range(10):
            await asyncio.sleep(0)
        assert loop.turns >= 5


async def test_a_pass_can_say_when_the_next_one_is() -> None:
    loop = Loop(answers(Again.after(timedelta(seconds=7))), name="x", every=LONG)
    assert await loop.turn() == timedelta(seconds=7)


async def test_an_instant_that_is_past_means_now() -> None:
    assert Again.after(timedelta(seconds=-1)) == Again.NOW


async def test_a_wake_up_ends_the_rest() -> None:
    async with running(Loop(answers(), name="x", every=LONG)) as loop:
        await eventually(lambda: loop.turns == 1)
        loop.wake()
        await eventually(lambda: loop.turns == 2)


async def test_a_wake_up_during_a_pass_is_not_lost_and_many_are_one() -> None:
    going_on = asyncio.Event()

    async def tick() -> None:
        await going_on.wait()

    async with running(Loop(tick, name="x", every=LONG)) as loop:
        await eventually(lambda: loop.turns == 1)
        for _ in range(100):
            loop.wake()
        going_on.set()
        await eventually(lambda: loop.turns == 2)
        await asyncio.sleep(0.02)
        assert loop.turns == 2


async def test_a_period_comes_early_by_chance_and_never_late() -> None:
    ten = timedelta(seconds=10)
    for chance, expected in ((0.0, 10.0), (0.5, 9.5), (1.0, 9.0)):
        loop = Loop(answers(), name="x", every=ten, chance=lambda chance=chance: chance)
        assert (await loop.turn()).total_seconds() == pytest.approx(expected)


async def test_a_failure_is_logged_and_the_loop_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    tick = answers(Unavailable("the database is away"), ValueError("a bug"), None)
    async with running(Loop(tick, name="claim", every=LONG, chance=lambda: 0.0)) as loop:
        await eventually(lambda: loop.turns == 3)
        assert (loop.failures, loop.failed_in_a_row) == (2, 0)
    away, bug, over = caplog.records
    assert (away.levelname, away.getMessage(), away.exc_info) == ("WARNING", "claim failed: the database is away", None)
    assert bug.exc_info is not None
    assert over.getMessage() == "claim goes on"


def test_the_back_off_doubles_up_to_a_cap_and_is_spread() -> None:
    assert [back_off(n, 1.0) / FIRST_BACK_OFF for n in (1, 2, 3)] == [1, 2, 4]
    assert back_off(2, 0.0) == back_off(2, 1.0) / 2
    assert back_off(1000, 1.0) == LONGEST_BACK_OFF


async def test_a_wake_up_does_not_shorten_the_rest_after_a_failure() -> None:
    async with running(Loop(answers(Unavailable("away")), name="x", every=LONG, chance=lambda: 1.0)) as loop:
        await eventually(lambda: loop.failures == 1)
        loop.wake()
        await asyncio.sleep(FIRST_BACK_OFF.total_seconds() / 4)
        assert loop.turns == 1
        await eventually(lambda: loop.turns == 2)  # and it is not lost


async def test_a_pass_that_does_not_come_back_makes_the_loop_unhealthy_and_a_rest_does_not() -> None:
    now = 0.0
    stuck = asyncio.Event()

    async def tick() -> None:
        if loop.turns == 2:
            await stuck.wait()

    minute = timedelta(minutes=1)
    loop = Loop(tick, name="x", every=minute, jitter=0, monotonic=lambda: now)
    async with running(loop):
        await eventually(lambda: loop.turns == 1)
        now += 60 * 4
        assert loop.healthy  # the next pass was due after one period, and three more are borne
        loop.wake()
        await eventually(lambda: loop.turns == 2)
        now += 1
        assert not loop.healthy


async def test_a_loop_with_a_short_period_may_wait_for_the_database_before_it_counts_as_stuck() -> None:
    now = 0.0
    loop = Loop(answers(), name="x", every=timedelta(milliseconds=100), monotonic=lambda: now)
    now = LEAST_PATIENCE.total_seconds() - 1
    assert loop.healthy
    now = LEAST_PATIENCE.total_seconds() + 1
    assert not loop.healthy


async def test_the_watch_ends_with_the_name_of_the_loop_that_is_stuck() -> None:
    now = 0.0
    good, bad = (Loop(answers(), name=name, every=LONG, monotonic=lambda: now) for name in ("good", "bad"))
    bad._patience = 0.0
    now = 1.0
    with pytest.raises(Internal, match="loop bad is stuck"):
        await watch([good, bad])


async def test_cancellation_ends_a_loop_in_the_middle_of_a_pass() -> None:
    async def tick() -> None:
        await asyncio.Event().wait()

    async with running(Loop(tick, name="x", every=LONG)) as loop:
        await eventually(lambda: loop.turns == 1)
