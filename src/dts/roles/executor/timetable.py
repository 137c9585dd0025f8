"""What is due when: one heap, one timer, however many entries."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from itertools import count

Monotonic = Callable[[], float]
Started = Callable[[float, int], None]
"""Is told how many seconds after their instant so many attempts were started."""


class Timetable:
    """Calls at instants of a monotonic clock. Entries of one instant are called in one turn of the loop, in order."""

    def __init__(self, monotonic: Monotonic) -> None:
        self._monotonic = monotonic
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = count()
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = 0.0
        self.started: Started = lambda _late, _times: None
        """Is told of every start, how late it was."""

    def at(self, due: float, call: Callable[[], None]) -> None:
        """Calls once `due` is reached: in the next turn if it has passed."""
        heapq.heappush(self._heap, (due, next(self._serial), call))
        if self._timer is None or due < self._armed_for:
            self._arm()

    async def until(self, due: float) -> None:
        """Waits for an instant."""
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.at(due, lambda: None if reached.done() else reached.set_result(None))
        await reached

    def close(self) -> None:
        """Forgets every entry."""
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed_for = self._heap[0][0]
        self._timer = asyncio.get_running_loop().call_later(max(0.0, self._armed_for - self._monotonic()), self._fire)

    def _fire(self) -> None:
        self._timer = None
        now = self._monotonic()
        while self._heap and self._heap[0][0] <= now:
            heapq.heappop(self._heap)[2]()
        # A call may have armed the timer for an entry of its own; a timer that came early is armed again.
        if self._heap and (self._timer is None or self._armed_for > self._heap[0][0]):
            self._arm()
