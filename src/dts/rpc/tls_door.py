"""Connections that are still shaking hands count too: each holds memory, and whoever opens it need not say who it is.

asyncio tells a protocol of its connection only once the hands are shaken; a server's own count begins too late.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import Callable
from typing import Any

from dts.rpc.tls import HANDSHAKE_SECONDS

log = logging.getLogger(__name__)


class TlsDoor:
    """What to give to `create_server` in the place of its `ssl`: makes the protocol of each connection.

    Args:
        inside: makes the protocol that speaks within TLS.
        tls: how callers are met.
        connections: how many may be open, from the first byte to the last; one more is closed at once.
    """

    def __init__(self, inside: Callable[[], asyncio.BaseProtocol], tls: ssl.SSLContext, *, connections: int) -> None:
        self._inside = inside
        self._tls = tls
        self._connections = connections
        self._open: set[_Hands] = set()

    def __call__(self) -> asyncio.BaseProtocol:
        """The protocol of a connection that was just made; it may yet be closed for want of room."""
        return _Hands(self, self._inside(), self._tls)

    def enter(self, hands: _Hands) -> bool:
        """Whether there is room for one more."""
        if len(self._open) >= self._connections:
            log.warning("closing a connection: %d are open, which is the limit", self._connections)
            return False
        self._open.add(hands)
        return True

    def leave(self, hands: _Hands) -> None:
        """It is gone, if it ever was in."""
        self._open.discard(hands)


class _Hands(SSLProtocol):
    """TLS of one connection, as asyncio makes it for `create_server(ssl=…)`, but counted from the start."""

    def __init__(self, door: TlsDoor, inside: asyncio.BaseProtocol, tls: ssl.SSLContext) -> None:
        options: dict[str, Any] = {"waiter": None, "server_side": True, "ssl_handshake_timeout": HANDSHAKE_SECONDS}
        super().__init__(asyncio.get_running_loop(), inside, tls, **options)
        self._door = door

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins to shake hands, if there is room."""
        if self._door.enter(self):
            super().connection_made(transport)
        elif isinstance(transport, asyncio.Transport):
            transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Makes room."""
        self._door.leave(self)
        super().connection_lost(exc)
