"""What a cron expression means, found by trying every minute. Shares no code with dts and knows no cron."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from zoneinfo import ZoneInfo, available_timezones

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

Matches = Callable[[datetime], bool]
"""Whether a local time, without a zone, is one that the expression names."""


@dataclass(frozen=True)
class Change:
    """A clock is put forward or back at this instant."""

    at: datetime
    before: timedelta
    after: timedelta


def expected(
    matches: Matches, zone: ZoneInfo, begin: datetime, end: datetime, *, elapsed: bool, after_gap: bool, twice: bool
) -> list[datetime]:
    """The ticks in (begin, end], minute by minute.

    Args:
        matches: of the expression.
        zone: in which it is read.
        begin: a whole minute of UTC.
        end: another.
        elapsed: it begins with a star in minute or hour.
        after_gap: a fixed time that is jumped over runs at once after the gap.
        twice: a fixed time that exists twice runs twice.
    """
    found: list[datetime] = []
    previous = _local(begin, zone)
    for instant, local, fold in _minutes(begin, end, zone):
        skipped = local - previous - MINUTE
        due = matches(local) and (elapsed or twice or fold == 0)
        if not elapsed and after_gap and timedelta(0) < skipped < DAY:
            due = due or any(matches(previous + MINUTE * n) for n in range(1, skipped // MINUTE + 1))
        if due:
            found.append(instant)
        previous = local
    return found


@lru_cache(maxsize=1)
def _minutes(begin: datetime, end: datetime, zone: ZoneInfo) -> list[tuple[datetime, datetime, int]]:
    """Every minute in (begin, end] with its local time; kept, because many expressions are asked one after another."""
    instants = [begin + n * MINUTE for n in range(1, (end - begin) // MINUTE + 1)]
    aware = [(instant, instant.astimezone(zone)) for instant in instants]
    return [(instant, local.replace(tzinfo=None, fold=0), local.fold) for instant, local in aware]


@cache
def rules_of_the_world(first: int, last: int) -> list[tuple[str, tuple[Change, ...]]]:
    """One zone for each different set of changes from one year to another, with the changes."""
    seen: dict[tuple[Change, ...], str] = {}
    for name in sorted(available_timezones()):
        changes = tuple(
            _changes(ZoneInfo(name), datetime(first, 1, 1, tzinfo=UTC), datetime(last + 1, 1, 1, tzinfo=UTC))
        )
        if changes:
            seen.setdefault(changes, name)
    return [(name, changes) for changes, name in seen.items()]


def _changes(zone: ZoneInfo, begin: datetime, end: datetime) -> Iterator[Change]:
    while begin < end:
        until = begin + 6 * HOUR
        if _offset(begin, zone) != _offset(until, zone):
            yield from _fine(zone, begin, until)
        begin = until


def _fine(zone: ZoneInfo, begin: datetime, end: datetime) -> Iterator[Change]:
    while begin < end:
        until = begin + MINUTE
        if _offset(begin, zone) != _offset(until, zone):
            yield Change(until, _offset(begin, zone), _offset(until, zone))
        begin = until


def _offset(instant: datetime, zone: ZoneInfo) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta(0)


def _local(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)
