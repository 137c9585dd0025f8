"""Zones, and the stretches of time in which a zone's offset stays the same.

Inside a stretch local time runs as evenly as UTC, so a schedule that is read in local time can be walked stretch by
stretch, strictly forward, and everything that is odd about clocks happens at the borders. Only the zone database
that ships with dts counts, so that all nodes agree.
"""

from __future__ import annotations

import difflib
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

zoneinfo.reset_tzpath(to=())

SECOND = timedelta(seconds=1)
STEP = timedelta(hours=12)
"""Two changes of a clock lie further apart than this."""

RECENT = timedelta(days=2)
"""No clock is put back by more than this, so an older change says nothing about local times that come again."""

LAST = datetime(9998, 12, 28, tzinfo=UTC)
"""Where time ends for schedules: any local time and any interval (at most 366 days) beyond it can be written down."""

FIRST = datetime(1900, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Change:
    """A clock is put forward or back. at: the first instant with the new offset."""

    at: datetime
    before: timedelta
    after: timedelta

    @property
    def gap(self) -> tuple[datetime, datetime]:
        """The local times [from, until) that the clock jumps over; empty where it is put back."""
        return _naive(self.at + self.before), _naive(self.at + self.after)


@dataclass(frozen=True, slots=True)
class Stretch:
    """UTC instants [begin, end) with one offset. opens: the latest change, if it lies at `begin` or not long before."""

    begin: datetime
    end: datetime
    offset: timedelta
    opens: Change | None

    def local(self, instant: datetime) -> datetime:
        """The local time of an instant, without a zone."""
        return _naive(instant + self.offset)

    def utc(self, local: datetime) -> datetime:
        """The instant of a local time."""
        return local.replace(tzinfo=UTC) - self.offset


def find_zone(name: str) -> ZoneInfo:
    """A zone of the IANA database by its exact name.

    Raises:
        ValueError: there is none; the message names the nearest.
    """
    if name not in names():
        near = _nearest(name[:64])
        hint = f"; did you mean {near}?" if near else ", such as Europe/Zurich"
        shown = f"'{name}' is" if len(name) <= 64 and name.isprintable() and name.isascii() else "is"
        raise ValueError(f"{shown} not a time zone of the IANA database{hint}")
    return ZoneInfo(name)


def _nearest(name: str) -> str | None:
    """The zone that was probably meant: by its city alone, in whatever case, or with a slip of the pen."""
    wanted = name.strip().replace(" ", "_").lower()
    # Who writes GMT+3 does not mean Etc/GMT+3, whose sign is inverted, nor GMT itself.
    known = sorted(zone for zone in names() if "GMT" not in zone and not zone.startswith("Etc/"))
    spelled = {zone.lower().rpartition("/")[2]: zone for zone in known} | {zone.lower(): zone for zone in known}
    near = difflib.get_close_matches(wanted, spelled, n=1, cutoff=0.75)
    return spelled[near[0]] if near else None


@lru_cache(maxsize=1)
def names() -> frozenset[str]:
    """Every zone."""
    return frozenset(zoneinfo.available_timezones() - {"localtime", "posixrules", "Factory"})


@lru_cache(maxsize=8192)
def changes_of(zone: ZoneInfo, year: int) -> tuple[Change, ...]:
    """The changes of a zone's clocks in a year (of UTC), in order."""
    found: list[Change] = []
    begin = datetime(year, 1, 1, tzinfo=UTC)
    end = min(datetime(year + 1, 1, 1, tzinfo=UTC), LAST)
    while begin < end:
        until = min(begin + STEP, end)
        if _offset(zone, begin) != _offset(zone, until):
            found.append(_change_between(zone, begin, until))
        begin = until
    return tuple(found)


def stretches(zone: ZoneInfo, begin: datetime, end: datetime) -> Iterator[Stretch]:
    """The stretches that cover [begin, end), cut to it, in order."""
    opens = _latest_change(zone, begin)
    year = begin.year
    while begin < end:
        for change in changes_of(zone, year):
            if begin < change.at < end:
                yield Stretch(begin, change.at, change.before, opens)
            if begin <= change.at < end:
                begin, opens = change.at, change
        until = min(datetime(year + 1, 1, 1, tzinfo=UTC), end)
        if begin < until:
            yield Stretch(begin, until, _offset(zone, begin), opens)
            begin = until
        year += 1


def _latest_change(zone: ZoneInfo, instant: datetime) -> Change | None:
    since = instant - RECENT
    known = (*changes_of(zone, since.year), *(changes_of(zone, instant.year) if instant.year != since.year else ()))
    return next((change for change in reversed(known) if since < change.at <= instant), None)


def instants_of(local: datetime, zone: ZoneInfo) -> list[datetime]:
    """The instants at which a zone's clocks show a local time: none in a gap, two where they are put back."""
    both = {local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
    return sorted(instant for instant in both if _naive(instant.astimezone(zone)) == local)


def after_gap(local: datetime, zone: ZoneInfo) -> datetime:
    """The first instant after the gap in which a local time lies."""
    ends = [local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (1, 0)]
    return _change_between(zone, *ends).at


def _change_between(zone: ZoneInfo, begin: datetime, end: datetime) -> Change:
    """The change in (begin, end], found by halving."""
    before, after = _offset(zone, begin), _offset(zone, end)
    while end - begin > SECOND:
        middle = begin + (end - begin) // (2 * SECOND) * SECOND
        if _offset(zone, middle) == before:
            begin = middle
        else:
            end = middle
    return Change(end, before, after)


def _offset(zone: ZoneInfo, instant: datetime) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta(0)


def _naive(instant: datetime) -> datetime:
    return instant.replace(tzinfo=None)
