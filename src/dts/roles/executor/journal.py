"""The journal: what must outlive the process. A kill at any moment loses no result that was handed in.

A record is written (one system call) before what it announces is done, so a killed process loses nothing; `synced`
waits until it would outlive the machine as well. A last record that is torn is cut off. The file is rewritten when
most of it is about attempts that are forgotten.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from pathlib import Path

from dts.domain.errors import FailedPrecondition
from dts.domain.ids import to_micros
from dts.pb.dts.v1 import Assignments, Reports
from dts.roles.executor.keys import Key

log = logging.getLogger(__name__)

COMPACT_BYTES = 4 * 1024 * 1024
_HEADER = struct.Struct("<II")
_BODY = struct.Struct("<Bq16si")
_SENT = struct.Struct("<Bqq")


class _Record(IntEnum):
    JOB = 1
    STARTED = 2
    RESULT = 3
    FORGOTTEN = 4
    LOGS = 5


@dataclass(slots=True)
class Entry:
    """What is known of an attempt. Instants are of the wall clock, in microseconds since the epoch.

    job: one row of Assignments, with times that count from job_at. result: one row of Reports, with times that count
    back from its sent_at by the database's clock, and from result_at by the machine's.
    sent: by stream, the last range of the log that was sent, or was about to be; see AttemptLog.
    """

    job: bytes = b""
    job_at: int = 0
    started_at: int | None = None
    result: bytes = b""
    result_at: int = 0
    sent: dict[int, tuple[int, int]] = field(default_factory=dict)


class Journal:
    """One file; see `open_journal`. Errors of the disk are logged, and never keep a result from being reported."""

    def __init__(self, path: Path, now: Callable[[], datetime]) -> None:
        self.entries: dict[Key, Entry] = {}
        """What is not forgotten."""
        self._path = path
        self._now = now
        self._file = -1
        self._size = 0
        self._broken = False
        self._written = 0
        self._durable = 0
        self._syncing: asyncio.Task[None] | None = None
        self._lock = -1

    def open(self) -> None:
        """Reads what an earlier process left.

        Raises:
            FailedPrecondition: another executor uses the directory.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self._path.with_suffix(".lock"))
        for path in (self._old, self._path):
            if path.exists():
                self._replay(path.read_bytes())
        self._rewrite()
        self._old.unlink(missing_ok=True)

    async def close(self) -> None:
        """Lets go of the file once it is on the disk."""
        await self.synced()
        for descriptor in (self._file, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._lock = -1

    # -- what is written

    def job(self, key: Key, assignments: Assignments) -> None:
        """The node holds the attempt."""
        self._append(_Record.JOB, key, bytes(assignments))

    def started(self, key: Key, *, ago: float = 0.0) -> None:
        """The attempt is about to start, or began `ago` seconds ago. Said before, too, so that none starts twice."""
        self._append(_Record.STARTED, key, ago=ago)

    def result(self, key: Key, reports: Reports) -> None:
        """The attempt is over."""
        self._append(_Record.RESULT, key, bytes(reports))

    def forget(self, keys: Iterable[Key]) -> list[Key]:
        """Nobody will ask for these again; answers which of them there were."""
        known = [key for key in keys if key in self.entries]
        for key in known:
            self._append(_Record.FORGOTTEN, key)
        return known

    def logs(self, key: Key, stream: int, start: int, end: int) -> None:
        """A range of the log is about to be sent: after a restart the same pieces are sent again, not others."""
        if key in self.entries:
            self._append(_Record.LOGS, key, _SENT.pack(stream, start, end))

    async def synced(self) -> None:
        """Waits until all that is written so far is on the disk, or the disk has failed."""
        ticket = self._written
        while self._durable < ticket:
            if self._syncing is None:
                self._syncing = asyncio.create_task(self._sync(), name="journal")
            await asyncio.shield(self._syncing)

    # -- how

    @property
    def _old(self) -> Path:
        return self._path.with_suffix(".old")

    def _append(self, kind: _Record, key: Key, content: bytes = b"", *, ago: float = 0.0) -> None:
        at = to_micros(self._now()) - round(ago * 1_000_000)
        self._apply(kind, at, key, content)
        self._written += 1
        self._write(_framed(kind, at, key, content))

    def _write(self, data: bytes) -> None:
        if self._file < 0:
            return
        try:
            if self._broken:
                self._rewrite()  # holds the new record too
            else:
                _write_all(self._file, data)
                self._size += len(data)
        except OSError as error:
            if not self._broken:
                log.exception("the journal cannot be written: results are kept in memory only", exc_info=error)
            self._broken = True

    async def _sync(self) -> None:
        try:
            target = self._written
            try:
                await asyncio.to_thread(os.fdatasync, self._file)
                await self._compact()
            except OSError as error:
                log.warning("the journal cannot be written to the disk: %s", error.strerror or error)
            self._durable = target
        finally:
            self._syncing = None

    async def _compact(self) -> None:
        if self._size < COMPACT_BYTES or sum(map(len, self._snapshot())) > self._size // 4:
            return
        # The old file stays until the new one is on the disk; whoever reads both in order reads the same.
        if self._path.exists():  # else the disk was full at this point, and the old file is the one that is written to
            self._path.replace(self._old)
        self._rewrite()
        await asyncio.to_thread(os.fdatasync, self._file)
        self._old.unlink(missing_ok=True)

    def _rewrite(self) -> None:
        fresh = self._path.with_suffix(".new")
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        try:
            data = b"".join(self._snapshot())
            _write_all(file, data)
            fresh.replace(self._path)
        except OSError:
            os.close(file)
            raise
        if self._file >= 0:
            os.close(self._file)
        self._file, self._size, self._broken = file, len(data), False

    def _snapshot(self) -> Iterator[bytes]:
        for key, entry in self.entries.items():
            if entry.job:
                yield _framed(_Record.JOB, entry.job_at, key, entry.job)
            if entry.started_at is not None:
                yield _framed(_Record.STARTED, entry.started_at, key)
            for stream, (start, end) in entry.sent.items():
                yield _framed(_Record.LOGS, 0, key, _SENT.pack(stream, start, end))
            if entry.result:
                yield _framed(_Record.RESULT, entry.result_at, key, entry.result)

    def _replay(self, data: bytes) -> None:
        for kind, at, key, content in _records(data):
            self._apply(kind, at, key, content)

    def _apply(self, kind: _Record, at: int, key: Key, content: bytes) -> None:
        if kind is _Record.FORGOTTEN:
            self.entries.pop(key, None)
            return
        entry = self.entries.setdefault(key, Entry())
        match kind:
            case _Record.JOB:
                entry.job, entry.job_at = content, at
            case _Record.STARTED:
                entry.started_at = at
            case _Record.RESULT:
                entry.result, entry.result_at = content, at
            case _Record.LOGS:
                stream, start, end = _SENT.unpack(content)
                entry.sent[stream] = (start, end)


def open_journal(data_dir: Path, now: Callable[[], datetime]) -> Journal:
    """The journal of a data directory, with what an earlier process left in it.

    Raises:
        FailedPrecondition: another executor uses the directory.
    """
    journal = Journal(data_dir / "attempts.journal", now)
    journal.open()
    return journal


def _locked(path: Path) -> int:
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        why = f"another executor uses the directory {path.parent}; each one needs its own"
        raise FailedPrecondition(why, code="executor.directory") from error
    return lock


def _framed(kind: _Record, at: int, key: Key, content: bytes = b"") -> bytes:
    body = _BODY.pack(kind, at, *key) + content
    return _HEADER.pack(len(body), zlib.crc32(body)) + body


def _records(data: bytes) -> Iterator[tuple[_Record, int, Key, bytes]]:
    """Every record up to the first that is not whole."""
    position = 0
    while position + _HEADER.size <= len(data):
        length, checksum = _HEADER.unpack_from(data, position)
        body = data[position + _HEADER.size : position + _HEADER.size + length]
        if len(body) < max(length, _BODY.size) or zlib.crc32(body) != checksum:
            break
        position += _HEADER.size + length
        kind, at, run_id, number = _BODY.unpack_from(body)
        yield _Record(kind), at, (run_id, number), body[_BODY.size :]
    if position < len(data):
        log.warning("the journal ends with %d bytes that are no record: they are cut off", len(data) - position)


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
