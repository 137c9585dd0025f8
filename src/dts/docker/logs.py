"""The engine's stream of logs: frames of 8 bytes and a piece, each piece with the instant it was written at."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import datetime

_HEADER = struct.Struct(">BxxxL")
_INSTANT = 30  # 2026-01-31T12:00:00.000000000Z


@dataclass(frozen=True, slots=True)
class Piece:
    """A line, or up to 16 KiB of one that is longer.

    stream: 1 is stdout, 2 is stderr.
    at: when the engine took it, in UTC with nine digits, so that it sorts as text.
    """

    stream: int
    at: str
    content: bytes


class Demultiplexer:
    """Takes bytes as they come, gives whole pieces. Tells the engine's own complaints from what was printed."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Piece]:
        """The pieces that are complete by now."""
        self._buffer += data
        return [piece for stream, frame in frames(self._buffer) if (piece := _piece(stream, frame))]


def frames(buffer: bytearray) -> list[tuple[int, bytes]]:
    """Takes the frames that are complete out of a buffer: their streams and contents."""
    at, found = 0, []
    while len(buffer) - at >= _HEADER.size:
        stream, length = _HEADER.unpack_from(buffer, at)
        begin = at + _HEADER.size
        if len(buffer) - begin < length:
            break
        at = begin + length
        found.append((stream, bytes(buffer[begin:at])))
    del buffer[:at]
    return found


def _piece(stream: int, frame: bytes) -> Piece | None:
    """None if it is not from the container: only what it printed has an instant."""
    at, space, content = frame[:_INSTANT], frame[_INSTANT : _INSTANT + 1], frame[_INSTANT + 1 :]
    if stream not in {1, 2} or space != b" " or at[-1:] != b"Z" or not at.isascii():
        return None
    return Piece(stream, at.decode("ascii"), content)


def seconds_of(at: str) -> str:
    """An instant of a piece as the engine wants it to be asked for: seconds since the epoch."""
    whole = int(datetime.fromisoformat(at[:19] + "+00:00").timestamp())
    return f"{whole}.{at[20:29]}"
