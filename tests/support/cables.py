"""Cables between programs: TCP connections that can be cut, held in a direction, and slowed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

PIECE = 65536
"""Bytes that are carried at once."""


class Cable:
    """TCP connections to a target, which may change. at: where to dial.

    Args:
        target: `HOST:PORT`, or the absolute path of a Unix socket.
    """

    def __init__(self, target: str) -> None:
        self.at = ""
        self.target = target
        self._whole = True
        self._ends: set[asyncio.StreamWriter] = set()
        self._up = asyncio.Event()
        self._down = asyncio.Event()
        self._delay: Callable[[], float] | None = None
        self._last_word: Callable[[], Awaitable[bool]] | None = None
        self.mend()

    def cut(self) -> None:
        """Both sides lose their connection, and new ones are refused."""
        self._whole = False
        for end in list(self._ends):
            end.transport.abort()

    def mend(self) -> None:
        """Connections are taken again, and carry both ways at full speed."""
        self._whole = True
        self._delay = None
        self._last_word = None
        self._up.set()
        self._down.set()

    def hold(self) -> None:
        """Nothing gets through, and nobody is told."""
        self._up.clear()
        self._down.clear()

    def ask_only(self) -> None:
        """What was held goes to the target, and its answers do not come back."""
        self._up.set()
        self._down.clear()

    def answer_until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """What was held goes both ways; no answer comes back that was given after the condition had become true."""
        self._last_word = condition
        self._up.set()
        self._down.set()

    def slow(self, delay: Callable[[], float]) -> None:
        """Each piece waits so many seconds."""
        self._delay = delay

    async def join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection."""
        if not self._whole:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await self._dial()
        except OSError:  # nobody is there: who called is told as if there were no cable
            writer.transport.abort()
            return
        self._ends |= {writer, far_writer}
        try:
            await asyncio.gather(self._carry(reader, far_writer, self._up), self._carry(far_reader, writer, self._down))
        finally:
            self._ends -= {writer, far_writer}

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.target.startswith("/"):
            return await asyncio.open_unix_connection(self.target)
        host, _, port = self.target.rpartition(":")
        return await asyncio.open_connection(host, int(port))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: asyncio.Event) -> None:
        with suppress(OSError):
            while data := await reader.read(PIECE):
                if self._delay is not None:
                    await asyncio.sleep(self._delay())
                if gate is self._down:
                    await self._judge_answer()
                await gate.wait()
                writer.write(data)
                await writer.drain()
        writer.transport.abort()

    async def _judge_answer(self) -> None:
        condition = self._last_word
        # Mended while the condition was looked at, nothing is held any more.
        if condition is not None and await condition() and self._last_word is condition:
            self._down.clear()


@asynccontextmanager
async def cable(target: str = "") -> AsyncIterator[Cable]:
    """A cable to an address."""
    made = Cable(target)
    server = await asyncio.start_server(made.join, "127.0.0.1", 0)
    made.at = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
        made.mend()
        made.cut()
        await server.wait_closed()
