"""Generated stubs that raise our errors, have deadlines, and lose nothing in streams.

What a stub of betterproto2 gets wrong in streams: an error of the caller's own source of messages is lost and the call
hangs; a source goes on after the answers have ended. Here such an error ends the call and reaches the caller as it
is, and a source is closed when the call is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar, cast

import h2.exceptions
from betterproto2.grpclib import ServiceStub
from grpclib.const import Cardinality
from grpclib.exceptions import ProtocolError, StreamTerminatedError
from grpclib.metadata import Deadline

from dts.domain.errors import Internal
from dts.rpc.channel import Channel
from dts.rpc.errors import caller_errors
from dts.rpc.stream import CallerStream

UNARY_SECONDS = 10.0
"""Default deadline of a call with one request and one answer. Streams have none."""

S = TypeVar("S", bound=ServiceStub)
Messages = Iterable[Any] | AsyncIterable[Any]
Kinds = tuple[Cardinality, type[Any], type[Any]]

_LINE_IS_DOWN = (StreamTerminatedError, ProtocolError, h2.exceptions.H2Error, OSError)


def stub(cls: type[S], channel: Channel, *, timeout: float | None = UNARY_SECONDS) -> S:
    """A generated stub over a channel, with our manners.

    Args:
        cls: the generated class.
        channel: from `connect`.
        timeout: deadline in seconds of calls with one request and one answer; None for none.
    """
    polite = type(cls.__name__, (PoliteStub, cls), {})
    return cast("S", polite(channel, timeout=timeout))


class SenderFailed(Exception):
    """Carries what a caller's own source of messages raised past the translation of errors."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class PoliteStub(ServiceStub):
    """Goes before a generated stub in the order of classes and replaces what the stub calls."""

    channel: Channel

    async def _unary_unary(
        self,
        route: str,
        request: Any,
        response_type: type[Any],
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - betterproto2's signature
        **options: Any,
    ) -> Any:
        kinds = (Cardinality.UNARY_UNARY, type(request), response_type)
        seconds = self.timeout if timeout is None else timeout
        async with self._call(route, kinds, timeout=seconds, **options) as stream:
            await stream.send_message(request, end=True)
            answer = await stream.recv_message()
        return _given(answer)

    async def _unary_stream(
        self, route: str, request: Any, response_type: type[Any], **options: Any
    ) -> AsyncIterator[Any]:
        kinds = (Cardinality.UNARY_STREAM, type(request), response_type)
        async with self._call(route, kinds, **options) as stream:
            await stream.send_message(request, end=True)
            async for message in stream:
                yield message

    async def _stream_unary(
        self,
        route: str,
        request_iterator: Messages,
        request_type: type[Any],
        response_type: type[Any],
        **options: Any,
    ) -> Any:
        kinds = (Cardinality.STREAM_UNARY, request_type, response_type)
        async with self._exchange(route, kinds, request_iterator, **options) as stream:
            answer = await stream.recv_message()
        return _given(answer)

    async def _stream_stream(
        self,
        route: str,
        request_iterator: Messages,
        request_type: type[Any],
        response_type: type[Any],
        **options: Any,
    ) -> AsyncIterator[Any]:
        kinds = (Cardinality.STREAM_STREAM, request_type, response_type)
        async with self._exchange(route, kinds, request_iterator, **options) as stream:
            async for message in stream:
                yield message

    @asynccontextmanager
    async def _call(
        self,
        route: str,
        kinds: Kinds,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - becomes the deadline of the call
        deadline: Deadline | None = None,
        metadata: Any = None,
    ) -> AsyncIterator[CallerStream]:
        request = self.channel.request(
            route,
            *kinds,
            timeout=timeout,
            deadline=deadline or self.deadline,
            metadata=self.metadata if metadata is None else metadata,
        )
        with caller_errors(lambda: self.channel.peer):
            async with request as stream:
                yield stream

    @asynccontextmanager
    async def _exchange(
        self, route: str, kinds: Kinds, messages: Messages, **options: Any
    ) -> AsyncIterator[CallerStream]:
        try:
            async with self._call(route, kinds, **options) as stream, _sending(stream, messages):
                yield stream
        except SenderFailed as failed:
            raise failed.error from None
        finally:
            await close_source(messages)


@asynccontextmanager
async def _sending(stream: CallerStream, messages: Messages) -> AsyncIterator[None]:
    await stream.send_request()
    sender = asyncio.create_task(_send_all(stream, messages))
    try:
        yield
    finally:
        sender.cancel()
        await asyncio.wait([sender])
        stream.abandon()


async def _send_all(stream: CallerStream, messages: Messages) -> None:
    try:
        async for message in each(messages):
            if not await _sent(stream, message):
                return
    except Exception as error:  # noqa: BLE001 - whatever the caller's source raises is the caller's to see
        stream.fail(SenderFailed(error))
        return
    with suppress(*_LINE_IS_DOWN):
        await stream.end()


async def _sent(stream: CallerStream, message: Any) -> bool:
    try:
        await stream.send_message(message)
    except _LINE_IS_DOWN:  # who receives learns why
        return False
    return True


async def each(messages: Messages) -> AsyncIterator[Any]:
    """The messages of either kind of source."""
    if isinstance(messages, AsyncIterable):
        async for message in messages:
            yield message
    else:
        for message in messages:
            yield message


async def close_source(messages: Messages) -> None:
    """Tells a source of messages that nobody takes more of them, if it can be told."""
    close = getattr(messages, "aclose", None)
    if close is not None:
        await close()


def _given(answer: Any) -> Any:
    if answer is None:
        raise Internal("the call ended well but without an answer")
    return answer
