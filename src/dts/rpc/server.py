"""A gRPC server with what surrounds services: gate, limits, errors, deadlines, health, reflection, graceful stop."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from grpclib.config import Configuration
from grpclib.const import Handler
from h2.errors import ErrorCodes

from dts.rpc.calls import ConnectionCalls, Desk, PeerOf
from dts.rpc.gate import Gate
from dts.rpc.guard import ServerProtocol
from dts.rpc.health import HealthBoard
from dts.rpc.limits import INTERNAL_MESSAGE_BYTES, KIB, MIB, Limits
from dts.rpc.reflection import reflection
from dts.rpc.release import releasing
from dts.rpc.tls import peer_of
from dts.rpc.tls_door import TlsDoor

log = logging.getLogger(__name__)

STREAM_GRACE = 1.0
"""Seconds that calls which may never end by themselves get when the server stops."""

CLOSE_SECONDS = 2.0
"""Seconds in which closed connections must be gone; then they are dropped."""

KEEPALIVE = Configuration(
    # A caller that vanished without a word is noticed within 40 s, and its calls are cancelled.
    _keepalive_time=30.0,
    _keepalive_timeout=10.0,
    _keepalive_permit_without_calls=True,
    _http2_max_pings_without_data=0,
    _http2_min_sent_ping_interval_without_data=5.0,
    # What a caller may have sent that no service has read yet: bounded for each connection, then the caller waits.
    http2_connection_window_size=4 * MIB,
    http2_stream_window_size=512 * KIB,
)


class Service(Protocol):
    """What the generated `…Base` classes are."""

    def __mapping__(self) -> Mapping[str, Handler]:
        """The handler of each route."""
        ...


class RpcServer:
    """Serves services on one port.

    Args:
        services: objects of generated base classes.
        gate: who may call what; `OpenGate` serves everybody.
        peer_of: whose certificate a call comes with.
        max_message_bytes: the largest request on a route between roles. Public routes are bounded by `limits`.
        limits: all other bounds.

    Attributes:
        desk: answers the calls; another door of the same process may lead to it.
    """

    def __init__(
        self,
        services: Collection[Service],
        *,
        gate: Gate,
        peer_of: PeerOf = peer_of,
        max_message_bytes: int = INTERNAL_MESSAGE_BYTES,
        limits: Limits | None = None,
    ) -> None:
        limits = limits or Limits()
        limits = replace(
            limits,
            internal_message_bytes=max_message_bytes,
            public_message_bytes=min(limits.public_message_bytes, max_message_bytes),
        )
        self.health = HealthBoard(services)
        self._limits = limits
        served = [*services, self.health.service, *reflection([*services, self.health.service])]
        self.desk = Desk(_routes(served), gate, limits, peer_of)
        self._config = KEEPALIVE.__for_server__()
        self._connections: set[ServerProtocol] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._listener: asyncio.Server | None = None

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listens; returns the port, which the system chooses where 0 is asked for.

        Args:
            host: name or address.
            port: of the service.
            tls: how callers are met; in the clear if None.

        Raises:
            OSError: the address cannot be had.
            RuntimeError: it was started before.
        """
        if self._listener is not None:
            raise RuntimeError("the server was started before")
        door = self._protocol if tls is None else TlsDoor(self._protocol, tls, connections=self._limits.connections)
        self._listener = await asyncio.get_running_loop().create_server(door, host, port, backlog=256)
        self.health.set_all(serving=True)
        return int(self._listener.sockets[0].getsockname()[1])

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    async def stop(self, grace: float) -> None:
        """Stops listening, lets calls end, cuts off what is left and closes every connection. May be called twice.

        Args:
            grace: seconds that calls with one answer get. Streams get at most `STREAM_GRACE` of it: their callers
                come back to another replica, and most of them would never end.
        """
        if self._listener is None:
            return
        self._listener.close()
        self.desk.stopping = True
        self.health.set_all(serving=False)
        await self._drain(grace)
        await self._cut_off()
        await self._hang_up()

    async def _drain(self, grace: float) -> None:
        async with asyncio.TaskGroup() as both:
            both.create_task(_finished(self.desk.unary, grace))
            both.create_task(_finished(self.desk.streams, min(grace, STREAM_GRACE)))

    async def _cut_off(self) -> None:
        left = [*self.desk.unary, *self.desk.streams]
        for task in left:
            task.cancel()
        if left:
            log.info("stopping: %d calls are cut off", len(left))
            await asyncio.wait(left, timeout=CLOSE_SECONDS)

    async def _hang_up(self) -> None:
        for connection in list(self._connections):
            connection.go_away(ErrorCodes.NO_ERROR, "the server has stopped")
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._empty.wait()
        for connection in list(self._connections):
            connection.abort()

    def enter(self, protocol: ServerProtocol, /) -> bool:
        """Whether there is room for another connection."""
        if len(self._connections) >= self._limits.connections or self.desk.stopping:
            return False
        self._connections.add(protocol)
        self._empty.clear()
        return True

    def leave(self, protocol: ServerProtocol, /) -> None:
        """A connection is gone."""
        self._connections.discard(protocol)
        if not self._connections:
            self._empty.set()

    def _protocol(self) -> ServerProtocol:
        return ServerProtocol(ConnectionCalls(self.desk), self._config, self._limits, self)


def _routes(services: Sequence[Service]) -> dict[str, Handler]:
    routes: dict[str, Handler] = {}
    for service in services:
        for route, handler in releasing(service.__mapping__()).items():
            if route in routes:
                raise ValueError(f"{route} is served twice")
            routes[route] = handler
    return routes


async def _finished(tasks: set[asyncio.Task[None]], seconds: float) -> None:
    if tasks:
        await asyncio.wait(tasks, timeout=seconds)
