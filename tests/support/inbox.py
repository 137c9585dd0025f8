"""A receiver of messages: a real HTTP server on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web


@dataclass(slots=True)
class Arrival:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Inbox:
    """What came, and what is answered.

    status: of the answers. location: where they lead to. before_answer: is awaited while the sender waits.
    """

    address: str = ""
    status: int = 204
    location: str = ""
    arrivals: list[Arrival] = field(default_factory=list)
    before_answer: Callable[[], Awaitable[None]] | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.address.rpartition(":")[2])

    @property
    def paths(self) -> list[str]:
        """Of all that came, in order."""
        return [arrival.path for arrival in self.arrivals]


@asynccontextmanager
async def receiving() -> AsyncIterator[Inbox]:
    """A receiver for a while."""
    inbox = Inbox()

    async def handle(request: web.Request) -> web.Response:
        inbox.arrivals.append(Arrival(request.path_qs, dict(request.headers), await request.read()))
        if inbox.before_answer is not None:
            await asyncio.shield(inbox.before_answer())
        headers = {"Location": inbox.location} if inbox.location else None
        return web.Response(status=inbox.status, headers=headers)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    inbox.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield inbox
    finally:
        await runner.cleanup()
