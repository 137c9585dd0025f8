"""Reads a file that a process prints into, and gives the disk back what was handed on."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
from collections.abc import Sequence
from pathlib import Path

from dts.pb.dts.v1 import LogStream
from dts.roles.executor.work import Emit, Ended

SHORTEST_PAUSE = 0.02
LONGEST_PAUSE = 0.2
"""Between two looks at what a process printed, in seconds: short while it prints, longer while it is silent."""

GIVE_BACK_EVERY = 1.0

PIECE = 64 * 1024
"""How much is read at once."""

KEEP = 16 * 1024 * 1024
"""So much of the beginning stays on the disk: a new incarnation of the executor hands it on again."""

UNREAD_LIMIT = 64 * 1024 * 1024
"""More than that waits for nobody: what is older is dropped, and a line says so."""

UNREAD_KEPT = UNREAD_LIMIT // 2

PUNCH_EVERY = 1024 * 1024
BLOCK = 64 * 1024
"""A multiple of every file system's block: a block of which a part is freed is filled with zeros instead."""

_KEEP_SIZE, _PUNCH_HOLE = 0x01, 0x02
_HEAD = 64

_libc = ctypes.CDLL(None, use_errno=True)


class Tail:
    """One stream of one attempt, from its beginning.

    A program may open /dev/stdout anew and thereby cut the file to nothing; then it is read from its new beginning.
    """

    def __init__(self, path: Path, stream: LogStream) -> None:
        self.stream = stream
        self._file = _open(path)
        self._at = 0
        self._punched = KEEP
        self._dropped = 0
        self._head = b""

    def read(self) -> bytes:
        """What comes next, at most a piece; empty if there is nothing at the moment."""
        size = os.fstat(self._file).st_size
        if self._cut(size):
            self._at, self._punched, self._head = 0, KEEP, b""
        self._skip(size)
        if self._dropped:
            note, self._dropped = f"\n[dts: {self._dropped} bytes dropped here]\n".encode(), 0
            return note
        if size <= self._at:
            return b""
        piece = os.pread(self._file, PIECE, self._at)
        self._head = self._head if self._at else piece[:_HEAD]
        self._at += len(piece)
        return piece

    def give_back(self) -> None:
        """Frees what was handed on and lies beyond what is kept, and drops what waits for too long."""
        self._skip(os.fstat(self._file).st_size)
        until = self._at - self._at % BLOCK
        if until - self._punched >= PUNCH_EVERY:
            punch(self._file, self._punched, until - self._punched)
            self._punched = until

    def close(self) -> None:
        """Lets go of the file."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def _cut(self, size: int) -> bool:
        """Whether the file was cut to nothing since, as far as its length and its beginning tell."""
        if size < self._at:
            return True
        return size > self._at > 0 and os.pread(self._file, len(self._head), 0) != self._head

    def _skip(self, size: int) -> None:
        """Passes over what is punched already, and over the older part of what is too much to wait for."""
        to = size - UNREAD_KEPT if size - self._at > UNREAD_LIMIT else self._at
        if KEEP <= to < size:
            to = _next_data(self._file, to, size)
        self._dropped += to - self._at
        self._at = to


async def follow(tails: Sequence[Tail], emit: Emit, over: asyncio.Task[Ended]) -> None:
    """Hands on what is printed until it is over and nothing is left to read; closes the tails in any case."""
    giving_back = asyncio.create_task(_give_back(tails))
    try:
        await _until_over(tails, emit, over)
    finally:
        giving_back.cancel()
        for tail in tails:
            tail.close()


async def _until_over(tails: Sequence[Tail], emit: Emit, over: asyncio.Task[Ended]) -> None:
    pause = SHORTEST_PAUSE
    while True:
        was_over = over.done()
        if await _hand_on(tails, emit):
            pause = SHORTEST_PAUSE
        elif was_over:
            return
        else:
            await asyncio.wait([over], timeout=pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)


async def _hand_on(tails: Sequence[Tail], emit: Emit) -> bool:
    """One piece of each stream; whether there was any."""
    handed = False
    for tail in tails:
        if piece := tail.read():
            await emit(tail.stream, piece)
            handed = True
    return handed


async def _give_back(tails: Sequence[Tail]) -> None:
    """Keeps the disk free also while nobody takes what was read."""
    while True:
        await asyncio.sleep(GIVE_BACK_EVERY)
        for tail in tails:
            tail.give_back()


def _open(path: Path) -> int:
    """Opens the file; a process may have removed its own, then there is nothing to read."""
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)


def punch(file: int, offset: int, length: int) -> None:
    """Frees a stretch of a file; does nothing where the file system cannot."""
    mode = _KEEP_SIZE | _PUNCH_HOLE
    _libc.fallocate(ctypes.c_int(file), ctypes.c_int(mode), ctypes.c_int64(offset), ctypes.c_int64(length))


def _next_data(file: int, offset: int, size: int) -> int:
    """Where the next data begins, at most at the end; the offset itself if the file system does not say."""
    try:
        return min(os.lseek(file, offset, os.SEEK_DATA), size)
    except OSError as error:
        return size if error.errno == errno.ENXIO else offset
