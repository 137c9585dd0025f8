"""A caller's connection to a service: several addresses, one of which is used; it is made anew when it is lost."""

from __future__ import annotations

import asyncio
import os
import random
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from grpclib.client import Channel as GrpclibChannel
from grpclib.client import Handler as ClientHandler
from grpclib.config import Configuration
from grpclib.const import Cardinality
from grpclib.metadata import Deadline
from grpclib.protocol import H2Protocol
from multidict import MultiDict

from dts.rpc.address import HostPort
from dts.rpc.auth import bearer
from dts.rpc.caller import on_behalf
from dts.rpc.codec import Codec
from dts.rpc.details import StatusDetailsCodec
from dts.rpc.hardening import TidyProtocol
from dts.rpc.limits import INTERNAL_MESSAGE_BYTES, MIB
from dts.rpc.stream import CallerStream
from dts.rpc.tls import CallerTls

CONNECT_SECONDS = 2.0

GREETING_SECONDS = 5.0
"""How long a server that took the connection may take to say its first word. A frozen one says none: the kernel takes
connections for it."""

KEEPALIVE = Configuration(
    # A peer that is frozen or cut off is noticed within 15 s, also while nobody calls.
    _keepalive_time=10.0,
    _keepalive_timeout=5.0,
    _keepalive_permit_without_calls=True,
    _http2_max_pings_without_data=0,
    _http2_min_sent_ping_interval_without_data=5.0,
    http2_connection_window_size=8 * MIB,
    http2_stream_window_size=4 * MIB,
)

Shuffle = Callable[[list[HostPort]], None]


class CallerProtocol(TidyProtocol):
    """The caller's side, which knows whether the server has spoken."""

    def __init__(self, handler: ClientHandler, config: Configuration) -> None:
        super().__init__(handler, config, client=True)
        self._spoken = False
        self._lost: BaseException | None = None
        self._decided = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        """Takes bytes from the server."""
        self._spoken = True
        self._decided.set()
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection is over."""
        self._lost = exc
        self._decided.set()
        super().connection_lost(exc)

    def check(self, tls: CallerTls) -> None:
        """Raises ConnectionError if this is not the server that was meant; the connection is closed."""
        try:
            tls.check(self.connection._transport.get_extra_info("peercert") or {})  # noqa: SLF001 - no other way to it
        except ConnectionError:
            self.processor.close("another server was meant")
            raise

    async def greeted(self) -> None:
        """Waits for the server's first word.

        Raises:
            ConnectionError: there will be none.
            TimeoutError: there is none in time; the connection is closed.
        """
        try:
            async with asyncio.timeout(GREETING_SECONDS):
                await self._decided.wait()
        except BaseException:  # also when cancelled: nobody else knows of this connection
            self.processor.close("the server said nothing")
            raise
        if not self._spoken:
            # A server that refuses our certificate says so after it was taken for connected (TLS 1.3).
            why = f": {_reason(self._lost)}" if isinstance(self._lost, ssl.SSLError) else ""
            raise ConnectionResetError(f"the connection was closed without a word{why}")


class Channel(GrpclibChannel):
    """Connects at the first call, to the first address that answers, and again after a loss.

    Args:
        addresses: where the service is, the preferred one first.
        token: shown with every call; None if there is none.
        tls: how the server is known and we are known to it; in the clear if None.
        max_message_bytes: the largest answer that is accepted.
        connect_timeout: seconds for each address.
        config: windows and keepalive.
        vouching: say with each call for whom it is made: for services that judge people.
        shuffle: orders the addresses behind a `dns:` name, so that callers spread over them.
    """

    def __init__(
        self,
        addresses: Sequence[HostPort],
        *,
        token: str | None,
        tls: CallerTls | None = None,
        max_message_bytes: int = INTERNAL_MESSAGE_BYTES,
        connect_timeout: float = CONNECT_SECONDS,
        config: Configuration = KEEPALIVE,
        vouching: bool = False,
        shuffle: Shuffle = random.shuffle,
    ) -> None:
        if not addresses:
            raise ValueError("a channel needs at least one address")
        first = addresses[0]
        super().__init__(
            first.host, first.port, codec=Codec(), status_details_codec=StatusDetailsCodec(), config=config
        )
        self._addresses = list(addresses)
        self._shown = bearer(token)
        self._tls = tls
        self._scheme = "http" if tls is None else "https"
        self._max_message_bytes = max_message_bytes
        self._connect_timeout = connect_timeout
        self._vouching = vouching
        self._shuffle = shuffle
        self._closed = False
        self._last_good: HostPort | None = None

    @property
    def peer(self) -> str:
        """The address in use, or those that would be tried."""
        return (
            ", ".join(str(address) for address in self._addresses) if self._last_good is None else str(self._last_good)
        )

    def request(
        self,
        name: str,
        cardinality: Cardinality,
        request_type: type[Any],
        reply_type: type[Any],
        *,
        timeout: float | None = None,
        deadline: Deadline | None = None,
        metadata: Any = None,
    ) -> CallerStream:
        """A call that is about to be made; the token goes with it."""
        if timeout is not None:
            given = Deadline.from_timeout(timeout)
            deadline = given if deadline is None else min(given, deadline)
        stream = CallerStream(
            self,
            name,
            cast("Any", _with(metadata, self._shown | (on_behalf() if self._vouching else {}))),
            cardinality,
            request_type,
            reply_type,
            codec=self._codec,
            status_details_codec=self._status_details_codec,
            dispatch=self.__dispatch__,
            deadline=deadline,
        )
        stream.limit = self._max_message_bytes
        return stream

    def close(self) -> None:
        """Ends every call and the connection; the channel is not used again."""
        self._closed = True
        super().close()

    def _protocol_factory(self) -> H2Protocol:
        return CallerProtocol(ClientHandler(), self._config)

    async def _create_connection(self) -> H2Protocol:
        errors: list[str] = []
        for address in await self._candidates(errors):
            try:
                return await self._connect_to(address)
            except OSError as error:  # includes TimeoutError
                errors.append(_reason(error) if self._addresses == [address] else f"{address}: {_reason(error)}")
        self._last_good = None
        raise ConnectionError("; ".join(errors) or "no address is known")

    async def _candidates(self, errors: list[str]) -> list[HostPort]:
        if self._closed:
            raise ConnectionError("the channel is closed")
        found: list[HostPort] = []
        for address in self._addresses:
            try:
                several = await address.resolve()
            except OSError as error:
                errors.append(f"{address}: {_reason(error)}")
            else:
                self._shuffle(several)
                found.extend(several)
        # The one that worked last comes first: a lost connection is no reason to move.
        return sorted(dict.fromkeys(found), key=lambda address: address != self._last_good)

    async def _connect_to(self, address: HostPort) -> H2Protocol:
        self._host, self._port = address
        self._authority = self._get_authority(address.host, address.port)
        self._ssl = None if self._tls is None else self._tls.context()
        async with asyncio.timeout(self._connect_timeout):
            protocol = cast("CallerProtocol", await super()._create_connection())
        if self._tls is not None:
            protocol.check(self._tls)
        await protocol.greeted()
        self._last_good = address
        return protocol


def connect(addresses: Sequence[HostPort], *, token: str | None, **options: Any) -> Channel:
    """A channel to the first of the addresses that answers. Connects at the first call.

    Args:
        addresses: where the service is.
        token: shown with every call.
        options: as for `Channel`.
    """
    return Channel(addresses, token=token, **options)


def _with(metadata: Any, shown: Mapping[str, str]) -> MultiDict[str | bytes]:
    result: MultiDict[str | bytes] = MultiDict(metadata or ())
    result.update(shown)
    return result


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not to be trusted, {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        known = (error.reason or "").replace("_", " ").lower()
        return "it does not speak TLS" if "wrong version" in known else f"TLS: {known or error}"
    if error.errno and error.errno > 0:  # asyncio's own words have a tuple in them
        return os.strerror(error.errno)
    said = error.strerror or str(error)
    # asyncio raises it without words
    return said or ("the connection was reset" if isinstance(error, ConnectionResetError) else type(error).__name__)
