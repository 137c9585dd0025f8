"""A schedule ready for use: the union of its rules within its bounds, as ticks."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from dts.domain.ids import MICROSECOND, to_micros
from dts.domain.localtime import FIRST, LAST, stretches
from dts.domain.localtime import Stretch as Offset
from dts.domain.rules import Rule, last
from dts.domain.schedule_dates import Excluded
from dts.domain.schedule_union import count_union

DAY = timedelta(days=1)
SHORT = timedelta(minutes=10)
"""Within this time ticks are listed sooner than counted."""


@dataclass(frozen=True, slots=True)
class Tick:
    """An instant that a schedule names.

    start: the same plus its jitter.
    excluded: its date is excluded, so that it is recorded and not run.
    """

    at: datetime
    start: datetime
    excluded: bool


@dataclass(frozen=True, slots=True)
class Stretch:
    """Ticks that are counted, not listed.

    ticks: all of them, the excluded ones among them.
    first, last: None if there are none.
    """

    ticks: int
    excluded: int
    first: datetime | None
    last: datetime | None


@dataclass(frozen=True, slots=True)
class CompiledSchedule:
    """A schedule that answers questions; it never changes. Before 1900 and after 9998 nothing is due."""

    timezone: str
    zone: ZoneInfo
    rules: tuple[Rule, ...]
    starts_at: datetime | None
    ends_at: datetime | None
    exclude: Excluded
    jitter: timedelta
    key: str

    def next_after(self, after: datetime) -> Tick | None:
        """The first tick strictly later; None if there is none any more."""
        return next(self.walk(after, LAST), None)

    def between(self, after: datetime, until: datetime, *, limit: int) -> list[Tick]:
        """The ticks in (after, until], ascending, at most so many."""
        return list(islice(self.walk(after, until), limit))

    def last_before(self, until: datetime, *, after: datetime) -> Tick | None:
        """The newest tick in (after, until]."""
        low, high = self._within(after, until)
        found = [tick for rule in self.rules if low < high and (tick := last(rule, low, high)) is not None]
        return self._tick(max(found)) if found else None

    def count(self, after: datetime, until: datetime) -> Stretch:
        """How many ticks lie in (after, until], without listing them."""
        low, high = self._within(after, until)
        ticks = count_union(self.rules, low, high) if low < high else 0
        first, newest = (self.next_after(low), self.last_before(high, after=low)) if ticks else (None, None)
        if first is None or newest is None:
            return Stretch(0, 0, None, None)
        # Nothing before the first and after the last tick needs a look at its date.
        excluded = self._count_excluded(first.at - MICROSECOND, newest.at)
        return Stretch(ticks, excluded, first.at, newest.at)

    def since_newest(self, runs: int, after: datetime, until: datetime) -> datetime:
        """From where to `until` the newest so many ticks lie that are not excluded, or all there are in (after, until].

        The first of them is a microsecond later; `until` if there is none. Found by counting, however many there are.
        """
        first = next(self.walk(after, until), None)
        if first is None:
            return until
        low, high = self._within(after, until)
        # Rules that meet have fewer ticks than this.
        if not first.excluded and sum(rule.count(low, high) for rule in self.rules) <= runs:
            return first.at - MICROSECOND
        low = self._holding(runs, low, high)
        runs = min(runs, self._due(low, high))
        return self._halved(runs, low, high) if runs else until

    def walk(self, after: datetime, until: datetime) -> Iterator[Tick]:
        """The ticks in (after, until], ascending, each found when it is asked for."""
        low, high = self._within(after, until)
        if low >= high:
            return
        previous = low
        for instant in heapq.merge(*(rule.after(low) for rule in self.rules)):
            if instant > high:
                return
            if instant != previous:
                yield self._tick(instant)
                previous = instant

    def _within(self, after: datetime, until: datetime) -> tuple[datetime, datetime]:
        """(after, until] cut to the bounds of the schedule, both of which count, and to those of time."""
        low = max(after, FIRST)
        if self.starts_at is not None and self.starts_at > low:
            low = self.starts_at - MICROSECOND
        high = min(until, LAST - MICROSECOND, self.ends_at or LAST)
        return low, high

    def _tick(self, instant: datetime) -> Tick:
        excluded = bool(self.exclude) and self.exclude.holds(instant.astimezone(self.zone).date())
        return Tick(instant, instant + self._jitter_of(instant), excluded)

    def _jitter_of(self, instant: datetime) -> timedelta:
        if not self.jitter:
            return self.jitter
        digest = hashlib.sha256(f"{self.key}\0{to_micros(instant)}".encode(errors="surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") % (self.jitter // MICROSECOND) * MICROSECOND

    def _holding(self, runs: int, bound: datetime, high: datetime) -> datetime:
        """An instant, not before the bound, so early that it and `high` hold so many ticks between them, if any does.

        Going back from the end: what lies far before the newest ticks is not looked at.
        """
        span = SHORT
        while span < high - bound and self._due(high - span, high) < runs:
            span *= 8
        return high - min(span, high - bound)

    def _halved(self, runs: int, low: datetime, high: datetime) -> datetime:
        """The latest instant after which, up to `high`, as many ticks lie; there are so many after `low`."""
        while high - low > SHORT:
            middle = low + (high - low) // 2
            there = self._due(middle, high)
            if there >= runs:
                low = middle
            else:
                high, runs = middle, runs - there
        return [tick.at for tick in self.walk(low, high) if not tick.excluded][-runs] - MICROSECOND

    def _due(self, low: datetime, high: datetime) -> int:
        """How many ticks in (low, high], which lies within the bounds, are not excluded."""
        return count_union(self.rules, low, high) - self._count_excluded(low, high)

    def _count_excluded(self, low: datetime, high: datetime) -> int:
        if not self.exclude:
            return 0
        # Not by midnights: where a clock is put back over one, the day before comes again.
        pieces = stretches(self.zone, low + MICROSECOND, high + MICROSECOND)
        runs = (run for piece in pieces for run in self._excluded_in(piece))
        return sum(count_union(self.rules, begin - MICROSECOND, end - MICROSECOND) for begin, end in runs)

    def _excluded_in(self, piece: Offset) -> Iterator[tuple[datetime, datetime]]:
        """The runs of excluded days of a stretch, as instants [begin, end)."""
        final = piece.local(piece.end - MICROSECOND).date()
        for first, newest in self.exclude.runs(piece.local(piece.begin).date(), final):
            begin, end = piece.utc(_midnight(first)), piece.utc(_midnight(newest + DAY))
            yield max(begin, piece.begin), min(end, piece.end)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time())
