"""What a run printed, as lines: each of one stream, without the codes that steer terminals."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dts.pb.dts.v1 import LogChunk, LogStream

LONGEST = 8192
"""A line that is longer is broken: something that prints no ends of lines must not hold everything back."""

_STEERING = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])|[\x00-\x08\x0b-\x1f\x7f]")

OUT, ERR, NOTE = "out", "err", "note"
_KINDS = {LogStream.STDOUT: OUT, LogStream.STDERR: ERR}


@dataclass(frozen=True, slots=True)
class Line:
    """kind: out, err, or note for what dts says about the log."""

    kind: str
    text: str


class LogLines:
    """Makes lines of chunks, in the order in which their ends were read."""

    def __init__(self) -> None:
        self._open: dict[str, bytes] = {}
        self._attempt = 0

    def take(self, chunks: Iterable[LogChunk]) -> Iterator[Line]:
        """The lines that are whole by now."""
        for chunk in chunks:
            if chunk.attempt != self._attempt:
                yield from self.rest()
                if self._attempt:
                    yield Line(NOTE, f"attempt {chunk.attempt}")
                self._attempt = chunk.attempt
            kind = _KINDS.get(chunk.stream, OUT)
            if chunk.cut_before:
                yield from self.rest()
                yield Line(NOTE, f"{chunk.cut_before} bytes were cut here")
            *whole, self._open[kind] = (self._open.get(kind, b"") + chunk.content).split(b"\n")
            for line in whole:
                yield from _lines(kind, line)
            while len(self._open[kind]) > LONGEST:
                yield from _lines(kind, self._open[kind][:LONGEST])
                self._open[kind] = self._open[kind][LONGEST:]

    def rest(self) -> Iterator[Line]:
        """What has no end yet, once no more will come."""
        for kind, line in self._open.items():
            if line:
                yield from _lines(kind, line)
        self._open.clear()


def _lines(kind: str, line: bytes) -> Iterator[Line]:
    for begin in range(0, max(len(line), 1), LONGEST):
        yield Line(kind, _STEERING.sub("", line[begin : begin + LONGEST].decode("utf-8", "replace")))
