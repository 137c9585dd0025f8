"""What runs printed, in pieces."""

from __future__ import annotations

import zlib
from datetime import UTC
from uuid import UUID

import asyncpg

from dts.domain.errors import InvalidArgument, NotFound, Unavailable
from dts.domain.ids import from_micros, parse_id
from dts.pb.dts.v1 import (
    AppendLogsRequest,
    AppendLogsResponse,
    LogBatch,
    LogChunk,
    LogEntry,
    LogStream,
    ReadLogsRequest,
    ReadLogsResponse,
)
from dts.store.pool import errors
from dts.store.queries import sql
from dts.store.wakeups import Wakeups

CHUNK_BYTES = 256 * 1024
LATEST = 7_258_118_400_000_000
"""Microseconds since the epoch: the year 2200, beyond which no schedule goes."""

READ_BYTES = 512 * 1024
READ_CHUNKS = 200


class LogStore:
    """Table log_chunk."""

    def __init__(self, pool: asyncpg.Pool, wakeups: Wakeups) -> None:
        self._pool = pool
        self._wakeups = wakeups

    async def append(self, request: AppendLogsRequest) -> AppendLogsResponse:
        """Stores pieces of logs of attempts that the node holds or held.

        Raises:
            Unavailable: the node is known by another incarnation: a younger one, or this one has still to register.
        """
        incarnation = parse_id(request.incarnation, field="incarnation")
        entries = [_checked(entry) for entry in (request.batch or LogBatch()).entries]
        chunks = [entry.chunk or LogChunk() for entry in entries]
        with errors():
            if entries and await self._pool.fetchval(sql("node_incarnation"), request.node_id) != incarnation:
                why = f"node {request.node_id[:64]} has not registered with this incarnation"
                raise Unavailable(why, code="node.incarnation")
            rows = await self._pool.fetch(
                sql("append_logs"),
                request.node_id,
                [UUID(bytes=entry.run_id) for entry in entries],
                [from_micros(entry.scheduled_at).date() for entry in entries],
                [chunk.attempt for chunk in chunks],
                [chunk.stream.value for chunk in chunks],
                [chunk.offset for chunk in chunks],
                [entry.length for entry in entries],
                [chunk.cut_before for chunk in chunks],
                [entry.compressed for entry in entries],
                [chunk.content for chunk in chunks],
                [chunk.at for chunk in chunks],
            )
        for run_id in {row["run_id"] for row in rows}:
            self._wakeups.wake("logs", str(run_id))
        return AppendLogsResponse(stored=len(rows))

    async def read(self, request: ReadLogsRequest) -> ReadLogsResponse:
        """Pieces in the order in which they arrived, from a position on."""
        run_id = parse_id(request.run_id, field="run_id")
        with errors():
            run = await self._pool.fetchrow(sql("find_run"), run_id, run_id)
            if run is None:
                raise NotFound(f"no run {request.run_id}", code="run.unknown")
            day = run["scheduled_at"].astimezone(UTC).date()
            rows = await self._pool.fetch(
                sql("read_logs"), run_id, day, request.attempt, request.after, READ_CHUNKS + 1
            )
        return _page(rows, request)


def _page(rows: list[asyncpg.Record], request: ReadLogsRequest) -> ReadLogsResponse:
    limit = request.max_bytes or READ_BYTES
    page = ReadLogsResponse(next=request.after, more=len(rows) > READ_CHUNKS)
    size = 0
    for row in rows[:READ_CHUNKS]:
        size += row["length"]
        if page.chunks and size > limit:
            page.more = True
            break
        page.chunks.append(_chunk(row))
        page.next = row["serial"]
    return page


def _chunk(row: asyncpg.Record) -> LogChunk:
    return LogChunk(
        attempt=row["attempt"],
        stream=LogStream(row["stream"]),
        offset=row["offset"],
        content=zlib.decompress(row["content"]) if row["compressed"] else row["content"],
        at=row["at"],
        cut_before=row["cut_before"],
    )


def _checked(entry: LogEntry) -> LogEntry:
    chunk = entry.chunk
    if len(entry.run_id) != 16 or chunk is None or chunk.at is None:
        raise InvalidArgument.of("batch.entries", "log.incomplete", "each entry names its run, its piece and its time")
    if not 0 <= entry.scheduled_at <= LATEST:
        raise InvalidArgument.of("batch.entries.scheduled_at", "log.scheduled_at", "lies outside the time of runs")
    if chunk.stream not in {LogStream.STDOUT, LogStream.STDERR}:
        raise InvalidArgument.of("batch.entries.chunk.stream", "log.stream", "is stdout or stderr")
    if not 0 <= entry.length <= CHUNK_BYTES or len(chunk.content) > CHUNK_BYTES:
        raise InvalidArgument.of("batch.entries.chunk.content", "log.size", f"is longer than {CHUNK_BYTES} bytes")
    if not 0 <= chunk.offset < 2**62 or chunk.cut_before < 0:
        raise InvalidArgument.of("batch.entries.chunk.offset", "log.offset", "lies outside of a stream")
    if not (_unpacks_to(chunk.content, entry.length) if entry.compressed else len(chunk.content) == entry.length):
        raise InvalidArgument.of("batch.entries.chunk.content", "log.length", "does not have the length it claims")
    return entry


def _unpacks_to(content: bytes, length: int) -> bool:
    """Whether it is all of what it claims to be, and no more: readers rely on it."""
    try:
        decompressor = zlib.decompressobj()
        plain = decompressor.decompress(content, length + 1)
    except zlib.error as error:
        raise InvalidArgument.of(
            "batch.entries.chunk.content", "log.compression", f"is not zlib data: {error}"
        ) from error
    return len(plain) == length and decompressor.eof
