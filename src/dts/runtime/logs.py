"""One line per record: `key=value` for people, JSON for machines.

What a record carries in `extra` becomes its fields, and so does what the coroutine that writes it is about. Secrets
named at the set-up are struck out wherever they appear.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal, TextIO

Format = Literal["text", "json"]

# What every record has; anything else came with `extra`.
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
# Others have a say in messages, and would write on the terminal what they like.
_VISIBLE = {code: repr(chr(code))[1:-1] for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, 0x202E)}
_ABOUT: ContextVar[Mapping[str, object]] = ContextVar("about")
_QUIET = ("asyncio", "grpclib", "aiohttp", "hpack")


def configure(
    *, level: str = "INFO", form: Format | None = None, secrets: Iterable[str] = (), stream: TextIO | None = None
) -> None:
    """Set up logging for this process.

    Args:
        level: of dts's own loggers; libraries report warnings only.
        form: text or json; by default text on a terminal and json elsewhere.
        secrets: struck out of every line.
        stream: where to; by default standard error.
    """
    out = stream or sys.stderr
    handler = logging.StreamHandler(out)
    chosen = form or ("text" if out.isatty() else "json")
    hidden = tuple(secret for secret in secrets if secret)
    handler.addFilter(_add_about)
    handler.setFormatter(TextFormatter(hidden) if chosen == "text" else JsonFormatter(hidden))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def about(**fields: object) -> None:
    """From here on this coroutine, and whatever it begins, is about these: a run, its task. Lines say so."""
    _ABOUT.set({**_ABOUT.get({}), **fields})


def _add_about(record: logging.LogRecord) -> bool:
    for name, value in _ABOUT.get({}).items():
        record.__dict__.setdefault(name, value)
    return True


class _Formatter(logging.Formatter):
    def __init__(self, secrets: tuple[str, ...]) -> None:
        super().__init__()
        # A line of JSON holds them in their escaped form.
        self._secrets = {form for secret in secrets for form in (secret, json.dumps(secret, ensure_ascii=False)[1:-1])}

    def format(self, record: logging.LogRecord) -> str:
        line = self.line(record)
        for secret in self._secrets:
            line = line.replace(secret, "***")
        return line

    def line(self, record: logging.LogRecord) -> str:
        raise NotImplementedError

    def _trace(self, record: logging.LogRecord) -> str:
        return self.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""


class TextFormatter(_Formatter):
    """`14:03:07.123 INFO  scheduler: claimed runs=12`; a trace follows on lines of its own."""

    def line(self, record: logging.LogRecord) -> str:
        """The record as text."""
        name = record.name.removeprefix("dts.")
        fields = "".join(f" {key}={_plain(value)}" for key, value in _fields(record))
        message = record.getMessage().translate(_VISIBLE)
        line = f"{_instant(record):%H:%M:%S.%f}"[:-3] + f" {record.levelname:<7} {name}: {message}{fields}"
        trace = self._trace(record)
        return f"{line}\n{trace}" if trace else line


class JsonFormatter(_Formatter):
    """One object per line: at, level, logger, message, the fields, and the trace of an exception."""

    def line(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        values: dict[str, object] = {
            "at": _instant(record).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **dict(_fields(record)),
        }
        if trace := self._trace(record):
            values["exception"] = trace
        return json.dumps(values, ensure_ascii=False, default=str)


def _instant(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _fields(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    return ((key, value) for key, value in record.__dict__.items() if key not in _STANDARD)


def _plain(value: object) -> str:
    text = str(value)
    # Quoted where it would not read as one value; never more than one line.
    odd = not text or any(c.isspace() or c in '="' for c in text)
    return (json.dumps(text, ensure_ascii=False) if odd else text).translate(_VISIBLE)
