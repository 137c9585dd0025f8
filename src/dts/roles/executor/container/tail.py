"""What a container prints, handed on once each, from its beginning, across streams that break."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Protocol

from dts.docker.logs import Piece, seconds_of
from dts.domain.errors import DtsError, NotFound
from dts.pb.dts.v1 import LogStream
from dts.roles.executor.work import Emit

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 3.0

IDLE_SECONDS = 3.0
"""A stream that is silent so long after the container's end is asked anew: some engines forget to end it."""

REST_SECONDS = 30.0
"""A rest of which nothing comes for so long counts as lost: an engine hangs, or a node whose managers ask for it."""

LAST_TRIES = 5
"""How often the rest is asked for before it counts as lost."""

SLACK_SECONDS = 1
"""Pieces of the two streams may be kept out of order, by as long as a write takes: where a stream broke off, one may
come that is older than the last that came."""

PIECE_BYTES = 16 * 1024
"""Engines cut longer lines in pieces of this size."""

_STREAMS = {1: LogStream.STDOUT, 2: LogStream.STDERR}


@dataclass(slots=True)
class Cursor:
    """How far a stream was handed on: up to the piece number `seen` of those with the instant `at`.

    Pieces of one line have the same instant, so it takes both to name a place.
    """

    at: str = ""
    seen: int = 0
    _owes_newline: bool = False
    _to_skip: int = -1

    def rewind(self) -> None:
        """What comes next may have come before."""
        self._to_skip = self.seen

    def takes(self, piece: Piece) -> bool:
        """Whether a piece is new; moves on if it is."""
        if self._to_skip >= 0 and piece.at <= self.at:
            if piece.at < self.at:
                return False
            if self._to_skip > 0:
                self._to_skip -= 1
                return False
        self._to_skip = -1
        self.seen = self.seen + 1 if piece.at == self.at else 1
        self.at = piece.at
        return True

    def content(self, piece: Piece) -> bytes:
        """What was printed. Of a line that was cut, engines keep all but the newline: it is put back if more follows.

        A short piece without one is the end of such a line, or of the output.
        """
        content = b"\n" + piece.content if self._owes_newline else piece.content
        self._owes_newline = len(piece.content) < PIECE_BYTES and not piece.content.endswith(b"\n")
        return content


class Printer(Protocol):
    """Has the log of a container, or of all containers of a service."""

    def logs(self, container: str, /, *, since: str, follow: bool) -> AsyncGenerator[list[Piece]]:
        """What was printed since an instant; see `Engine.logs`."""
        ...


class Tail:
    """Follows the log of one container. idle: seconds of silence after its end, after which the rest is asked for."""

    def __init__(self, engine: Printer, container: str, emit: Emit, *, idle: float = IDLE_SECONDS) -> None:
        self._engine = engine
        self._container = container
        self._emit = emit
        self._idle = idle
        self._cursors = {stream: Cursor() for stream in _STREAMS}
        self._over = asyncio.Event()
        self._reads = 0
        self._broke_off = False
        self._emitting = False

    async def follow(self) -> None:
        """Hands on what is printed until the container is over; `finish` takes the rest."""
        pause = FIRST_PAUSE
        while not self._over.is_set():
            reads = self._reads
            try:
                await self._read(follow=True)
            except NotFound:
                return
            except DtsError as error:
                log.info("the log of %s broke off: %s", self._container[:12], error)
            pause = FIRST_PAUSE if self._reads > reads else min(pause * 2, LONGEST_PAUSE)
            await self._paused(pause)

    async def finish(self, follower: asyncio.Task[None]) -> None:
        """Hands on the rest of a container that has ended; what the engine cannot give any more is lost."""
        self._over.set()
        if await self._until_silent(follower, self._idle):
            follower.result()
        await self._take_rest()

    async def _until_silent(self, reading: asyncio.Task[None], seconds: float) -> bool:
        """Waits while something comes or is being handed on, and ends what falls silent; whether it came to its end."""
        while not reading.done():
            reads = self._reads
            await asyncio.wait([reading], timeout=seconds)
            if not reading.done() and reads == self._reads and not self._emitting:
                reading.cancel()
                await asyncio.wait([reading])
        return not reading.cancelled()

    async def _take_rest(self) -> None:
        for attempt in range(LAST_TRIES):
            try:
                return await self._read_rest()
            except NotFound:
                return None
            except DtsError as error:
                log.warning("the rest of the log of %s cannot be read: %s", self._container[:12], error)
            await asyncio.sleep(FIRST_PAUSE * 2**attempt)
        return None

    async def _read_rest(self) -> None:
        reading = asyncio.create_task(self._read(follow=False))
        try:
            if await self._until_silent(reading, REST_SECONDS):
                reading.result()
            else:
                log.warning("the rest of the log of %s does not come: it is lost", self._container[:12])
        finally:
            reading.cancel()

    async def _paused(self, seconds: float) -> None:
        waiting = asyncio.ensure_future(self._over.wait())
        try:
            await asyncio.wait([waiting], timeout=seconds)
        finally:
            waiting.cancel()

    async def _read(self, *, follow: bool) -> None:
        for cursor in self._cursors.values():
            cursor.rewind()
        batches = self._engine.logs(self._container, since=self._since(), follow=follow)
        self._broke_off = True
        async with aclosing(batches) as stream:
            async for pieces in stream:
                self._reads += 1
                await self._hand_on([piece for piece in pieces if self._cursors[piece.stream].takes(piece)])
        self._broke_off = False

    async def _hand_on(self, pieces: list[Piece]) -> None:
        self._emitting = True
        try:
            for stream, content in _joined((p.stream, self._cursors[p.stream].content(p)) for p in pieces):
                await self._emit(_STREAMS[stream], content)
        finally:
            self._emitting = False

    def _since(self) -> str:
        latest = max(cursor.at for cursor in self._cursors.values())
        if not latest:
            return "0"
        whole, _, nanos = seconds_of(latest).partition(".")
        return f"{int(whole) - (SLACK_SECONDS if self._broke_off else 0)}.{nanos}"


def _joined(printed: Iterable[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Neighbours of the same stream as one: a call for each line would cost more than the line."""
    runs = groupby(printed, key=itemgetter(0))
    return [(stream, b"".join(content for _, content in run)) for stream, run in runs]
