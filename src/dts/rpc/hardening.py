"""HTTP/2 under broken peers, for either side: what grpclib leaves open is closed here, below any call.

One call's nonsense hurts that call only; a peer whose nonsense is in the connection itself loses the connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import cast

import h2.exceptions
from grpclib.config import Configuration
from grpclib.protocol import AbstractHandler, Connection, EventsProcessor, H2Protocol
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event
from h2.settings import SettingCodes

log = logging.getLogger(__name__)

ABORT_AFTER = 1.0
"""Seconds after which a closed connection is dropped even if the peer does not read what is left."""


def h2_configuration(*, client: bool) -> H2Configuration:
    """Headers are decoded as Latin-1, which cannot fail: a byte that is not ASCII is then refused by its own call."""
    return H2Configuration(
        client_side=client,
        header_encoding="latin-1",
        validate_inbound_headers=False,
        validate_outbound_headers=False,
        normalize_inbound_headers=False,
        normalize_outbound_headers=False,
    )


class TidyConnection(Connection):
    """A connection that can be flushed and closed at any time, and is gone soon after."""

    def flush(self) -> None:
        """Writes what is due, if there is still somewhere to write it to."""
        if not self.is_closing():
            super().flush()

    def close(self) -> None:
        """Closes; what the peer does not read within `ABORT_AFTER` is dropped, else its streams would never end."""
        transport = getattr(self, "_transport", None)
        closing = transport is None or transport.is_closing()
        super().close()
        # With TLS the peer would have to say goodbye, too.
        if not closing and transport and (transport.get_extra_info("sslcontext") or transport.get_write_buffer_size()):
            asyncio.get_running_loop().call_later(ABORT_AFTER, transport.abort)

    def go_away(self, code: ErrorCodes) -> None:
        """Tells the peer why before closing."""
        if not self.is_closing():
            self._connection.close_connection(code)
            self.flush()
        self.close()


class TolerantProcessor(EventsProcessor):
    """Ignores what HTTP/2 says must be ignored."""

    def process(self, event: Event) -> None:
        """Handles an event; one that nobody knows changes nothing."""
        if hasattr(self, "processors") and event.__class__ in self.processors:
            super().process(event)

    def process_data_received(self, event: DataReceived) -> None:
        """Handles data; grpclib would take an empty frame for the end of the stream."""
        if event.flow_controlled_length:
            super().process_data_received(event)


class TidyProtocol(H2Protocol):
    """HTTP/2 on a socket, for either side."""

    connection: TidyConnection

    def __init__(self, handler: AbstractHandler, config: Configuration, *, client: bool) -> None:
        super().__init__(handler, config, h2_configuration(client=client))

    def _h2_connection(self) -> H2Connection:
        return H2Connection(config=self.h2_config)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greets the peer."""
        wire = cast("asyncio.Transport", transport)
        connection = self._h2_connection()
        connection.initiate_connection()
        self._open_windows(connection)
        self.connection = TidyConnection(connection, wire, config=self.config)
        self.connection.flush()
        self.connection.initialize()
        self.processor = TolerantProcessor(self.handler, self.connection)

    def _open_windows(self, connection: H2Connection) -> None:
        initial = connection.local_settings.initial_window_size
        connection.increment_flow_control_window(self.config.http2_connection_window_size - initial)
        connection.update_settings(self._settings())

    def _settings(self) -> dict[SettingCodes | int, int]:
        return {SettingCodes.INITIAL_WINDOW_SIZE: self.config.http2_stream_window_size}

    def data_received(self, data: bytes) -> None:
        """Takes bytes from the peer; whatever they are, only this connection can suffer."""
        try:
            events = self.connection.feed(data)
        except h2.exceptions.ProtocolError as error:
            self._give_up(f"protocol error: {error}")
        except Exception as error:  # noqa: BLE001 - a parser's surprise over a peer's bytes must not reach the loop
            self._give_up(f"unreadable bytes: {error!r}")
        else:
            self.connection.flush()
            self._take(events)
            self.connection.flush()

    def _take(self, events: Iterable[Event]) -> None:
        for event in events:
            self.processor.process(event)

    def _give_up(self, reason: str) -> None:
        log.info("closing a connection: %s", reason)
        self.connection.flush()  # the GOAWAY that h2 has prepared
        self.processor.close(reason)

    def connection_lost(self, exc: BaseException | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Ends every call of the connection."""
        if hasattr(self, "processor"):
            self.processor.close(reason="Connection lost")
