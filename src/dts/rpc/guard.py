"""A server's end of a connection: no peer can make a server hold more than `Limits` says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Protocol as Shape
from typing import cast

from grpclib.config import Configuration
from grpclib.protocol import AbstractHandler
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    Event,
    PingAckReceived,
    PingReceived,
    PriorityUpdated,
    RemoteSettingsChanged,
    SettingsAcknowledged,
    StreamReset,
    UnknownFrameReceived,
)
from h2.settings import SettingCodes, Settings

from dts.rpc.hardening import TidyProtocol
from dts.rpc.limits import Limits

log = logging.getLogger(__name__)

STREAMS_BEFORE_ACK = 4
"""A peer may open this many times our limit until it has acknowledged the limit: it cannot know it before."""

_NUISANCES = (PingReceived, RemoteSettingsChanged, StreamReset, PriorityUpdated, UnknownFrameReceived)
_ANSWERS = (PingAckReceived, SettingsAcknowledged)


class Door(Shape):
    """Counts the connections of a server."""

    def enter(self, protocol: ServerProtocol, /) -> bool:
        """Whether there is room for one more."""
        ...

    def leave(self, protocol: ServerProtocol, /) -> None:
        """It is gone."""
        ...


class ServerProtocol(TidyProtocol):
    """A server's end of a connection, with its bounds.

    Args:
        handler: takes the calls.
        config: windows and keepalive.
        limits: the bounds.
        door: counts connections.
    """

    def __init__(self, handler: AbstractHandler, config: Configuration, limits: Limits, door: Door) -> None:
        super().__init__(handler, config, client=False)
        self._limits = limits
        self._door = door
        self._nuisances = 0
        self._spoke = False
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def _h2_connection(self) -> H2Connection:
        connection = super()._h2_connection()
        connection.decoder.max_header_list_size = self._limits.header_bytes
        connection.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: self._limits.streams * STREAMS_BEFORE_ACK,
                SettingCodes.MAX_HEADER_LIST_SIZE: self._limits.header_bytes,
            },
        )
        return connection

    def _settings(self) -> dict[SettingCodes | int, int]:
        return {**super()._settings(), SettingCodes.MAX_CONCURRENT_STREAMS: self._limits.streams}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greets the peer if there is room, and gives it a little time to answer."""
        self._transport = cast("asyncio.Transport", transport)
        if not self._door.enter(self):
            log.warning("closing a connection: %d are open, which is the limit", self._limits.connections)
            self._transport.abort()
            return
        super().connection_made(transport)
        loop = asyncio.get_running_loop()
        self._window_end = loop.time() + self._limits.nuisance_seconds
        self._heard = loop.time()
        self._after(self._limits.preface_seconds, self._no_preface)

    def data_received(self, data: bytes) -> None:
        """Takes bytes from the peer, until it was told to leave."""
        if hasattr(self, "processor") and not self.connection.is_closing():
            super().data_received(data)

    def _take(self, events: Iterable[Event]) -> None:
        for event in events:
            if not self._bearable(event):
                log.info("closing a connection: more than %d frames without use", self._limits.nuisances)
                self.go_away(ErrorCodes.ENHANCE_YOUR_CALM, "too many frames without use")
                return
            self.processor.process(event)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forgets the connection."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)
        self._door.leave(self)

    def abort(self) -> None:
        """Drops the connection without a word."""
        if self._transport is not None:
            self._transport.abort()

    def go_away(self, code: ErrorCodes, reason: str) -> None:
        """Tells the peer to leave and closes."""
        if not hasattr(self, "processor"):
            return
        self.connection.go_away(code)
        self.processor.close(reason)

    def _after(self, seconds: float, then: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, then)

    def _no_preface(self) -> None:
        log.info("closing a connection: it did not speak HTTP/2 within %.0f s", self._limits.preface_seconds)
        self.go_away(ErrorCodes.SETTINGS_TIMEOUT, "no preface")

    def _check_idle(self) -> None:
        silent = asyncio.get_running_loop().time() - self._heard
        if self.processor.streams or silent < self._limits.idle_seconds:
            self._after(max(self._limits.idle_seconds - silent, self._limits.idle_seconds / 4), self._check_idle)
        else:
            self.go_away(ErrorCodes.NO_ERROR, "idle")

    def _bearable(self, event: Event) -> bool:
        now = asyncio.get_running_loop().time()
        if not isinstance(event, _ANSWERS):  # our own pings must not keep a silent peer
            self._heard = now
        if not isinstance(event, _NUISANCES):
            return True
        if isinstance(event, RemoteSettingsChanged) and not self._spoke:
            self._spoke = True
            self._after(self._limits.idle_seconds, self._check_idle)
        if now > self._window_end:
            self._nuisances, self._window_end = 0, now + self._limits.nuisance_seconds
        self._nuisances += 1
        return self._nuisances <= self._limits.nuisances
