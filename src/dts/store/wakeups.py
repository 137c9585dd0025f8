"""Wake-ups: hints that something changed, to whoever watches, in this process and in others.

NOTIFY takes a global lock when its transaction commits (measured: 19,470 → 4,166 commits/s), so it is never part of
a hot transaction: topics are gathered and sent from a connection of their own, at most ten times a second.
Polling is the base everywhere; a lost hint costs one period. Behind a pooler that lends a session for a transaction
nobody can listen: hints stay within the process, and others find out by polling.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg

from dts.pb.dts.v1 import WatchResponse
from dts.store.pool import Connection, errors, lends

CHANNEL = "dts"
SEND_EVERY_SECONDS = 0.1
QUEUED = 1000
"""How many hints a slow watcher may have waiting; further ones are dropped, as hints may be."""

Hint = tuple[str, str]


class Wakeups:
    """Gathers hints and hands them to watchers; `run` carries them between processes."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._watchers: set[asyncio.Queue[Hint]] = set()
        self._outgoing: set[Hint] = set()
        self._pending = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Hints that were not sent yet."""
        return len(self._outgoing)

    def wake(self, topic: str, key: str = "") -> None:
        """Something changed: tells watchers here at once, and elsewhere soon."""
        self._deliver((topic, key))
        self._outgoing.add((topic, key))
        self._pending.set()

    async def watch(self) -> AsyncIterator[WatchResponse]:
        """Every hint from now on."""
        queue: asyncio.Queue[Hint] = asyncio.Queue(QUEUED)
        self._watchers.add(queue)
        try:
            while True:
                topic, key = await queue.get()
                yield WatchResponse(topic=topic, key=key)
        finally:
            self._watchers.discard(queue)

    async def run(self) -> None:
        """Sends and receives until cancelled, or until the connection is lost: the caller starts it again."""
        with errors():
            async with self._pool.acquire() as connection:
                if not lends(connection):
                    await self._exchange(connection)
        await self._forget()

    async def _exchange(self, connection: Connection) -> None:
        own = connection.get_server_pid()

        def receive(_connection: object, pid: int, _channel: str, payload: object) -> None:
            if pid != own:
                topic, _, key = str(payload).partition(" ")
                self._deliver((topic, key))

        await connection.add_listener(CHANNEL, receive)
        try:
            await self._send(connection)
        finally:
            if not connection.is_closed():
                await connection.remove_listener(CHANNEL, receive)

    async def _forget(self) -> None:
        """Where nobody outside can listen, nothing is gathered for them."""
        while True:
            await self._pending.wait()
            self._pending.clear()
            self._outgoing.clear()

    async def _send(self, connection: Connection) -> None:
        while True:
            await self._pending.wait()
            await asyncio.sleep(SEND_EVERY_SECONDS)
            self._pending.clear()
            hints, self._outgoing = self._outgoing, set()
            payloads = [f"{topic} {key}".strip() for topic, key in sorted(hints)]
            await connection.execute("SELECT pg_notify($1, hint) FROM unnest($2::text[]) AS hint", CHANNEL, payloads)

    def _deliver(self, hint: Hint) -> None:
        for queue in self._watchers:
            if not queue.full():
                queue.put_nowait(hint)
