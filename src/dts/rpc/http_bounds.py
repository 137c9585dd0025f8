"""A server's end of HTTP/1.1: what aiohttp leaves unbounded is bounded here. A bad connection hurts only itself."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Middleware

from dts.rpc.tls_door import TlsDoor

log = logging.getLogger(__name__)

STALLED_SECONDS = 60.0
"""How long a caller may take to accept an answer, or a message of a stream."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds of one server.

    connections: how many may be open at once; one more is closed at once.
    header_bytes: size of the request line, and of each header.
    headers: how many headers a request may have.
    idle_seconds: a connection must bring a whole head within so long: after it was opened, and after each answer.
    linger_seconds: after a refusal so much of a body is dropped unread: who still writes would not see the answer.
    stalled_seconds: how long a caller may take to accept an answer.
    """

    connections: int = 512
    header_bytes: int = 4096
    headers: int = 32
    idle_seconds: float = 10.0
    linger_seconds: float = 1.0
    stalled_seconds: float = STALLED_SECONDS


class BoundedSite(web.TCPSite):
    """Listens, and takes no more connections than it may."""

    def __init__(
        self, runner: web.BaseRunner, host: str, port: int, *, connections: int, tls: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(runner, host, port, ssl_context=tls, backlog=256)
        self._tls = tls
        self._connections = connections

    async def start(self) -> None:
        """Listens.

        Raises:
            OSError: the address cannot be had.
        """
        await web.BaseSite.start(self)
        loop = asyncio.get_running_loop()
        door = self._enter if self._tls is None else TlsDoor(self._enter, self._tls, connections=self._connections)
        self._server = await loop.create_server(door, self._host, self._port, backlog=self._backlog)

    def _enter(self) -> asyncio.BaseProtocol:
        server = self._runner.server
        assert server is not None
        if len(server.connections) >= self._connections:
            log.warning("closing a connection of HTTP: %d are open, which is the limit", self._connections)
            return _Closed()
        return server()


class _Closed(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Closes the connection without a word."""
        if isinstance(transport, asyncio.Transport):
            transport.abort()


class CalmLogger(logging.LoggerAdapter[logging.Logger]):
    """Tells in a line what a stranger got wrong; aiohttp would write a stack trace for each of their mistakes."""

    def exception(self, msg: object, *args: object, exc_info: Any = True, **options: Any) -> None:
        """Tells what befell a connection: at length only if it is a mistake of ours."""
        if isinstance(exc_info, HttpProcessingError):
            self.info("closing a connection of HTTP: what came is no request of it")
        else:
            super().exception(msg, *args, exc_info=exc_info, **options)


def within(seconds: float) -> Middleware:
    """Sends every answer while it is still known how long that takes; whoever does not read is cut off."""

    @web.middleware
    async def send(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        try:
            async with asyncio.timeout(seconds):
                await response.prepare(request)
                await response.write_eof()
        except TimeoutError:
            cut_off(request)
        return response

    return send


def cut_off(request: web.Request, why: str = "its caller does not read") -> None:
    """Drops the connection with what was not read of it."""
    log.info("closing a connection of HTTP: %s", why)
    if request.transport is not None:
        request.transport.abort()
