"""From the headers of a request to its trailers: what a server does around each call of a service."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from grpclib.const import Cardinality, Handler, Status
from grpclib.events import _DispatchServerEvents
from grpclib.exceptions import GRPCError, ProtocolError
from grpclib.metadata import Deadline
from grpclib.protocol import AbstractHandler
from grpclib.protocol import Stream as WireStream
from h2.exceptions import H2Error

from dts.domain.access import Peer
from dts.domain.errors import DeadlineExceeded, ResourceExhausted, Unavailable
from dts.rpc.call import AnyCall, Call
from dts.rpc.caller import acting_as
from dts.rpc.codec import RequestCodec
from dts.rpc.details import StatusDetailsCodec
from dts.rpc.errors import from_handler, to_grpc
from dts.rpc.gate import Gate
from dts.rpc.headers import Headers, Refusal, check_ascii, check_http, deadline, metadata, trailers
from dts.rpc.limits import INTERNAL_ROUTES, Limits

PeerOf = Callable[[WireStream], Peer | None]
"""Says what the certificate of the connection of a call says."""

Observe = Callable[[str, str, float | None], None]
"""Is told the route of each call that ended, the name of its status, and its seconds if it had one answer. The route is
`other` for what is not served."""

log = logging.getLogger(__name__)

OTHER = "other"

LAST_WORD_SECONDS = 1.0
"""How long a call that is cut off may take to tell its caller so."""


class Desk:
    """Everything that the calls of one server share.

    Args:
        routes: what is served, by path.
        gate: who may call.
        peer_of: whose certificate a call comes with.
        limits: the bounds.

    Attributes:
        observe: is told of every call.
    """

    def __init__(self, routes: Mapping[str, Handler], gate: Gate, limits: Limits, peer_of: PeerOf) -> None:
        self.observe: Observe = lambda _route, _status, _seconds: None
        self.limits = limits
        self.stopping = False
        self.unary: set[asyncio.Task[None]] = set()
        self.streams: set[asyncio.Task[None]] = set()
        self._routes = routes
        self._gate = gate
        self._peer_of = peer_of
        self._public = RequestCodec(limits.public_entries)
        self._internal = RequestCodec()
        self._details = StatusDetailsCodec()
        self._dispatch = _DispatchServerEvents()

    def codec(self, route: str) -> RequestCodec:
        """Reads and writes the messages of a route."""
        return self._internal if route.startswith(INTERNAL_ROUTES) else self._public

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
            call, method = await self._admit(stream, headers)
        except Refusal as refusal:
            await _send_last(stream, [(":status", str(refusal.status)), ("grpc-message", refusal.message)])
        except Exception as error:  # noqa: BLE001 - whatever the headers did, the caller gets a status
            await _send_last(stream, trailers(self.refusal(error, dict(headers).get(":path", ""))))
        else:
            await self.run(call, method)

    async def _admit(self, stream: WireStream, headers: Headers) -> tuple[Call, Handler]:
        found = dict(headers)
        check_http(found)
        check_ascii(headers)
        route = found[":path"]
        peer = self._peer_of(stream)
        method = await self.find(route, found, peer)
        call = self._call(stream, route, method, deadline(headers))
        call.metadata = metadata(headers)
        await self.admit(call, found, peer)
        return call, method

    async def find(self, route: str, headers: Mapping[str, str], peer: Peer | None) -> Handler:
        """What answers a route.

        Raises:
            GRPCError: nothing does; only who is known learns so.
            DtsError: it is not known who asks.
        """
        method = self._routes.get(route)
        if method is None:
            await self._gate.identify(headers, peer)
            raise GRPCError(Status.UNIMPLEMENTED, "this server has no such method")
        return method

    async def admit(self, call: AnyCall, headers: Mapping[str, str], peer: Peer | None) -> None:
        """Lets a call pass, whichever door it comes by.

        Raises:
            DtsError: its caller may not make it, or there is no room for more calls.
        """
        call.admit = partial(self._gate.check, call.route, headers, peer)
        call.caller = await call.admit()
        self._check_room()

    def _call(self, stream: WireStream, route: str, method: Handler, until: Deadline | None) -> Call:
        return Call(
            stream,
            route,
            method.cardinality,
            method.request_type,
            method.reply_type,
            codec=self.codec(route),
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

    def refusal(self, error: Exception, route: str) -> GRPCError:
        """The status of a call that was not admitted."""
        status = as_status(error, "admission")
        self.observe(route if route in self._routes else OTHER, status.status.name, None)
        return status

    async def run(self, call: AnyCall, method: Handler) -> None:
        """Answers a call that was admitted; the outcome is told to the call itself."""
        task = asyncio.current_task()
        assert task is not None
        streams = _streams(method.cardinality)
        group = self.streams if streams else self.unary
        group.add(task)
        began, status = task.get_loop().time(), Status.CANCELLED
        try:
            error = await self._outcome(call, method)
            status = Status.OK if error is None else error.status
            await call.finish(error)
        except asyncio.CancelledError:
            if self.stopping:
                await _last_word(call)
            raise
        finally:
            group.discard(task)
            self.observe(call.route, status.name, None if streams else task.get_loop().time() - began)

    async def _outcome(self, call: AnyCall, method: Handler) -> GRPCError | None:
        left = None if call.deadline is None else call.deadline.time_remaining()
        if left is not None and left <= 0:
            return to_grpc(_too_late())
        limit = asyncio.timeout(left)
        try:
            async with limit:
                await self._serve(call, method)
            call.check_answered()
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Something that the service waited for was cancelled, not the call: the caller still wants an answer.
            return as_status(RuntimeError(f"cancelled inside: {error}"), call.route)
        except Exception as error:  # noqa: BLE001 - the one place where what a service raises becomes a status
            if limit.expired():
                return to_grpc(_too_late())
            return as_status(error, call.route)
        return None

    async def _serve(self, call: AnyCall, method: Handler) -> None:
        with acting_as(call.caller):
            if not _streams(method.cardinality):
                await method.func(call)
                return
            try:
                async with asyncio.TaskGroup() as both:
                    judge = both.create_task(self._judge(call))
                    await method.func(call)
                    judge.cancel()
            except ExceptionGroup as errors:
                raise errors.exceptions[0] from None

    async def _judge(self, call: AnyCall) -> None:
        """Judges the caller again and again: a stream must not outlive its token."""
        while True:
            await asyncio.sleep(self._gate.recheck_seconds)
            await call.admit()


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


async def _last_word(call: AnyCall) -> None:
    try:
        async with asyncio.timeout(LAST_WORD_SECONDS):
            await call.finish(to_grpc(Unavailable("the server is stopping", code="server.stopping")))
    except (TimeoutError, H2Error, ProtocolError, ConnectionError) as error:
        log.debug("a caller could not be told that the server stops: %s", error)
