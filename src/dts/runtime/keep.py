"""Keep a piece of work going that should never end: what ends or fails is begun again, after a back-off."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from dts.domain.errors import DtsError
from dts.runtime import clock
from dts.runtime.loop import back_off

log = logging.getLogger(__name__)

GOOD_SECONDS = 30.0
"""Work that lasted so long did not fail at once: the next failure is a first one again."""


async def keep(
    work: Callable[[], Awaitable[None]],
    *,
    name: str,
    monotonic: clock.Monotonic = clock.monotonic,
    chance: clock.Chance = clock.chance,
) -> None:
    """Runs `work` again and again until cancelled."""
    failures = 0
    while True:
        begun = monotonic()
        error = await _end_of(work)
        failures = 1 if monotonic() - begun > GOOD_SECONDS else failures + 1
        pause = back_off(failures, chance())
        trace = None if error is None or isinstance(error, DtsError) else error
        log.warning("%s ended: %s; again in %.1f s", name, error or "no error", pause.total_seconds(), exc_info=trace)
        await asyncio.sleep(pause.total_seconds())


async def _end_of(work: Callable[[], Awaitable[None]]) -> Exception | None:
    try:
        await work()
    except Exception as error:  # noqa: BLE001 - whatever it meets, it is begun again; the caller logs it
        return error
    return None
