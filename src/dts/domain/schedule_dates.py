"""Excluded dates: local days on which ticks are recorded instead of run."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

DAY = timedelta(days=1)
_DATE = re.compile(r"(?:(\d{4})-)?(\d{2})-(\d{2})", re.ASCII)
_WORDS = "is YYYY-MM-DD for once or MM-DD for every year"
_LEAP_YEAR = 2000


@dataclass(frozen=True, slots=True)
class Dates:
    """Local dates, both ends included; of every year if they are (month, day)."""

    first: tuple[int, ...]
    last: tuple[int, ...]

    @property
    def yearly(self) -> bool:
        """Whether they come again every year."""
        return len(self.first) == 2

    def holds(self, day: date) -> bool:
        """Whether a day is one of them. A yearly range may go over the new year."""
        here = (day.year, day.month, day.day)[-len(self.first) :]
        if self.first <= self.last:
            return self.first <= here <= self.last
        return here >= self.first or here <= self.last


@dataclass(frozen=True, slots=True)
class Excluded:
    """All excluded dates of a schedule, so that a day is looked up at once however many ranges there are.

    yearly: (month, day) pairs.
    once: ranges of ordinals of days, ascending, none of which touches another.
    """

    yearly: frozenset[tuple[int, int]] = frozenset()
    once: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, ranges: list[Dates]) -> Excluded:
        """The union of several ranges."""
        leap_year = [date(_LEAP_YEAR, 1, 1) + n * DAY for n in range(366)]
        yearly = {(day.month, day.day) for dates in ranges if dates.yearly for day in leap_year if dates.holds(day)}
        once = [(date(*each.first).toordinal(), date(*each.last).toordinal()) for each in ranges if not each.yearly]
        return cls(frozenset(yearly), _merged(once))

    def __bool__(self) -> bool:
        return bool(self.yearly or self.once)

    def holds(self, day: date) -> bool:
        """Whether a day is excluded."""
        if (day.month, day.day) in self.yearly:
            return True
        index = bisect_right(self.once, day.toordinal(), key=lambda days: days[0]) - 1
        return index >= 0 and day.toordinal() <= self.once[index][1]

    def runs(self, first: date, last: date) -> Iterator[tuple[date, date]]:
        """The excluded days from `first` to `last`, as runs of days that follow each other, both ends included."""
        begin: date | None = None
        for number in range((last - first).days + 1):
            day = first + number * DAY
            if self.holds(day):
                begin = begin or day
            elif begin is not None:
                yield begin, day - DAY
                begin = None
        if begin is not None:
            yield begin, last


def read_dates(first: str, last: str) -> Dates:
    """A range as it is written; without a last day it is one day.

    Raises:
        ValueError: it is none; the message says what is allowed.
    """
    begin = _date(first)
    end = _date(last) if last else begin
    if len(begin) != len(end):
        raise ValueError("has a year at one end only; give both ends a year, or neither")
    if len(begin) == 3 and begin > end:
        raise ValueError("ends before it begins")
    return Dates(begin, end)


def _date(text: str) -> tuple[int, ...]:
    match = _DATE.fullmatch(text)
    if match is None:
        raise ValueError(_WORDS)
    try:
        day = date(int(match[1] or _LEAP_YEAR), int(match[2]), int(match[3]))
    except ValueError:
        raise ValueError(f"{text} is no date; it {_WORDS}") from None
    return (day.year, day.month, day.day) if match[1] else (day.month, day.day)


def _merged(ranges: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)
