"""The database's clock as the node knows it: from answers that tell it, and its own monotonic clock in between."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

log = logging.getLogger(__name__)

LONGEST_USE = 60.0
"""Seconds after which a good answer gives way to any other: clocks drift, and the database's may be set."""

AS_GOOD = 2.0
"""An answer that took so many times as long as the best one is as good; it is younger."""


SKEW = timedelta(seconds=2)
"""How far the machine's clock may be from the database's without a word: further than two clocks that are set."""


class DistantClock:
    """Cristian's algorithm: what an answer tells was true between question and answer, so the quickest tells most.

    The error is half of what the answer took.
    """

    def __init__(self) -> None:
        self._told: datetime | None = None
        self._middle = 0.0
        self._took = 0.0

    def heard(self, told: datetime | None, *, asked_at: float, heard_at: float) -> None:
        """An answer tells what the distant clock showed. Both times are monotonic seconds."""
        if told is None:
            return
        took = heard_at - asked_at
        if self._told is None or took <= self._took * AS_GOOD or heard_at - self._middle > LONGEST_USE:
            self._told, self._middle, self._took = told, (asked_at + heard_at) / 2, took

    def at(self, monotonic: float) -> datetime | None:
        """What it shows; None while nothing was heard."""
        return None if self._told is None else self._told + timedelta(seconds=monotonic - self._middle)


class SkewWatch:
    """Says so once when the clock of the machine goes wrong, and when it is right again.

    What is due is not measured by it; but work on this machine reads it.
    """

    def __init__(self) -> None:
        self.wrong = False

    def look(self, wall: datetime, told: datetime | None) -> None:
        """wall: what the machine's clock shows. told: what the database's shows at the same time; None if unknown."""
        if told is None:
            return
        off = wall - told
        wrong = abs(off) > SKEW
        if wrong and not self.wrong:
            way = "ahead of" if off > timedelta(0) else "behind"
            log.warning("the clock of this machine is %.1f s %s the database's", abs(off.total_seconds()), way)
        elif self.wrong and not wrong:
            log.info("the clock of this machine agrees with the database's again")
        self.wrong = wrong
