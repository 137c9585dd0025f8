"""Hints from the database service, for whoever waits in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from dts.pb.dts.v1 import WatchRequest
from dts.roles.scheduler.ports import Ledger


class Wakes:
    """Calls back by topic, and lets followers wait for a key."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._callbacks: dict[str, Callable[[], None]] = {}
        self._hints: dict[tuple[str, str], asyncio.Event] = {}

    def on(self, topic: str, callback: Callable[[], None]) -> None:
        """What to do when something of this topic changed."""
        self._callbacks[topic] = callback

    def hint(self, topic: str, key: str) -> asyncio.Event:
        """Set when this key changes next. Ask for it before looking, so that no change falls in between."""
        return self._hints.setdefault((topic, key), asyncio.Event())

    async def wait(self, hint: asyncio.Event, seconds: float) -> None:
        """Waits for a hint, or so long."""
        try:
            async with asyncio.timeout(seconds):
                await hint.wait()
        except TimeoutError:
            pass
        finally:
            self._hints = {key: event for key, event in self._hints.items() if event is not hint}

    async def run(self) -> None:
        """Receives hints until the stream ends."""
        async for change in self._ledger.watch(WatchRequest()):
            if (callback := self._callbacks.get(change.topic)) is not None:
                callback()
            if (event := self._hints.get((change.topic, change.key))) is not None:
                event.set()
