"""One call under way, as its server sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from grpclib.exceptions import GRPCError
from grpclib.metadata import Deadline
from grpclib.server import Stream

from dts.domain.access import ANONYMOUS, Caller
from dts.domain.errors import DeadlineExceeded, InvalidArgument
from dts.rpc.framing import read_message
from dts.rpc.limits import Limits


class AnyCall(Protocol):
    """What a `Desk` must know of a call, whichever door it came by."""

    route: str
    caller: Caller
    admit: Callable[[], Awaitable[Caller]]
    deadline: Deadline | None

    def check_answered(self) -> None:
        """Raises RuntimeError where an answer is owed and was not sent."""
        ...

    async def finish(self, error: GRPCError | None = None) -> None:
        """The call is over: well, or with an error."""
        ...


class Call(Stream[Any, Any]):
    """One call under way: grpclib's stream with bounds on what comes in."""

    def __init__(self, *args: Any, limits: Limits, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.route: str = self._method_name
        self.caller = ANONYMOUS
        self.admit: Callable[[], Awaitable[Caller]]
        self._limit = limits.message_bytes(self._method_name)
        self._request_seconds = limits.request_seconds

    async def recv_message(self) -> Any:
        """The next message of the caller, None at the end; exactly one where the method takes one."""
        if self._cardinality.client_streaming:
            return await self._next()
        if self._messages_received:
            return None
        try:
            async with asyncio.timeout(self._request_seconds):
                return await self._only()
        except TimeoutError as error:
            raise DeadlineExceeded(f"the request did not come within {self._request_seconds:.0f} s") from error

    async def _only(self) -> Any:
        message = await self._next()
        if message is None:
            raise InvalidArgument.of("message", "message.missing", "one is expected, none was sent")
        if await self._stream.recv_data(1):
            raise InvalidArgument.of("message", "message.second", "one is expected, more were sent")
        return message

    async def _next(self) -> Any:
        body = await read_message(self._stream, limit=self._limit)
        if body is None:
            return None
        self._messages_received += 1
        return self._codec.decode(body, self._recv_type)

    def check_answered(self) -> None:
        """Raises RuntimeError where a method that owes one message has sent none: a mistake of the service."""
        owes = not self._cardinality.server_streaming and not self._send_trailing_metadata_done
        if owes and not self._send_message_done:
            raise RuntimeError("the service sent no answer")

    async def finish(self, error: GRPCError | None = None) -> None:
        """Sends the trailers, unless the service did."""
        if self._send_trailing_metadata_done or self._cancel_done:
            return
        if error is None:
            await self.send_trailing_metadata()
        else:
            await self.send_trailing_metadata(
                status=error.status, status_message=error.message, status_details=error.details
            )
