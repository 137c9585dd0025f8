"""How times, spans, states and schedules are written, wherever people or scripts read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import IntEnum

from dts.domain.durations import format_duration
from dts.pb.dts.v1 import Run, Schedule

SHOWN = 64


def word(member: IntEnum) -> str:
    """An enum value in lower case; nothing for unspecified."""
    return member.name.lower() if member and member.name else ""


def lateness(run: Run) -> timedelta | None:
    """How long after its instant a run started."""
    return run.started_at - run.scheduled_at if run.started_at and run.scheduled_at else None


def took(run: Run) -> timedelta | None:
    """How long a run took."""
    return run.finished_at - run.started_at if run.finished_at and run.started_at else None


def schedule_words(schedule: Schedule | None) -> str:
    """A schedule in a line, such as `0 3 * * *` or `every 5m`."""
    words = []
    for rule in schedule.rules if schedule else []:
        if rule.cron is not None:
            words.append(rule.cron.expression)
        elif rule.every is not None:
            words.append(f"every {format_duration(rule.every.period or timedelta(0))}")
        elif rule.at is not None:
            words.append(f"at {rule.at.time}")
    return "; ".join(words)


def timezone(schedule: Schedule | None) -> str | None:
    """The zone of a schedule; None without a schedule."""
    return None if schedule is None else schedule.timezone or "UTC"


def rounded(span: timedelta | None) -> str:
    """A duration short enough for a table."""
    if span is None:
        return ""
    if abs(span) < timedelta(seconds=10):
        return f"{span.total_seconds():.3f}s"
    if abs(span) < timedelta(minutes=2):
        return f"{span.total_seconds():.1f}s"
    return format_duration(timedelta(seconds=round(span.total_seconds())))


def rfc3339(at: datetime | None) -> str | None:
    """As scripts read it: UTC, microseconds, `Z`."""
    return None if at is None else at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


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
    raise ValueError(no_time(text))


def no_time(text: str) -> str:
    """Says of a text that it is not a time, and what one looks like."""
    shown = f"{text!r} is" if len(text) <= SHOWN and text.isprintable() else "this is"
    return f"{shown} not a time with an offset, such as 2026-12-24T18:00:00Z"
