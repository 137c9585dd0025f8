"""How figures stand in the sentences of violations."""

from __future__ import annotations

from datetime import datetime, timedelta


def clock(instant: datetime | None) -> str:
    """An instant to the millisecond, without its day: `12:00:05.100`."""
    return f"{instant:%H:%M:%S}.{instant.microsecond // 1000:03d}" if instant else "never"


def span(length: timedelta) -> str:
    """A length of time in seconds: `3.2 s`."""
    return f"{length.total_seconds():.3f}".rstrip("0").rstrip(".") + " s"


def short(run_id: str) -> str:
    """As much of a run's id as tells it from others."""
    return run_id[:13] or "(none)"
