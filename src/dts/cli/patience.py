"""Outlasting a restart: what has begun goes on when a part of dts is away for a while, as in a rolling update."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar
from uuid import UUID

from dts.cli.errors import say
from dts.domain.errors import DeadlineExceeded, DtsError, Unavailable
from dts.runtime import clock
from dts.runtime.loop import back_off

WAIT_SECONDS = 300.0
"""How long whoever waits for a run bears that nothing answers. A rolling update takes less, with its images."""

ASK_SECONDS = 30.0
"""The same for whoever asked for something once: its answer may be lost, and asking again does it no second time."""

QUIET_SECONDS = 10.0
"""An absence that takes longer is told."""

SAME_PLACE = 20
"""So often in a row a stream may break off soon and no further on than before: then something in it cannot be had."""

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]


class Patience:
    """How long it is borne that nothing answers, at a stretch.

    A server that cannot be reached at first is not waited for: nothing was begun, and its address may be wrong.

    Args:
        seconds: so long.
        monotonic: seconds that never go back.
        chance: from 0 to 1, so that all who wait do not come back at once.
        sleep: rests for so many seconds.
    """

    def __init__(
        self,
        seconds: float = WAIT_SECONDS,
        *,
        monotonic: clock.Monotonic = clock.monotonic,
        chance: clock.Chance = clock.chance,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._seconds = seconds
        self._monotonic = monotonic
        self._chance = chance
        self._sleep = sleep
        self._begun = False
        self._told = False
        self._failures = 0
        self._away_since = 0.0

    def now(self) -> float:
        """Seconds that never go back."""
        return self._monotonic()

    def answered(self) -> None:
        """There is an answer: an absence is over, and another one may take as long again."""
        if self._told:
            say("dts answers again")
        self._begun, self._told, self._failures = True, False, 0

    async def bear(self, error: DtsError) -> None:
        """Rests, until it is worth to ask again.

        Raises:
            DtsError: the error, where asking again does not help, or did not for long enough.
        """
        if not self._failures:
            self._away_since = self._monotonic()
        left = self._away_since + self._seconds - self._monotonic()
        if not _passes(error) or not (self._begun or left_open(error)) or left <= 0:
            raise error
        self._begun = True
        self._failures += 1
        if not self._told and self._seconds - left >= QUIET_SECONDS:
            self._told = True
            say(f"waiting for dts, for {left:.0f} s at most: {error.message}")
        await self._sleep(min(back_off(self._failures, self._chance()).total_seconds(), left))


async def asked(call: Callable[[], Awaitable[T]], patience: Patience) -> T:
    """The answer to a call that may be made twice.

    Raises:
        DtsError: as the service says, or nothing answered for too long.
    """
    while True:
        try:
            answer = await call()
        except DtsError as error:
            await patience.bear(error)
        else:
            patience.answered()
            return answer


async def requested(call: Callable[[], Awaitable[T]], patience: Patience, *, look: str) -> T:
    """As `asked`, for what is made by it. look: the command that shows whether it was, where that stays open."""
    unclear = False

    async def once() -> T:
        nonlocal unclear
        try:
            return await call()
        except DtsError as error:
            unclear = unclear or left_open(error)
            raise

    try:
        return await asked(once, patience)
    except DtsError:
        if unclear:
            say(f"it may have been done all the same: `{look}` shows it")
        raise


def request_id() -> str:
    """Names a request, so that asking again after a lost answer does not do it a second time."""
    return str(UUID(int=clock.random_bits(128), version=4))


async def watched(stream: Callable[[], AsyncIterator[T]], patience: Patience) -> AsyncIterator[T]:
    """What a stream says, and says again from its beginning each time it was broken off.

    Raises:
        DtsError: as `asked`.
    """
    furthest = stuck = 0
    while True:
        said, begun = 0, patience.now()
        try:
            async for answer in stream():
                patience.answered()
                said += 1
                yield answer
        except DtsError as error:
            soon = patience.now() - begun < QUIET_SECONDS
            stuck = stuck + 1 if soon and 0 < said <= furthest else 0
            furthest = max(furthest, said)
            if stuck >= SAME_PLACE:
                raise
            await patience.bear(error)
        else:
            return


def left_open(error: DtsError) -> bool:
    """Whether what was asked for may have been done all the same."""
    return isinstance(error, Unavailable | DeadlineExceeded) and error.code != Unavailable.code


def _passes(error: DtsError) -> bool:
    return isinstance(error, Unavailable | DeadlineExceeded) or error.code == "server.busy"
