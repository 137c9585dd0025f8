"""What a cron expression says, expanded; and which days of a month it names."""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import date, timedelta


class CronError(ValueError):
    """An expression was refused. code: a constant for programs, such as ``schedule.cron.out_of_range``."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = f"schedule.cron.{code}"


@dataclass(frozen=True, slots=True)
class DayRule:
    """Which days of a month match.

    days: days of the month; None for any.
    last_days: so many days before the last one (0 is the last itself).
    near: the weekday nearest to these days, within the month; 0 stands for the last weekday of the month.
    weekdays: 0 is Sunday; None for any.
    nth: (weekday, n-th) pairs; n is -1 for the last.
    both: day of month and day of week must both match; else either.
    """

    days: frozenset[int] | None = None
    last_days: frozenset[int] = frozenset()
    near: frozenset[int] = frozenset()
    weekdays: frozenset[int] | None = None
    nth: frozenset[tuple[int, int]] = frozenset()
    both: bool = False

    def days_in(self, month: Month) -> set[int]:
        """The matching days of a month."""
        by_date = self._by_date(month)
        by_weekday = self._by_weekday(month)
        return by_date & by_weekday if self.both else by_date | by_weekday

    def _by_date(self, month: Month) -> set[int]:
        if self.days is None:
            return set(range(1, month.length + 1))
        found = {day for day in self.days if day <= month.length}
        found.update(month.length - before for before in self.last_days if before < month.length)
        found.update(month.weekday_near(day or month.length) for day in self.near if day <= month.length)
        return found

    def _by_weekday(self, month: Month) -> set[int]:
        if self.weekdays is None:
            return set(range(1, month.length + 1))
        found = {day for weekday in self.weekdays for day in month.days_on(weekday)}
        for weekday, number in self.nth:
            days = month.days_on(weekday)
            found.update(days[-1:] if number < 0 else days[number - 1 : number])
        return found


@dataclass(frozen=True, slots=True)
class Month:
    """The shape of a month. starts_on: the weekday of its first day, 0 is Sunday."""

    length: int
    starts_on: int

    @classmethod
    def of(cls, year: int, month: int) -> Month:
        """The shape of a month of the calendar."""
        starts_on, length = calendar.monthrange(year, month)
        return cls(length, (starts_on + 1) % 7)

    def days_on(self, weekday: int) -> range:
        """The days that fall on a weekday."""
        return range(1 + (weekday - self.starts_on) % 7, self.length + 1, 7)

    def weekday_near(self, day: int) -> int:
        """The day from Monday to Friday that is nearest to a day, without leaving the month."""
        match (self.starts_on + day - 1) % 7:
            case 6:
                return day - 1 if day > 1 else day + 2
            case 0:
                return day + 1 if day < self.length else day - 2
            case _:
                return day


@dataclass(frozen=True, slots=True)
class CronFields:
    """An expression, expanded. All values are sorted and distinct.

    seconds: (0,) where the expression has no seconds.
    days: the rule behind `matches_day` and `days_of`.
    elapsed: the hour or the minute begins with a star: it follows elapsed time over changes of the clock, as in
        Debian's cron.
    every: the interval of `@every`; the other fields mean nothing then.
    timezone: of a CRON_TZ= prefix; whether there is such a zone is for the caller to check.
    """

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    months: tuple[int, ...]
    days: DayRule
    elapsed: bool
    every: timedelta | None = None
    timezone: str | None = None

    def matches_day(self, day: date) -> bool:
        """Whether a local date matches."""
        return day.month in self.months and day.day in self.days.days_in(Month.of(day.year, day.month))

    def days_of(self, year: int, month: int) -> tuple[int, ...]:
        """The matching days of a month, ascending."""
        if month not in self.months:
            return ()
        return tuple(sorted(self.days.days_in(Month.of(year, month))))
