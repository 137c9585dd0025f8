"""A call that did not come by gRPC: answered by the same desk, with its request read and its answers sent by others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from grpclib.const import Handler
from grpclib.exceptions import GRPCError
from grpclib.metadata import Deadline

from dts.domain.access import ANONYMOUS, Caller
from dts.domain.errors import DeadlineExceeded
from dts.rpc.codec import RequestCodec

Read = Callable[[], Awaitable[bytes]]
Send = Callable[[bytes], Awaitable[None]]


class PlainCall:
    """One call under way. Services see of it what they see of grpclib's streams.

    Args:
        route: such as `/dts.v1.SchedulerService/GetRun`.
        method: what answers it.
        codec: of the server.
        read: the request, as bytes of its message.
        send: takes an answer, as bytes of its message.
        until: when the caller stops waiting.
        request_seconds: how long `read` may take.

    Attributes:
        error: how it ended, once it has; None if it ended well.
    """

    def __init__(
        self,
        route: str,
        method: Handler,
        codec: RequestCodec,
        *,
        read: Read,
        send: Send,
        until: Deadline | None,
        request_seconds: float,
    ) -> None:
        self.route = route
        self.caller: Caller = ANONYMOUS
        self.admit: Callable[[], Awaitable[Caller]]
        self.deadline = until
        self.error: GRPCError | None = None
        self._method = method
        self._codec = codec
        self._read = read
        self._send = send
        self._request_seconds = request_seconds
        self._asked = False
        self._answered = False

    async def recv_message(self) -> object:
        """The request; None when it was given already."""
        if self._asked:
            return None
        self._asked = True
        try:
            async with asyncio.timeout(self._request_seconds):
                data = await self._read()
        except TimeoutError as error:
            raise DeadlineExceeded(f"the request did not come within {self._request_seconds:.0f} s") from error
        return self._codec.decode(data, self._method.request_type)

    async def send_message(self, message: object) -> None:
        """Sends an answer."""
        await self._send(self._codec.encode(message, self._method.reply_type))
        self._answered = True

    def check_answered(self) -> None:
        """Raises RuntimeError where a method that owes one message has sent none: a mistake of the service."""
        if not self._method.cardinality.server_streaming and not self._answered:
            raise RuntimeError("the service sent no answer")

    async def finish(self, error: GRPCError | None = None) -> None:
        """It is over."""
        self.error = error
