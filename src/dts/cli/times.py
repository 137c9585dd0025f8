"""Times and durations on the command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from dts.domain.durations import format_duration, parse_duration
from dts.domain.errors import InvalidArgument
from dts.runtime.clock import now

SHOWN = 64


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
    """Reads RFC 3339, `+10m` from now or `-10m` ago.

    Raises:
        InvalidArgument: it is none.
    """
    if text[:1] in {"+", "-"}:
        distance = duration(text[1:], field=field)
        return now() + distance if text[0] == "+" else now() - distance
    try:
        return read_rfc3339(text)
    except ValueError as error:
        raise InvalidArgument.of(field, "time.invalid", f"{error}, or +10m from now") from error


def read_rfc3339(text: str) -> datetime:
    """Reads a time with an offset; UTC.

    Raises:
        ValueError: it is none; the message says what is allowed.
    """
    try:
        found = datetime.fromisoformat(text.replace("z", "Z"))
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):  # the year 0 or 10000, once in UTC
        pass
    shown = f"{text!r} is" if len(text) <= SHOWN and text.isprintable() else "this is"
    raise ValueError(f"{shown} not a time with an offset, such as 2026-12-24T18:00:00Z")


def past(text: str, *, field: str) -> datetime:
    """Reads an instant, or a duration that means so long ago."""
    if text[:1].isdigit() and "T" not in text and text.count("-") < 2:
        return now() - duration(text, field=field)
    return instant(text, field=field)


def rfc3339(at: datetime | None) -> str | None:
    """As scripts read it: UTC, microseconds, `Z`."""
    return None if at is None else at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def local(at: datetime | None) -> str:
    """As people read it: the clock on their wall."""
    return "" if at is None else at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def rounded(span: timedelta | None) -> str:
    """A duration short enough for a table."""
    if span is None:
        return ""
    if abs(span) < timedelta(seconds=10):
        return f"{span.total_seconds():.3f}s"
    if abs(span) < timedelta(minutes=2):
        return f"{span.total_seconds():.1f}s"
    return format_duration(timedelta(seconds=round(span.total_seconds())))


def seconds(span: timedelta | None) -> float | None:
    """A duration as scripts read it."""
    return None if span is None else span.total_seconds()
