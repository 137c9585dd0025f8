"""The database's clock as the node knows it: from answers that tell it, and its own monotonic clock in between."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

log = logging.getLogger(__name__)

DRIFT = 200e-6
"""How much two clocks may drift apart in a second: twice what quartz does, since a clock that is being set goes on."""

SKEW = timedelta(seconds=2)
"""How far the machine's clock may be from the database's without a word: further than two clocks that are set."""


class DistantClock:
    """What is known of its offset: an answer was told between question and answer, so each one bounds it on both sides.

    What all of them leave possible is kept, widened by what clocks drift: a slow answer, or one that a frozen process
    heard late, takes nothing from what a quick one told. An answer that contradicts it shows that a clock was set.
    """

    def __init__(self) -> None:
        self._origin: datetime | None = None
        """From it the offsets count: what it shows, less the monotonic time."""
        self._least = float("-inf")
        self._most = float("inf")
        self._as_of = 0.0

    def heard(self, told: datetime | None, *, asked_at: float, heard_at: float) -> None:
        """An answer tells what the distant clock showed. Both times are monotonic seconds."""
        if told is None:
            return
        self._origin = self._origin or told
        shown = (told - self._origin).total_seconds()
        least, most = shown - heard_at, shown - asked_at
        drifted = (heard_at - self._as_of) * DRIFT
        known_least, known_most = self._least - drifted, self._most + drifted
        was_set = least > known_most or most < known_least
        self._least = least if was_set else max(least, known_least)
        self._most = most if was_set else min(most, known_most)
        self._as_of = heard_at

    @property
    def error(self) -> timedelta:
        """How far `at` may be off; without meaning while nothing was heard."""
        return timedelta(seconds=(self._most - self._least) / 2) if self._origin is not None else timedelta(0)

    def at(self, monotonic: float) -> datetime | None:
        """What it shows, most likely; None while nothing was heard."""
        if self._origin is None:
            return None
        return self._origin + timedelta(seconds=monotonic + (self._least + self._most) / 2)

    def latest(self, shown: datetime) -> float | None:
        """Monotonic time by which it surely shows an instant; None while nothing was heard."""
        if self._origin is None:
            return None
        return (shown - self._origin).total_seconds() - self._least


class SkewWatch:
    """Says so once when the clock of the machine goes wrong, and when it is right again.

    What is due is not measured by it; but work on this machine reads it.
    """

    def __init__(self) -> None:
        self.wrong = False

    def look(self, wall: datetime, told: datetime | None, *, error: timedelta = timedelta(0)) -> None:
        """Compares.

        Args:
            wall: what the machine's clock shows.
            told: what the database's shows at the same time; None if unknown.
            error: how far that may be off.
        """
        if told is None:
            return
        off = wall - told
        wrong = abs(off) > SKEW + error
        if wrong and not self.wrong:
            way = "ahead of" if off > timedelta(0) else "behind"
            log.warning("the clock of this machine is %.1f s %s the database's", abs(off.total_seconds()), way)
        elif self.wrong and not wrong:
            log.info("the clock of this machine agrees with the database's again")
        self.wrong = wrong
