"""The node's lease: without one nothing starts, because somebody else may have been given the work (rule L)."""

from __future__ import annotations

from datetime import timedelta

MARGIN = 1.0
"""Seconds before its end from which a lease is no longer trusted; a tenth of it where it is short."""


class Lease:
    """Until when the node may start work.

    It counts from before the heartbeat was sent that it answers: the database cannot have counted from earlier.
    """

    def __init__(self) -> None:
        self.length = 0.0
        """Seconds; 0 before the first Welcome."""
        self.until = float("-inf")
        """Monotonic time."""
        self._sent: dict[int, float] = {}
        self._sequence = 0

    def holds(self, now: float) -> bool:
        """Whether work may start."""
        return now < self.until

    def granted(self, length: timedelta, asked_at: float) -> None:
        """A Welcome: the lease counts from the Hello."""
        self.length = length.total_seconds()
        self._sent.clear()
        self._extend(asked_at)

    def ask(self, now: float) -> int:
        """The sequence of a heartbeat that is sent now."""
        self._sequence += 1
        self._sent[self._sequence] = now
        return self._sequence

    def renewed(self, sequence: int) -> float | None:
        """The answer to a heartbeat; answers when that was sent. One that is not known renews nothing."""
        asked_at = self._sent.get(sequence)
        if asked_at is None:
            return None
        self._sent = {number: at for number, at in self._sent.items() if number > sequence}
        self._extend(asked_at)
        return asked_at

    def _extend(self, asked_at: float) -> None:
        trusted = self.length - min(MARGIN, self.length / 10)
        self.until = max(self.until, asked_at + trusted)
