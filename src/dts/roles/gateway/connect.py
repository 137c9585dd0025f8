"""The public API as JSON over HTTP, by the Connect protocol: `curl` is enough to call it.

A call takes the same way as one by gRPC: the same table of who may what, the same limits, deadlines and services.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from aiohttp import web
from grpclib.const import Handler, Status
from grpclib.exceptions import GRPCError

from dts.domain.errors import InvalidArgument, ResourceExhausted, Unavailable
from dts.pb.dts.v1 import AccessServiceBase, ChannelServiceBase, SchedulerServiceBase, TaskDefinitionServiceBase
from dts.rpc import connect
from dts.rpc.calls import Desk
from dts.rpc.errors import to_grpc
from dts.rpc.http_bounds import STALLED_SECONDS, cut_off
from dts.rpc.jsonform import JsonForm
from dts.rpc.limits import KIB, Limits
from dts.rpc.plain import PlainCall

T = TypeVar("T")

PUBLIC = (TaskDefinitionServiceBase, SchedulerServiceBase, AccessServiceBase, ChannelServiceBase)
"""The services that people call. What roles say to each other is not said here."""

ASIDE_BYTES = 64 * KIB
"""What is larger is turned from or to JSON in a thread, so that other calls go on meanwhile."""

_ENCODINGS = {connect.UNARY: "content-encoding", connect.STREAM: "connect-content-encoding"}
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Server": "dts"}


class ConnectApi:
    """Answers `POST /dts.v1.SERVICE/METHOD`.

    Args:
        desk: of the gRPC server of this process, which answers the calls.
        limits: how large a request may be, and how long it may take to come.
    """

    def __init__(self, desk: Desk, limits: Limits | None = None) -> None:
        self._desk = desk
        self._limits = limits or desk.limits
        self._form = JsonForm()
        self._routes = public_routes()

    def routes(self) -> list[web.RouteDef]:
        """What to give to an `HttpServer`: every path of our package, for a stranger must not learn which exist."""
        return [web.post("/dts.v1.{service}/{method}", self._serve)]

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        kind = request.content_type
        if kind not in _ENCODINGS:
            return _not_taken(f"content-type must be {connect.UNARY}, or {connect.STREAM} for methods that stream")
        answer: _Answer = _Stream(request, self._form) if kind == connect.STREAM else _Unary(request, self._form)
        try:
            call = await self._admit(request, answer)
        except _WrongKind as wrong:
            return _not_taken(str(wrong))
        except Exception as error:  # noqa: BLE001 - whatever the headers did, the caller gets a status
            response = await answer.end(self._desk.refusal(error, request.rel_url.raw_path))
            if isinstance(error, GRPCError) and not response.prepared:  # there is no such method
                response.set_status(404)
            return response
        return await answer.end(await self._outcome(*call))

    async def _admit(self, request: web.Request, answer: _Answer) -> tuple[PlainCall, Handler]:
        headers = _plain_headers(request)
        connect.check_version(headers)
        until = connect.deadline(headers)
        route = request.rel_url.raw_path
        # Nothing answers an empty route: what is not public does not exist here.
        method = await self._desk.find(route if route in self._routes else "", headers, None)
        call = PlainCall(
            route,
            method,
            self._desk.codec(route),
            read=lambda: self._read(request, route),
            send=lambda data: answer.send(route, data),
            until=until,
            request_seconds=self._limits.request_seconds,
        )
        await self._desk.admit(call, headers, None)
        _check_kind(request, method)
        return call, method

    async def _outcome(self, call: PlainCall, method: Handler) -> GRPCError | None:
        task = asyncio.create_task(self._desk.run(call, method))
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:  # the caller has left
            task.cancel()
            await asyncio.wait([task])
            raise
        if not task.cancelled():
            task.result()
        elif call.error is None:  # cut off by a server that stops
            return to_grpc(Unavailable("the server is stopping", code="server.stopping"))
        return call.error

    async def _read(self, request: web.Request, route: str) -> bytes:
        streaming = request.content_type == connect.STREAM
        _check_encoding(request)
        body = await _body(request, self._limits.public_message_bytes + connect.ENVELOPE_BYTES * streaming)
        text = connect.only_message(body) if streaming else body
        return await _aside(len(text), lambda: self._form.request(route, text))


class _Answer:
    """How an answer goes out."""

    def __init__(self, request: web.Request, form: JsonForm) -> None:
        self._request = request
        self._form = form

    async def send(self, route: str, data: bytes) -> None:
        """Takes a message of the answer."""
        raise NotImplementedError

    async def end(self, error: GRPCError | None) -> web.StreamResponse:
        """Says how the call ended."""
        raise NotImplementedError

    async def _json(self, route: str, data: bytes) -> bytes:
        return (await _aside(len(data), lambda: self._form.answer(route, data))).encode()


class _Unary(_Answer):
    """One message, or an error with the status of HTTP that suits it."""

    _told = b"{}"

    async def send(self, route: str, data: bytes) -> None:
        self._told = await self._json(route, data)

    async def end(self, error: GRPCError | None) -> web.StreamResponse:
        if error is None:
            return web.Response(body=self._told, content_type=connect.UNARY, headers=_HEADERS)
        told = _dumps(connect.error_json(error, self._form))
        more = {"WWW-Authenticate": "Bearer"} if error.status is Status.UNAUTHENTICATED else {}
        status = connect.http_status(error)
        return web.Response(body=told, status=status, content_type=connect.UNARY, headers=_HEADERS | more)


class _Stream(_Answer):
    """Messages in envelopes, the last of which says how it went; the status of HTTP is always 200."""

    def __init__(self, request: web.Request, form: JsonForm) -> None:
        super().__init__(request, form)
        self._response = web.StreamResponse(headers=_HEADERS | {"Content-Type": connect.STREAM})

    async def send(self, route: str, data: bytes) -> None:
        await self._write(connect.envelope(await self._json(route, data)))

    async def end(self, error: GRPCError | None) -> web.StreamResponse:
        told: dict[str, Any] = {} if error is None else {"error": connect.error_json(error, self._form)}
        try:
            await self._write(connect.envelope(_dumps(told), connect.LAST))
        except GRPCError:
            self._response.force_close()
        return self._response

    async def _write(self, data: bytes) -> None:
        try:
            async with asyncio.timeout(STALLED_SECONDS):
                if not self._response.prepared:
                    await self._response.prepare(self._request)
                await self._response.write(data)
        except (TimeoutError, ConnectionError) as error:
            cut_off(self._request)
            raise GRPCError(Status.CANCELLED, "the caller has left") from error


class _WrongKind(Exception):
    """The method exists and is called by the other type of content."""


def public_routes() -> frozenset[str]:
    """The routes that are answered: those of `PUBLIC` that take one message."""
    return frozenset(
        route
        for service in PUBLIC
        for route, handler in service().__mapping__().items()
        if not handler.cardinality.client_streaming
    )


def _check_kind(request: web.Request, method: Handler) -> None:
    expected = connect.STREAM if method.cardinality.server_streaming else connect.UNARY
    if request.content_type != expected:
        raise _WrongKind(f"content-type must be {expected} for this method")


def _check_encoding(request: web.Request) -> None:
    if request.headers.get(_ENCODINGS[request.content_type], "identity") != "identity":
        raise GRPCError(Status.UNIMPLEMENTED, "compressed messages are not supported: send them as they are")


def _plain_headers(request: web.Request) -> Mapping[str, str]:
    headers = {name.lower(): value for name, value in request.headers.items()}
    if not all(name.isascii() and value.isascii() for name, value in headers.items()):
        raise InvalidArgument.of("metadata", "header.ascii", "has a header that is not ASCII")
    return headers


async def _body(request: web.Request, limit: int) -> bytes:
    """The body, of which never more is held than is allowed."""
    body = bytearray()
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    try:
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > limit:
                raise _too_large(limit)
    except web.RequestPayloadError as error:
        raise InvalidArgument.of("message", "message.truncated", "is no whole body of HTTP") from error
    return bytes(body)


def _too_large(limit: int) -> ResourceExhausted:
    return ResourceExhausted(f"the body has more than the {limit} bytes that are allowed", code="message.too_large")


async def _aside(size: int, work: Callable[[], T]) -> T:
    return work() if size <= ASIDE_BYTES else await asyncio.to_thread(work)


def _not_taken(why: str) -> web.Response:
    headers = _HEADERS | {"Accept-Post": f"{connect.UNARY}, {connect.STREAM}"}
    return web.Response(status=415, text=why + "\n", headers=headers)


def _dumps(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
