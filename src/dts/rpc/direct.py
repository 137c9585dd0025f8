"""A service in our own process, called the way a stub is called: the same errors and the same default deadline.

What stays different: no copy is made, so messages are frozen once handed over; and a service whose caller's source of
messages fails sees an exception where it would see a cancellation behind a socket.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar, cast

from dts.domain.errors import DeadlineExceeded
from dts.rpc.errors import from_handler
from dts.rpc.stubs import UNARY_SECONDS, Messages, SenderFailed, close_source, each

T = TypeVar("T")


def in_process(service: T, *, timeout: float | None = UNARY_SECONDS) -> T:
    """The service, with what differs from its stub levelled.

    Args:
        service: an object of a generated base class.
        timeout: deadline in seconds of calls with one request and one answer; None for none.
    """
    return cast("T", InProcess(service, timeout))


class InProcess:
    """Has the methods of the service, each wrapped when it is first used."""

    def __init__(self, service: object, timeout: float | None) -> None:
        self._service = service
        self._timeout = timeout

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._service, name)
        if name.startswith("_") or not callable(method):
            return method
        where = f"{type(self._service).__name__}.{name}"
        made = _unary(method, where, self._timeout) if inspect.iscoroutinefunction(method) else _stream(method, where)
        setattr(self, name, made)
        return made


class _Source:
    """A caller's source of messages that remembers how it failed."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self.error: Exception | None = None

    async def __aiter__(self) -> AsyncIterator[Any]:
        try:
            async for message in each(self._messages):
                yield message
        except Exception as error:
            self.error = error
            raise SenderFailed(error) from error

    async def close(self) -> None:
        await close_source(self._messages)


def _unary(method: Callable[[Any], Awaitable[Any]], where: str, timeout: float | None) -> Callable[[Any], Any]:
    async def call(message: Any, /) -> Any:
        # Only calls with one request have a default deadline, here as in a stub.
        limit = asyncio.timeout(None if isinstance(message, AsyncIterable) else timeout)
        try:
            async with limit:
                return await method(message)
        except asyncio.CancelledError as error:
            raise _if_inside(error, where) from error
        except Exception as error:
            if limit.expired():
                raise DeadlineExceeded(f"no answer from {where} in time") from error
            raise from_handler(error, where) from error

    return call


def _stream(method: Callable[[Any], Any], where: str) -> Callable[[Any], AsyncIterator[Any]]:
    async def call(request: Any, /) -> AsyncIterator[Any]:
        source = _Source(request) if isinstance(request, AsyncIterable) or _is_plain(request) else None
        try:
            async with aclosing(method(request if source is None else aiter(source))) as answers:
                async for answer in answers:
                    yield answer
        except asyncio.CancelledError as error:
            raise _if_inside(error, where) from error
        except Exception as error:
            if source is not None and source.error is not None:
                raise source.error from None
            raise from_handler(error, where) from error
        finally:
            if source is not None:
                await source.close()
        if source is not None and source.error is not None:
            raise source.error

    return call


def _is_plain(request: Any) -> bool:
    return isinstance(request, list | tuple) or inspect.isgenerator(request)


def _if_inside(error: asyncio.CancelledError, where: str) -> BaseException:
    """The cancellation itself, or a failure if it was not this call that was cancelled."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        return error
    return from_handler(RuntimeError(f"cancelled inside: {error}"), where)
