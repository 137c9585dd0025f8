"""A caller's connection to a service: several addresses, one of which is used; it is made anew when it is lost."""

from __future__ import annotations

import asyncio
import random
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
from dts.rpc.codec import Codec
from dts.rpc.details import StatusDetailsCodec
from dts.rpc.hardening import TidyProtocol
from dts.rpc.limits import INTERNAL_MESSAGE_BYTES, MIB
from dts.rpc.stream import CallerStream

CONNECT_SECONDS = 2.0

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


class Channel(GrpclibChannel):
    """Connects at the first call, to the first address that answers, and again after a loss.

    Args:
        addresses: where the service is, the preferred one first.
        token: shown with every call.
        max_message_bytes: the largest answer that is accepted.
        connect_timeout: seconds for each address.
        config: windows and keepalive.
        shuffle: orders the addresses behind a `dns:` name, so that callers spread over them.
    """

    def __init__(
        self,
        addresses: Sequence[HostPort],
        *,
        token: str | None,
        max_message_bytes: int = INTERNAL_MESSAGE_BYTES,
        connect_timeout: float = CONNECT_SECONDS,
        config: Configuration = KEEPALIVE,
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
        self._max_message_bytes = max_message_bytes
        self._connect_timeout = connect_timeout
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
            cast("Any", _with(metadata, self._shown)),
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
        return TidyProtocol(ClientHandler(), self._config, client=True)

    async def _create_connection(self) -> H2Protocol:
        errors: list[str] = []
        for address in await self._candidates(errors):
            try:
                return await self._connect_to(address)
            except OSError as error:  # includes TimeoutError
                errors.append(f"{address}: {_reason(error)}")
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
        async with asyncio.timeout(self._connect_timeout):
            protocol = await super()._create_connection()
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
    return error.strerror or str(error) or type(error).__name__
