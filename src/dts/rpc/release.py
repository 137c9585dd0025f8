"""Streams of a service end when their call ends. The generated base leaves an answering generator to the collector."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

from betterproto2.grpclib.grpclib_server import ServiceBase
from grpclib.const import Handler
from grpclib.server import Stream


def releasing(routes: Mapping[str, Handler]) -> dict[str, Handler]:
    """The same routes, with the streams of generated services closed when their caller has left."""
    return {route: _releasing(handler) for route, handler in routes.items()}


def _releasing(handler: Handler) -> Handler:
    service = getattr(handler.func, "__self__", None)
    if not handler.cardinality.server_streaming or not isinstance(service, ServiceBase):
        return handler
    generated = handler.func.__func__

    async def serve(stream: Stream[Any, Any]) -> None:
        await generated(_Releasing(service), stream)

    return handler._replace(func=serve)


class _Releasing:
    """Stands in for a service where generated code calls its method that answers with a stream."""

    def __init__(self, service: ServiceBase) -> None:
        self._service = service

    def __getattr__(self, name: str) -> Any:
        return getattr(self._service, name)

    async def _call_rpc_handler_server_stream(
        self, method: Callable[[Any], object], stream: Stream[Any, Any], request: Any
    ) -> None:
        answers = method(request)
        if not isinstance(answers, AsyncGenerator):
            raise TypeError(f"{method!r} must be an asynchronous generator")
        async with aclosing(answers):
            async for answer in answers:
                await stream.send_message(answer)
