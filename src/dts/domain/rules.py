"""The sources of ticks: cron expressions, intervals, single instants. All instants are in UTC."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import cached_property
from itertools import islice
from typing import Protocol
from zoneinfo import ZoneInfo

from dts.domain.cron import CronFields
from dts.domain.ids import EPOCH, MICROSECOND
from dts.domain.localtime import FIRST, LAST, SECOND, Stretch, stretches

DAY = timedelta(days=1)
SEARCH_YEARS = 60
"""A day of the week falls on 29 February every 28 years, or 40 across a century that has no leap day."""

WINDOWS = [timedelta(minutes=1), timedelta(hours=1), DAY, timedelta(days=32), timedelta(days=370)]
"""Looking back for the latest tick goes over windows this long: where a short one is empty, a long one is cheap."""


class Rule(Protocol):
    """A source of ticks."""

    def after(self, instant: datetime) -> Iterator[datetime]:
        """Ticks strictly after an instant, ascending; ends where time ends or nothing is found."""
        ...

    def count(self, after: datetime, until: datetime) -> int:
        """How many ticks lie in (after, until]."""
        ...


def between(rule: Rule, after: datetime, until: datetime, limit: int | None = None) -> list[datetime]:
    """The ticks in (after, until], ascending, at most so many."""
    found: list[datetime] = []
    for tick in islice(rule.after(after), limit):
        if tick > until:
            break
        found.append(tick)
    return found


def last(rule: Rule, after: datetime, until: datetime) -> datetime | None:
    """The newest tick in (after, until]."""
    for window in WINDOWS:
        begin = max(after, until - window) if until - FIRST > window else after
        if ticks := between(rule, begin, until):
            return ticks[-1]
        if begin == after:
            return None
    ticks = between(rule, after, until)
    return ticks[-1] if ticks else None


@dataclass(frozen=True, slots=True)
class IntervalRule:
    """A fixed interval of elapsed time, anchored to the Unix epoch plus a phase."""

    period: timedelta
    phase: timedelta = timedelta(0)

    def after(self, instant: datetime) -> Iterator[datetime]:
        """See Rule."""
        number = self._number(instant) + 1
        while (tick := EPOCH + self.phase + number * self.period) < LAST:
            yield tick
            number += 1

    def count(self, after: datetime, until: datetime) -> int:
        """See Rule."""
        return max(0, self._number(until) - self._number(after))

    def _number(self, instant: datetime) -> int:
        return (instant - EPOCH - self.phase) // self.period


@dataclass(frozen=True, slots=True)
class OnceRule:
    """Single instants, ascending."""

    instants: tuple[datetime, ...]

    def after(self, instant: datetime) -> Iterator[datetime]:
        """See Rule."""
        return (tick for tick in self.instants if tick > instant)

    def count(self, after: datetime, until: datetime) -> int:
        """See Rule."""
        return sum(after < tick <= until for tick in self.instants)


@dataclass(frozen=True)
class CronRule:
    """A cron expression in a zone.

    after_gap: a fixed time that the clock jumps over runs at once after the gap.
    twice: a fixed time that exists twice runs at both.
    """

    fields: CronFields
    zone: ZoneInfo
    after_gap: bool
    twice: bool

    def after(self, instant: datetime) -> Iterator[datetime]:
        """See Rule."""
        begin = max(instant, FIRST)
        while begin < LAST:
            day = self._next_day((begin.astimezone(self.zone) - 2 * DAY).date())
            if day is None:
                return
            # Two days of slack: no zone is that far from UTC, and no change of a clock that large matters.
            begin = max(begin, datetime.combine(day, time(), tzinfo=EPOCH.tzinfo) - 2 * DAY)
            end = min(begin + 64 * DAY, LAST)
            for stretch in stretches(self.zone, begin, end):
                for tick in self._ticks(stretch):
                    if tick > instant:
                        yield tick
                        instant = tick
            begin = end

    def count(self, after: datetime, until: datetime) -> int:
        """See Rule."""
        begin, end = max(after, FIRST) + MICROSECOND, min(until, LAST) + MICROSECOND
        return sum(self._count(stretch) for stretch in stretches(self.zone, begin, end))

    def _ticks(self, stretch: Stretch) -> Iterator[datetime]:
        if self._runs_after_gap(stretch):
            yield stretch.begin
        low, high = self._bounds(stretch)
        for day in self._days(low.date(), high.date()):
            for seconds in self._times.between(_second_of(low, day), _second_of(high, day)):
                yield stretch.utc(datetime.combine(day, time()) + seconds * SECOND)

    def _count(self, stretch: Stretch) -> int:
        low, high = self._bounds(stretch)
        count = int(self._runs_after_gap(stretch))
        if low >= high:
            return count
        whole = sum(1 for _ in self._days(low.date(), high.date())) * self._times.total
        before = self._times.rank(_second_of(low, low.date())) if self.fields.matches_day(low.date()) else 0
        rest = self._times.rank(_second_of(high, high.date())) if self.fields.matches_day(high.date()) else 0
        missing = self._times.total - rest if self.fields.matches_day(high.date()) else 0
        return count + whole - before - missing

    def _bounds(self, stretch: Stretch) -> tuple[datetime, datetime]:
        """The local times [low, high) of a stretch that count: where the clock was put back, not those seen before."""
        low, high = stretch.local(stretch.begin), stretch.local(stretch.end)
        if stretch.opens and not self._elapsed_or_twice:
            low = max(low, stretch.opens.gap[0])
        return low, high

    def _runs_after_gap(self, stretch: Stretch) -> bool:
        """Whether a time lies in the gap before the stretch, and none at its beginning, which would be the same."""
        if stretch.opens is None or stretch.opens.at != stretch.begin or self.fields.elapsed or not self.after_gap:
            return False
        low, high = stretch.opens.gap
        # A whole day that never was has no times.
        if not timedelta(0) < high - low < DAY or self._is_time(high):
            return False
        return any(
            self._times.rank(_second_of(high, day)) > self._times.rank(_second_of(low, day))
            for day in self._days(low.date(), high.date())
        )

    def _is_time(self, local: datetime) -> bool:
        second = _second_of(local, local.date())
        return self.fields.matches_day(local.date()) and self._times.rank(second + 1) > self._times.rank(second)

    def _days(self, first: date, final: date) -> Iterator[date]:
        """The matching days from the first to the final one."""
        year, month = first.year, first.month
        while (year, month) <= (final.year, final.month):
            for number in self.fields.days_of(year, month):
                day = date(year, month, number)
                if first <= day <= final:
                    yield day
            year, month = (year + 1, 1) if month == 12 else (year, month + 1)

    def _next_day(self, first: date) -> date | None:
        final = date(min(first.year + SEARCH_YEARS, 9999), 12, 28)
        return next(self._days(first, final), None)

    @property
    def _elapsed_or_twice(self) -> bool:
        return self.fields.elapsed or self.twice

    @cached_property
    def _times(self) -> _Times:
        return _Times(self.fields.hours, self.fields.minutes, self.fields.seconds)


@dataclass(frozen=True, slots=True)
class _Times:
    """The times of a matching day, as seconds since midnight, without writing them all down."""

    hours: tuple[int, ...]
    minutes: tuple[int, ...]
    seconds: tuple[int, ...]

    @property
    def total(self) -> int:
        return len(self.hours) * len(self.minutes) * len(self.seconds)

    def rank(self, second: int) -> int:
        """How many times lie before a second of the day."""
        hour, rest = divmod(second, 3600)
        in_hour = len(self.minutes) * len(self.seconds)
        count = bisect_left(self.hours, hour) * in_hour
        if hour not in self.hours:
            return count
        minute, second = divmod(rest, 60)
        count += bisect_left(self.minutes, minute) * len(self.seconds)
        return count + (bisect_left(self.seconds, second) if minute in self.minutes else 0)

    def between(self, low: int, high: int) -> Iterator[int]:
        """The times in [low, high), ascending."""
        in_hour = len(self.minutes) * len(self.seconds)
        for index in range(self.rank(low), self.rank(high)):
            hour, rest = divmod(index, in_hour)
            minute, second = divmod(rest, len(self.seconds))
            yield self.hours[hour] * 3600 + self.minutes[minute] * 60 + self.seconds[second]


def _second_of(local: datetime, day: date) -> int:
    """The second of a day at which a local time lies, rounded up; the ends of the day where it lies outside."""
    if local.date() != day:
        return 0 if local.date() < day else 86_400
    partial = 1 if local.microsecond else 0
    return local.hour * 3600 + local.minute * 60 + local.second + partial
