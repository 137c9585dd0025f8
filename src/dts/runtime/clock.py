"""The only place that reads a clock or draws a number. Below, time and chance are arguments."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime

Now = Callable[[], datetime]
Monotonic = Callable[[], float]
Chance = Callable[[], float]


def now() -> datetime:
    """The wall clock of this machine, in UTC. What is due is decided by the database's clock, never by this one."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Seconds since some instant; never goes back. For durations and leases."""
    return time.monotonic()


def chance() -> float:
    """A number from 0 to 1, without 1. For jitter and back-off."""
    return random.random()  # noqa: S311 - nobody gains by guessing a jitter


def random_bits(bits: int) -> int:
    """So many bits nobody can guess. For ids and tokens."""
    return secrets.randbits(bits)
