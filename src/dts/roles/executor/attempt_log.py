"""What one attempt prints, until it is sent: the beginning of each stream at once, its end when the attempt is over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dts.pb.dts.v1 import LogStream

CHUNK_BYTES = 256 * 1024
HEAD_BYTES = 512 * 1024
"""How much of the beginning of a stream is kept."""

TAIL_BYTES = 512 * 1024
"""How much of its end is kept."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a stream from `offset` on. cut_before: how many bytes just before it were not kept."""

    stream: LogStream
    offset: int
    content: bytes
    cut_before: int = 0

    @property
    def end(self) -> int:
        """Offset of the first byte after it."""
        return self.offset + len(self.content)


class StreamLog:
    """One stream.

    Args:
        stream: which.
        sent: the last range that an earlier process sent or was about to send. What is before it is not sent again,
            and it is cut at the same place, so that the store knows the pieces.
        stopped: where an earlier process had to end the head; None if it had not.
    """

    def __init__(self, stream: LogStream, sent: tuple[int, int] = (0, 0), stopped: int | None = None) -> None:
        self.seen = 0
        """Bytes that were printed."""
        self._stream = stream
        self._start, self._boundary = sent
        self._stopped = stopped is not None
        self._head_end = max(HEAD_BYTES if stopped is None else stopped, self._start)
        self._head = bytearray()
        self._next = self._start
        """Offset of the first byte of the head that is not taken."""
        self._tail = bytearray()
        self._cut = 0
        self._finished = False

    @property
    def pending(self) -> int:
        """Bytes that could be sent."""
        return len(self._head) + (len(self._tail) if self._finished else 0)

    def add(self, data: bytes) -> None:
        """Takes what was printed."""
        room = max(0, self._head_end - self.seen)
        known = max(0, self._start - self.seen)
        self._head += data[known:room]
        self.seen += len(data)
        if len(data) > room:
            self._tail += memoryview(data)[room:]
            if len(self._tail) > 2 * TAIL_BYTES:
                self._trim()

    def stop_head(self) -> int | None:
        """Nothing can be sent for now: what comes from here on counts as the end of the stream.

        Not before what an earlier process has sent: that would be cut anew.

        Returns:
            Where the head ends; None if it was stopped before, or has come to its own end.
        """
        end = max(self.seen, self._boundary)
        if self._stopped or end >= self._head_end:
            return None
        self._stopped, self._head_end = True, end
        return end

    def finish(self) -> None:
        """Nothing more will come: the tail may be sent."""
        if not self._finished:
            self._trim()
            self._finished = True

    def take(self) -> Piece | None:
        """The next piece; None if there is none now."""
        if self._head:
            return self._take_head()
        if self._finished and self._tail:
            return self._take_tail()
        return None

    def _take_head(self) -> Piece | None:
        size = CHUNK_BYTES
        if self._next < self._boundary:
            size = min(size, self._boundary - self._next)
            if len(self._head) < size and not self._finished:
                return None
        content = bytes(self._head[:size])
        del self._head[:size]
        piece = Piece(self._stream, self._next, content)
        self._next = piece.end
        return piece

    def _take_tail(self) -> Piece:
        content = bytes(self._tail[:CHUNK_BYTES])
        piece = Piece(self._stream, self.seen - len(self._tail), content, self._cut)
        self._cut = 0
        del self._tail[:CHUNK_BYTES]
        return piece

    def _trim(self) -> None:
        surplus = max(0, len(self._tail) - TAIL_BYTES)
        self._cut += surplus
        del self._tail[:surplus]


STOPPED = 128
"""With it added, the number of a stream stands for where its head was stopped."""


class AttemptLog:
    """Both streams of an attempt.

    Args:
        sent: by the number of a stream, what an earlier process sent of it last; and see STOPPED.
    """

    def __init__(self, sent: Mapping[int, tuple[int, int]] | None = None) -> None:
        ranges = sent or {}
        self.streams = {
            stream: StreamLog(stream, ranges.get(stream, (0, 0)), ranges.get(stream + STOPPED, (None,))[0])
            for stream in (LogStream.STDOUT, LogStream.STDERR)
        }

    @property
    def seen(self) -> int:
        """Bytes that were printed."""
        return sum(stream.seen for stream in self.streams.values())

    @property
    def pending(self) -> int:
        """Bytes that could be sent."""
        return sum(stream.pending for stream in self.streams.values())

    def take(self) -> Piece | None:
        """The next piece of either stream."""
        for stream in self.streams.values():
            if (piece := stream.take()) is not None:
                return piece
        return None

    def finish(self) -> None:
        """Nothing more will come."""
        for stream in self.streams.values():
            stream.finish()

    def stop_heads(self) -> dict[int, tuple[int, int]]:
        """See StreamLog. Answers with what the next process must know, to be merged with `sent`."""
        ends = {stream: one.stop_head() for stream, one in self.streams.items()}
        return {stream + STOPPED: (end, end) for stream, end in ends.items() if end is not None}
