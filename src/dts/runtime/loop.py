"""The loop tool: a worker has one pass, `tick`; here is decided when it runs again.

A loop outlives the failures of its passes: it logs them, backs off, and goes on. It ends by cancellation alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from dts.domain.errors import DtsError, Internal
from dts.runtime import clock

JITTER = 0.1
"""By how much of a period a pass may come early, so that replicas do not march in step."""

FIRST_BACK_OFF = timedelta(milliseconds=200)
LONGEST_BACK_OFF = timedelta(seconds=10)

SILENT_PERIODS = 3
"""A loop that has not turned for so many periods is stuck (rule S)."""

LEAST_PATIENCE = timedelta(seconds=30)
"""A pass may take as long as what it waits for: database and network have limits of some seconds each."""

WATCH_EVERY = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Again:
    """What a pass may say about the next one; without it the loop keeps its period."""

    delay: timedelta

    NOW: ClassVar[Again]
    """There is more to do."""

    @classmethod
    def after(cls, delay: timedelta) -> Again:
        """Something is to be done then, earlier or later than the period; a wake-up still comes first."""
        return cls(max(delay, timedelta(0)))


Again.NOW = Again(timedelta(0))

Tick = Callable[[], Awaitable[Again | None]]


class Loop:
    """Runs `tick` every so often, at once when woken, and less often while it fails.

    Args:
        tick: one pass. What it returns decides when the next one is; None is the period.
        name: for the log and for health.
        every: the period.
        jitter: by how much of the period a pass may come early.
        monotonic: seconds that never go back.
        chance: from 0 to 1.
    """

    def __init__(
        self,
        tick: Tick,
        *,
        name: str,
        every: timedelta,
        jitter: float = JITTER,
        monotonic: clock.Monotonic = clock.monotonic,
        chance: clock.Chance = clock.chance,
    ) -> None:
        self.name = name
        self.turns = 0
        """Passes so far, failed ones included."""
        self.failures = 0
        """Failed passes so far."""
        self.failed_in_a_row = 0
        """Failed passes since the last good one."""
        self.busy = 0.0
        """Seconds that passes took so far."""
        self.good_at = monotonic()
        """When a pass last came to a good end, or the loop was made."""
        self._tick = tick
        self._every = every
        self._jitter = jitter
        self._monotonic = monotonic
        self._chance = chance
        self._woken = asyncio.Event()
        self._due = monotonic()
        self._patience = max(SILENT_PERIODS * every, LEAST_PATIENCE).total_seconds()
        self._log = logging.getLogger(f"dts.loop.{name}")

    def wake(self) -> None:
        """There is something to do: the next pass is now, or right after the one that runs."""
        self._woken.set()

    @property
    def age(self) -> float:
        """Seconds since a pass last came to a good end."""
        return self._monotonic() - self.good_at

    @property
    def healthy(self) -> bool:
        """Whether it turns. A pass that fails is a turn; one that does not come back is none."""
        return self._monotonic() - self._due <= self._patience

    async def run(self) -> None:
        """Turn until cancelled."""
        self._due = self._monotonic()
        while True:
            await self._rest(await self.turn())

    async def turn(self) -> timedelta:
        """One pass; returns how long to rest."""
        self._woken.clear()
        self.turns += 1
        began = self._monotonic()
        try:
            again = await self._tick()
        except Exception as exc:  # noqa: BLE001 - the one place: whatever a pass meets, the loop must go on
            return self._failed(exc)
        finally:
            self.busy += self._monotonic() - began
        self._succeeded()
        return self._period() if again is None else again.delay

    async def _rest(self, pause: timedelta) -> None:
        seconds = pause.total_seconds()
        self._due = self._monotonic() + seconds
        if self.failed_in_a_row:
            # Wake-ups wait too: they must not turn a failing loop into a storm.
            await asyncio.sleep(seconds)
            return
        # A pass that has always more to do must let the others go on.
        await asyncio.sleep(0)
        if seconds > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._woken.wait()

    def _period(self) -> timedelta:
        return self._every * (1 - self._jitter * self._chance())

    def _failed(self, error: Exception) -> timedelta:
        self.failures += 1
        self.failed_in_a_row += 1
        pause = back_off(self.failed_in_a_row, self._chance())
        details = {"failures": self.failed_in_a_row, "again_in": round(pause.total_seconds(), 3)}
        # Errors of our family say what they mean; any other is a bug, and its trace says where.
        trace = None if isinstance(error, DtsError) else error
        self._log.warning("%s failed: %s", self.name, error or type(error).__name__, exc_info=trace, extra=details)
        return pause

    def _succeeded(self) -> None:
        if self.failed_in_a_row:
            self._log.info("%s goes on", self.name, extra={"failures": self.failed_in_a_row})
        self.failed_in_a_row = 0
        self.good_at = self._monotonic()


def back_off(failures: int, rand: float) -> timedelta:
    """How long to rest after so many failures in a row: doubling, capped, and spread over its upper half."""
    doubled = FIRST_BACK_OFF * (1 << min(failures - 1, 16))
    return min(doubled, LONGEST_BACK_OFF) * (0.5 + rand / 2)


async def watch(loops: Iterable[Loop]) -> None:
    """Look after loops until one is stuck: then the process had better end and start afresh (rule S).

    Raises:
        Internal: a loop is stuck.
    """
    watched = tuple(loops)
    while True:
        await asyncio.sleep(WATCH_EVERY.total_seconds())
        for loop in watched:
            if not loop.healthy:
                raise Internal(f"the loop {loop.name} is stuck", code="loop.stuck")
