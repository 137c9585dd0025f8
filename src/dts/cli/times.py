"""Times and durations on the command line."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from dts.domain.durations import parse_duration
from dts.domain.errors import InvalidArgument
from dts.domain.words import no_time, read_rfc3339
from dts.runtime.clock import now

_LOCAL = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d)?)?", re.ASCII)


def duration(text: str, *, field: str) -> timedelta:
    """Reads `90s`, `1h30m` or a number of seconds.

    Raises:
        InvalidArgument: it is none.
    """
    try:
        return parse_duration(text)
    except ValueError as error:
        raise InvalidArgument.of(field, "duration.invalid", str(error)) from error


def instant(text: str, *, field: str) -> datetime:
    """Reads RFC 3339, a time of this machine's zone as tables show it, `+10m` from now or `-10m` ago.

    Raises:
        InvalidArgument: it is none.
    """
    if text[:1] in {"+", "-"}:
        distance = duration(text[1:], field=field)
        return now() + distance if text[0] == "+" else now() - distance
    try:
        return _on_the_wall(text) if _LOCAL.fullmatch(text) else read_rfc3339(text)
    except ValueError as error:
        raise InvalidArgument.of(field, "time.invalid", f"{error}, or +10m from now") from error


def _on_the_wall(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise ValueError(no_time(text)) from None


def past(text: str, *, field: str) -> datetime:
    """Reads an instant, or a duration that means so long ago."""
    if text[:1].isdigit() and "T" not in text and text.count("-") < 2:
        return now() - duration(text, field=field)
    try:
        return instant(text, field=field)
    except InvalidArgument as error:
        if text[:1] in {"+", "-"}:
            raise
        raise InvalidArgument.of(field, "time.invalid", f"{no_time(text)}, or 24h for so long ago") from error


def local(at: datetime | None) -> str:
    """As people read it: the clock on their wall."""
    return "" if at is None else at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def seconds(span: timedelta | None) -> float | None:
    """A duration as scripts read it."""
    return None if span is None else span.total_seconds()
