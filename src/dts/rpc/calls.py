"""From the headers of a request to its trailers: what a server does around each call of a service."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from grpclib.const import Cardinality, Handler, Status
from grpclib.encoding.base import CodecBase
from grpclib.events import _DispatchServerEvents
from grpclib.exceptions import GRPCError, ProtocolError
from grpclib.metadata import Deadline
from grpclib.protocol import AbstractHandler
from grpclib.protocol import Stream as WireStream
from grpclib.server import Stream
from h2.exceptions import H2Error

from dts.domain.errors import DeadlineExceeded, InvalidArgument, ResourceExhausted, Unavailable
from dts.rpc.auth import TokenCheck
from dts.rpc.details import StatusDetailsCodec
from dts.rpc.errors import from_handler, to_grpc
from dts.rpc.framing import read_message
from dts.rpc.headers import Headers, Refusal, check_ascii, check_http, deadline, metadata, trailers
from dts.rpc.limits import Limits

log = logging.getLogger(__name__)

LAST_WORD_SECONDS = 1.0
"""How long a call that is cut off may take to tell its caller so."""


class Call(Stream[Any, Any]):
    """One call under way: grpclib's stream with bounds on what comes in."""

    def __init__(self, *args: Any, limits: Limits, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
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


class Desk:
    """Everything that the calls of one server share.

    Args:
        routes: what is served, by path.
        token: who may call.
        codec: reads and writes messages.
        limits: the bounds.
    """

    def __init__(self, routes: Mapping[str, Handler], token: TokenCheck, codec: CodecBase, limits: Limits) -> None:
        self.limits = limits
        self.stopping = False
        self.unary: set[asyncio.Task[None]] = set()
        self.streams: set[asyncio.Task[None]] = set()
        self._routes = routes
        self._token = token
        self._codec = codec
        self._details = StatusDetailsCodec()
        self._dispatch = _DispatchServerEvents()

    async def serve(self, stream: WireStream, headers: Headers, release: Callable[[], None]) -> None:
        """Answers one request, whatever it is."""
        try:
            await self._answer(stream, headers)
        except (H2Error, ProtocolError, ConnectionError) as error:
            log.debug("a caller left before its answer: %s", error)
        finally:
            release()

    async def _answer(self, stream: WireStream, headers: Headers) -> None:
        try:
            call, method = self._admit(stream, headers)
        except Refusal as refusal:
            await _send_last(stream, [(":status", str(refusal.status)), ("grpc-message", refusal.message)])
        except Exception as error:  # noqa: BLE001 - whatever the headers did, the caller gets a status
            await _send_last(stream, trailers(as_status(error, "admission")))
        else:
            await self._run(call, method)

    def _admit(self, stream: WireStream, headers: Headers) -> tuple[Call, Handler]:
        found = dict(headers)
        check_http(found)
        check_ascii(headers)
        route = found[":path"]
        self._token.check(route, found)
        self._check_room()
        method = self._routes.get(route)
        if method is None:
            raise GRPCError(Status.UNIMPLEMENTED, "this server has no such method")
        call = self._call(stream, route, method, deadline(headers))
        call.metadata = metadata(headers)
        return call, method

    def _call(self, stream: WireStream, route: str, method: Handler, until: Deadline | None) -> Call:
        return Call(
            stream,
            route,
            method.cardinality,
            method.request_type,
            method.reply_type,
            codec=self._codec,
            status_details_codec=self._details,
            dispatch=self._dispatch,
            deadline=until,
            limits=self.limits,
        )

    def _check_room(self) -> None:
        if self.stopping:
            raise Unavailable("the server is stopping", code="server.stopping")
        if len(self.unary) + len(self.streams) >= self.limits.calls:
            raise ResourceExhausted(f"{self.limits.calls} calls are under way, which is the limit", code="server.busy")

    async def _run(self, call: Call, method: Handler) -> None:
        task = asyncio.current_task()
        assert task is not None
        group = self.streams if _streams(method.cardinality) else self.unary
        group.add(task)
        try:
            await call.finish(await self._outcome(call, method))
        except asyncio.CancelledError:
            if self.stopping:
                await _last_word(call)
            raise
        finally:
            group.discard(task)

    async def _outcome(self, call: Call, method: Handler) -> GRPCError | None:
        left = None if call.deadline is None else call.deadline.time_remaining()
        if left is not None and left <= 0:
            return to_grpc(_too_late())
        limit = asyncio.timeout(left)
        try:
            async with limit:
                await method.func(call)
            call.check_answered()
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Something that the service waited for was cancelled, not the call: the caller still wants an answer.
            return as_status(RuntimeError(f"cancelled inside: {error}"), call._method_name)  # noqa: SLF001 - ours
        except Exception as error:  # noqa: BLE001 - the one place where what a service raises becomes a status
            if limit.expired():
                return to_grpc(_too_late())
            return as_status(error, call._method_name)  # noqa: SLF001 - ours
        return None


class ConnectionCalls(AbstractHandler):
    """The calls of one connection.

    Args:
        desk: answers them.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._tasks: dict[WireStream, asyncio.Task[None]] = {}

    def accept(self, stream: WireStream, headers: Any, release_stream: Callable[[], Any]) -> None:
        """Starts a call."""

        def release() -> None:
            self._tasks.pop(stream, None)
            release_stream()

        self._tasks[stream] = asyncio.get_running_loop().create_task(self._desk.serve(stream, headers, release))

    def cancel(self, stream: WireStream) -> None:
        """The caller no longer wants the answer."""
        task = self._tasks.pop(stream, None)
        if task is not None:
            task.cancel()

    def close(self) -> None:
        """The connection is gone."""
        for stream in list(self._tasks):
            self.cancel(stream)


def as_status(error: Exception, where: str) -> GRPCError:
    """The status for what was raised while a call was answered."""
    return error if isinstance(error, GRPCError) else to_grpc(from_handler(error, where))


def _too_late() -> DeadlineExceeded:
    return DeadlineExceeded("the deadline of the call has passed")


def _streams(cardinality: Cardinality) -> bool:
    return bool(cardinality.server_streaming or cardinality.client_streaming)


async def _send_last(stream: WireStream, headers: Headers) -> None:
    await stream.send_headers(headers, end_stream=True)
    if stream.closable:
        stream.reset_nowait()


async def _last_word(call: Call) -> None:
    try:
        async with asyncio.timeout(LAST_WORD_SECONDS):
            await call.finish(to_grpc(Unavailable("the server is stopping", code="server.stopping")))
    except (TimeoutError, H2Error, ProtocolError, ConnectionError) as error:
        log.debug("a caller could not be told that the server stops: %s", error)
