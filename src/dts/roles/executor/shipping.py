"""Sends logs to their store in batches, for all attempts together.

A store that is away slows the sources down and, after some seconds, costs the middle of their logs; it never costs a
result, and never more than a bounded amount of memory.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from dts.domain.errors import DtsError, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from dts.domain.ids import to_micros
from dts.pb.dts.v1 import AppendLogsRequest, LogBatch, LogChunk, LogEntry, LogStream, Node
from dts.roles.executor.attempt_log import AttemptLog, Piece
from dts.roles.executor.journal import Journal
from dts.roles.executor.keys import Key
from dts.roles.executor.ports import LogPort

log = logging.getLogger(__name__)

GATHER_SECONDS = 0.05
GATHER_BYTES = 64 * 1024
BATCH_BYTES = 1024 * 1024
COMPRESS_BYTES = 1024
ROOM_BYTES = 32 * 1024 * 1024
"""How much may wait to be sent before sources must wait too."""

PATIENCE_SECONDS = 10.0
"""How long a source waits for room, and a result for the rest of its log."""

SEND_SECONDS = 10.0
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0
_REFUSALS = (InvalidArgument, NotFound, FailedPrecondition, PermissionDenied)


@dataclass(frozen=True, slots=True)
class _Load:
    """A piece on its way."""

    source: LogSource
    piece: Piece


class LogSource:
    """The log of one attempt, as its runner sees it: `emit` is what `Work.wait` is given."""

    def __init__(self, key: Key, scheduled_at: datetime, log: AttemptLog, shipper: Shipper) -> None:
        self.key = key
        self.scheduled_at = scheduled_at
        self.log = log
        self.under_way = 0
        self.finished = False
        self.sent = asyncio.Event()
        """Set once the log is finished and everything was sent."""
        self._shipper = shipper

    async def emit(self, stream: LogStream, data: bytes) -> None:
        """Takes what the attempt printed; waits while too much is unsent."""
        if not data:
            return
        before = self.log.pending
        self.log.streams[stream].add(data)
        self._shipper.grown(self, self.log.pending - before)
        if self._shipper.crowded and self.log.pending > before:
            await self._room()

    async def close(self) -> None:
        """Sends the rest, and waits for that within reason. What is not sent by then follows later."""
        before = self.log.pending
        self.log.finish()
        self.finished = True
        self._shipper.grown(self, self.log.pending - before, urgent=True)
        self.check()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self.sent.wait()
        except TimeoutError:
            log.warning("the log store is away: the rest of a log is sent later", extra={"bytes": self.log.pending})

    def check(self) -> None:
        """Notes whether all is sent."""
        if self.finished and not self.log.pending and not self.under_way:
            self.sent.set()

    async def _room(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._shipper.room()
        except TimeoutError:
            self._shipper.stopped(self.key, self.log.stop_heads())


class Shipper:
    """One per executor."""

    def __init__(
        self, store: LogPort, journal: Journal, *, now: Callable[[], datetime], rand: Callable[[], float]
    ) -> None:
        self._store = store
        self._journal = journal
        self._now = now
        self._rand = rand
        self._node = Node()
        self._named = asyncio.Event()
        self._waiting: dict[Key, LogSource] = {}
        self._pending = 0
        self._some = asyncio.Event()
        self._urgent = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    def send_as(self, node: Node) -> None:
        """Who sends from now on. Before the first time nothing is sent: a store would refuse it for good."""
        self._node = node
        self._named.set()

    def source(self, key: Key, scheduled_at: datetime) -> LogSource:
        """The log of an attempt; goes on where an earlier process stopped."""
        entry = self._journal.entries.get(key)
        return LogSource(key, scheduled_at, AttemptLog(entry.sent if entry else None), self)

    @property
    def crowded(self) -> bool:
        """Whether sources must wait."""
        return self._pending > ROOM_BYTES

    async def room(self) -> None:
        """Waits until sources need not."""
        await self._room.wait()

    def grown(self, source: LogSource, by: int, *, urgent: bool = False) -> None:
        """A source has more to send."""
        if by > 0 or (urgent and source.log.pending):
            self._waiting[source.key] = source
            self._pending += by
            self._some.set()
            if self.crowded:
                self._room.clear()
                self._drop_finished()
        if urgent or self._pending >= GATHER_BYTES:
            self._urgent.set()

    def stopped(self, key: Key, heads: Mapping[int, tuple[int, int]]) -> None:
        """A source could not wait any longer: a later process must cut its log in the same places."""
        for stream, (start, end) in heads.items():
            self._journal.logs(key, stream, start, end)

    async def run(self) -> None:
        """Sends until cancelled."""
        while True:
            await self._some.wait()
            await self._gather()
            if loads := self._take():
                await self._ship(loads)

    async def _gather(self) -> None:
        """More may come in a moment, and one call for both is better."""
        try:
            async with asyncio.timeout(GATHER_SECONDS):
                await self._urgent.wait()
        except TimeoutError:
            pass

    def _take(self) -> list[_Load]:
        loads: list[_Load] = []
        size = 0
        for source in list(self._waiting.values()):
            while size < BATCH_BYTES and (piece := source.log.take()) is not None:
                source.under_way += 1
                size += len(piece.content)
                loads.append(_Load(source, piece))
            if size >= BATCH_BYTES:
                break
            del self._waiting[source.key]
        if not self._waiting:
            self._some.clear()
            self._urgent.clear()
        self._announce(loads)
        return loads

    def _announce(self, loads: Iterable[_Load]) -> None:
        ranges: dict[tuple[Key, LogStream], tuple[int, int]] = {}
        for load in loads:
            piece = load.piece
            start, _ = ranges.get((load.source.key, piece.stream), (piece.offset, 0))
            ranges[load.source.key, piece.stream] = (start, piece.end)
        for (key, stream), (start, end) in ranges.items():
            self._journal.logs(key, stream, start, end)

    async def _ship(self, loads: list[_Load]) -> None:
        at = self._now()
        entries = await asyncio.to_thread(lambda: [_entry(load, at) for load in loads])
        await self._send(LogBatch(entries=entries))
        self._pending -= sum(len(load.piece.content) for load in loads)
        for load in loads:
            load.source.under_way -= 1
            load.source.check()
        if not self.crowded:
            self._room.set()

    async def _send(self, batch: LogBatch) -> None:
        """Until it is stored, or refused for good."""
        pause = FIRST_PAUSE
        while True:
            await self._named.wait()
            request = AppendLogsRequest(node_id=self._node.id, incarnation=self._node.incarnation, batch=batch)
            try:
                async with asyncio.timeout(SEND_SECONDS):
                    await self._store.append_logs(request)
            except _REFUSALS as error:
                log.warning("the log store refuses what a run printed: %s", error)
            except (DtsError, TimeoutError) as error:
                log.log(_gravity(error), "the log store is away: %s", error)
                await asyncio.sleep(pause * (0.5 + self._rand() / 2))
                pause = min(LONGEST_PAUSE, pause * 2)
                continue
            return

    def _drop_finished(self) -> None:
        """Attempts that are over cannot be made to wait: the oldest of them lose what is unsent."""
        for source in list(self._waiting.values()):
            if self._pending <= 2 * ROOM_BYTES:
                return
            if source.finished:
                log.warning("the log store is away for long: the rest of a log is dropped")
                self._pending -= source.log.pending
                del self._waiting[source.key]
                while source.log.take() is not None:
                    pass
                source.check()


def _gravity(error: Exception) -> int:
    """At a start logs may be sooner than the node's Hello: that is nothing to tell of."""
    is_early = isinstance(error, DtsError) and error.code == "node.incarnation"
    return logging.DEBUG if is_early else logging.INFO


def _entry(load: _Load, at: datetime) -> LogEntry:
    piece = load.piece
    content = piece.content
    compressed = len(content) > COMPRESS_BYTES
    run_id, number = load.source.key
    chunk = LogChunk(
        attempt=number,
        stream=piece.stream,
        offset=piece.offset,
        content=zlib.compress(content) if compressed else content,
        at=at,
        cut_before=piece.cut_before,
    )
    return LogEntry(
        run_id=run_id,
        scheduled_at=to_micros(load.source.scheduled_at),
        chunk=chunk,
        compressed=compressed,
        length=len(content),
    )
