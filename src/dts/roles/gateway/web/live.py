"""Keeps an open page up to date: looks again and again, and sends the parts whose text has changed.

What moves sends no hints (they are kept off the hot path), so this polls; the dearer a look, the longer until the next.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from dts.domain.errors import DtsError, Unauthenticated
from dts.roles.gateway.web.door import HEADERS, Visit
from dts.rpc.http_bounds import STALLED_SECONDS, cut_off
from dts.runtime.clock import monotonic

EVERY_SECONDS = 0.5
"""A change is seen within a second."""

REST = 4
"""A page that is open takes at most a fifth of a processor."""

ALIVE_SECONDS = 15.0
"""So often something is said, for proxies that end what is silent."""

Parts = Mapping[str, str]
"""The text of each part of a page, by its id."""


async def keep_up(
    visit: Visit, look: Callable[[], Awaitable[Parts]], *, done: Callable[[], bool] = lambda: False
) -> web.StreamResponse:
    """Sends what has changed until the page is left, the server stops, or the person is no longer let in.

    Args:
        visit: who looks.
        look: makes the parts anew.
        done: whether nothing will change any more.
    """
    events = Events(visit)
    await events.open()
    shown: dict[str, str] = {}
    while not visit.is_over:
        began = monotonic()
        try:
            parts = await look()
        except Unauthenticated:
            await events.send("over", {})
            break
        except DtsError as error:
            await events.send("trouble", {"message": error.message})
        else:
            changed = {name: text for name, text in parts.items() if shown.get(name) != text}
            shown.update(changed)
            await events.send("parts", changed) if changed else await events.say_something()
            if done():
                await events.send("end", {})
                break
        await asyncio.sleep(max(EVERY_SECONDS, REST * (monotonic() - began)))
    return events.response


class Events:
    """A stream of server-sent events."""

    def __init__(self, visit: Visit) -> None:
        headers = {**HEADERS, "Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}
        self.response = visit.streaming = web.StreamResponse(headers=headers)
        self._request = visit.request
        self._spoke = monotonic()

    async def open(self) -> None:
        """Begins; who comes back after a break waits a moment."""
        await self.response.prepare(self._request)
        await self._write(b"retry: 1000\n\n")

    async def send(self, name: str, content: object) -> None:
        """One event; its content as JSON, which has no ends of lines."""
        await self._write(f"event: {name}\ndata: {json.dumps(content)}\n\n".encode())

    async def say_something(self) -> None:
        """Lets the other side know, now and then, that nothing has changed."""
        if monotonic() > self._spoke + ALIVE_SECONDS:
            await self._write(b": \n\n")

    async def _write(self, data: bytes) -> None:
        await write(self._request, self.response, data)
        self._spoke = monotonic()


async def write(request: web.Request, response: web.StreamResponse, data: bytes) -> None:
    """A piece of an answer.

    Raises:
        ConnectionError: whoever asked has left, or does not read; then they are cut off.
    """
    try:
        async with asyncio.timeout(STALLED_SECONDS):
            await response.write(data)
    except TimeoutError:
        cut_off(request)
        raise ConnectionResetError from None
