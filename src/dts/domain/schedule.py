"""Schedules, ready for use: the union of their rules within their bounds, as ticks."""

from __future__ import annotations

import hashlib
import heapq
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from dts.domain.cron import CronError, parse_cron
from dts.domain.errors import InvalidArgument, Violation
from dts.domain.ids import MICROSECOND, to_micros
from dts.domain.localtime import after_gap, find_zone, instants_of
from dts.domain.rules import CronRule, IntervalRule, OnceRule, Rule, last
from dts.pb.dts.v1 import Cron, DateRange, FoldPolicy, GapPolicy, Interval, OneShot, Schedule
from dts.pb.dts.v1 import Rule as RuleSpec
from dts.pb.dts.v1 import Tick as TickMessage

SECOND = timedelta(seconds=1)
LONGEST_PERIOD = timedelta(days=366)


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
    """Ticks that are counted, not listed. ticks: all of them, the excluded ones among them."""

    ticks: int
    excluded: int
    first: datetime | None
    last: datetime | None


@dataclass(frozen=True, slots=True)
class CompiledSchedule:
    """A schedule that answers questions; it never changes."""

    timezone: str
    zone: ZoneInfo
    rules: tuple[Rule, ...]
    starts_at: datetime | None
    ends_at: datetime | None
    exclude: tuple[_Dates, ...]
    jitter: timedelta
    key: str

    def next_after(self, after: datetime) -> Tick | None:
        """The first tick strictly later; None if there is none any more."""
        return next(self._ticks(after, None), None)

    def between(self, after: datetime, until: datetime, *, limit: int) -> list[Tick]:
        """The ticks in (after, until], ascending, at most so many."""
        return list(islice(self._ticks(after, until), limit))

    def last_before(self, until: datetime, *, after: datetime) -> Tick | None:
        """The newest tick in (after, until]."""
        low, high = self._within(after, until)
        found = [tick for rule in self.rules if low < high and (tick := last(rule, low, high)) is not None]
        return self._tick(max(found)) if found else None

    def count(self, after: datetime, until: datetime) -> Stretch:
        """How many ticks lie in (after, until], without listing them."""
        low, high = self._within(after, until)
        ticks = self._count(low, high) if low < high else 0
        if not ticks:
            return Stretch(0, 0, None, None)
        first, newest = self.next_after(low), self.last_before(high, after=low)
        assert first is not None
        assert newest is not None
        return Stretch(ticks, self._count_excluded(low, high), first.at, newest.at)

    def _ticks(self, after: datetime, until: datetime | None) -> Iterator[Tick]:
        low, high = self._within(after, until)
        previous: datetime | None = None
        for instant in heapq.merge(*(rule.after(low) for rule in self.rules)):
            if high is not None and instant > high:
                return
            if instant != previous:
                yield self._tick(instant)
                previous = instant

    def _within(self, after: datetime, until: datetime | None) -> tuple[datetime, datetime]:
        """(after, until] cut to the bounds of the schedule, both of which count."""
        low = max(after, self.starts_at - MICROSECOND) if self.starts_at else after
        ends = [instant for instant in (until, self.ends_at) if instant is not None]
        return low, min(ends) if ends else datetime.max.replace(tzinfo=UTC)

    def _tick(self, instant: datetime) -> Tick:
        return Tick(instant, instant + self._jitter_of(instant), self._is_excluded(instant))

    def _jitter_of(self, instant: datetime) -> timedelta:
        if not self.jitter:
            return self.jitter
        digest = hashlib.sha256(f"{self.key}\0{to_micros(instant)}".encode()).digest()
        return int.from_bytes(digest[:8], "big") % (self.jitter // MICROSECOND) * MICROSECOND

    def _is_excluded(self, instant: datetime) -> bool:
        return bool(self.exclude) and self._excludes(instant.astimezone(self.zone).date())

    def _excludes(self, day: date) -> bool:
        return any(dates.holds(day) for dates in self.exclude)

    def _count(self, low: datetime, high: datetime) -> int:
        """Equal instants of several rules count once: all but the densest are listed and compared with those denser."""
        counted = sorted(((rule.count(low, high), rule) for rule in self.rules), key=lambda pair: pair[0])
        total = sum(count for count, _ in counted)
        for index, (_, rule) in enumerate(counted[:-1]):
            denser = [other for _, other in counted[index + 1 :]]
            total -= sum(_is_tick_of_any(denser, tick) for tick in _until(rule, low, high))
        return total

    def _count_excluded(self, low: datetime, high: datetime) -> int:
        if not self.exclude:
            return 0
        total = 0
        for begin, end in self._excluded_days(low, high):
            total += self._count(max(low, begin - MICROSECOND), min(high, end - MICROSECOND))
        return total

    def _excluded_days(self, low: datetime, high: datetime) -> Iterator[tuple[datetime, datetime]]:
        """The excluded local days that touch (low, high], as instants [begin, end)."""
        day = low.astimezone(self.zone).date()
        final = high.astimezone(self.zone).date()
        while day <= final:
            if self._excludes(day):
                yield _midnight(day, self.zone), _midnight(day + timedelta(days=1), self.zone)
            day += timedelta(days=1)


@dataclass(frozen=True, slots=True)
class _Dates:
    """Local dates, both ends included; of every year if they are (month, day)."""

    first: tuple[int, ...]
    last: tuple[int, ...]

    def holds(self, day: date) -> bool:
        here = (day.year, day.month, day.day)[-len(self.first) :]
        if self.first <= self.last:
            return self.first <= here <= self.last
        return here >= self.first or here <= self.last


def compile_schedule(schedule: Schedule, *, key: str) -> CompiledSchedule:
    """Makes a schedule ready for use. key: the task's name; seeds `H` and jitter.

    Raises:
        InvalidArgument: it cannot be read; every field that is wrong is named.
    """
    compiled, violations = read_schedule(schedule, key=key, field="schedule")
    if compiled is None:
        raise InvalidArgument(violations)
    return compiled


def read_schedule(schedule: Schedule, *, key: str, field: str) -> tuple[CompiledSchedule | None, list[Violation]]:
    """The schedule ready for use, or what is wrong with it. field: the path to the schedule."""
    return _Reader(schedule, key, field).read()


def to_tick(tick: Tick, *, task: str, timezone: str) -> TickMessage:
    """A tick as a message, with its local time."""
    local = tick.at.astimezone(find_zone(timezone)).isoformat(timespec="seconds")
    return TickMessage(task=task, scheduled_at=tick.at, local_time=local, timezone=timezone, excluded=tick.excluded)


class _Reader:
    def __init__(self, schedule: Schedule, key: str, field: str) -> None:
        self._schedule = schedule
        self._key = key
        self._field = field
        self._wrong: list[Violation] = []

    def read(self) -> tuple[CompiledSchedule | None, list[Violation]]:
        schedule = self._schedule
        zone = self._zone(schedule.timezone or "UTC", "timezone")
        rules = self._rules(zone)
        exclude = [self._dates(dates, f"exclude[{n}]") for n, dates in enumerate(schedule.exclude)]
        jitter = schedule.jitter or timedelta(0)
        if jitter < timedelta(0) or jitter > timedelta(days=1):
            self._refuse("jitter", "jitter", "is between 0s and 1d")
        if schedule.starts_at and schedule.ends_at and schedule.starts_at > schedule.ends_at:
            self._refuse("ends_at", "bounds", "lies before starts_at")
        if schedule.max_runs is not None and schedule.max_runs < 1:
            self._refuse("max_runs", "max_runs", "is at least 1")
        if self._wrong or zone is None:
            return None, self._wrong
        return (
            CompiledSchedule(
                timezone=schedule.timezone or "UTC",
                zone=zone,
                rules=tuple(rule for rule in rules if rule is not None),
                starts_at=schedule.starts_at,
                ends_at=schedule.ends_at,
                exclude=tuple(dates for dates in exclude if dates is not None),
                jitter=jitter,
                key=self._key,
            ),
            [],
        )

    def _rules(self, zone: ZoneInfo | None) -> list[Rule | None]:
        specs = self._schedule.rules
        if not specs:
            self._refuse("rules", "empty", "is empty; a schedule has at least one of cron, every and at")
        if len(specs) > 32:
            self._refuse("rules", "many", f"has {len(specs)} rules; at most 32 are allowed")
            return []
        return [self._rule(spec, f"rules[{n}]", zone) for n, spec in enumerate(specs)]

    def _rule(self, spec: RuleSpec, path: str, zone: ZoneInfo | None) -> Rule | None:
        if spec.cron is not None:
            return self._cron(spec.cron, f"{path}.cron", zone)
        if spec.every is not None:
            return self._interval(spec.every, f"{path}.every")
        if spec.at is not None:
            return self._once(spec.at, f"{path}.at", zone)
        self._refuse(path, "empty", "is empty; a rule is one of cron, every and at")
        return None

    def _cron(self, cron: Cron, path: str, zone: ZoneInfo | None) -> Rule | None:
        try:
            fields = parse_cron(cron.expression, cron.dialect, key=self._key)
        except CronError as error:
            self._wrong.append(Violation(f"{self._field}.{path}", error.code, str(error)))
            return None
        if fields.every is not None:
            return IntervalRule(fields.every)
        if fields.timezone is not None:
            zone = self._zone(fields.timezone, path)
        if zone is None:
            return None
        skip, twice = self._schedule.dst_gap is GapPolicy.SKIP, self._schedule.dst_fold is FoldPolicy.TWICE
        return CronRule(fields, zone, after_gap=not skip, twice=twice)

    def _interval(self, every: Interval, path: str) -> Rule | None:
        period, phase = every.period or timedelta(0), every.phase or timedelta(0)
        if not SECOND <= period <= LONGEST_PERIOD:
            self._refuse(path, "interval", f"is between 1s and {LONGEST_PERIOD.days}d")
        elif not timedelta(0) <= phase < period:
            self._refuse(f"{path}.phase", "phase", "is at least 0s and less than the interval")
        else:
            return IntervalRule(period, phase)
        return None

    def _once(self, shot: OneShot, path: str, zone: ZoneInfo | None) -> Rule | None:
        try:
            instants = _instants(shot.time, zone, self._schedule)
        except ValueError as error:
            self._refuse(path, "at", str(error))
            return None
        return OnceRule(tuple(instants))

    def _zone(self, name: str, path: str) -> ZoneInfo | None:
        try:
            return find_zone(name)
        except ValueError as error:
            self._refuse(path, "timezone", str(error))
            return None

    def _dates(self, dates: DateRange, path: str) -> _Dates | None:
        try:
            first = _date(dates.first)
            final = _date(dates.last) if dates.last else first
        except ValueError as error:
            self._refuse(path, "exclude", str(error))
            return None
        if len(first) != len(final):
            self._refuse(path, "exclude", "has a year at one end only")
        elif len(first) == 3 and first > final:
            self._refuse(path, "exclude", "ends before it begins")
        else:
            return _Dates(first, final)
        return None

    def _refuse(self, path: str, code: str, message: str) -> None:
        self._wrong.append(Violation(f"{self._field}.{path}", f"schedule.{code}", message))


_DATE = re.compile(r"(?:(\d{4})-)?(\d{2})-(\d{2})", re.ASCII)
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?(?:[Zz]|[+-]\d{2}:\d{2})?", re.ASCII)
_TIME_WORDS = "is RFC 3339 such as 2026-12-24T18:00:00+01:00, or a local time such as 2026-12-24T18:00"


def _date(text: str) -> tuple[int, ...]:
    match = _DATE.fullmatch(text)
    words = "is YYYY-MM-DD for once or MM-DD for every year"
    if match is None:
        raise ValueError(words)
    try:
        day = date(int(match[1] or 2000), int(match[2]), int(match[3]))
    except ValueError:
        raise ValueError(f"{text} is no date; it {words}") from None
    return (day.year, day.month, day.day) if match[1] else (day.month, day.day)


def _instants(text: str, zone: ZoneInfo | None, schedule: Schedule) -> list[datetime]:
    if not _TIME.fullmatch(text):
        raise ValueError(_TIME_WORDS)
    try:
        time = datetime.fromisoformat(text.upper())
        if time.tzinfo is not None:
            return [time.astimezone(UTC)]
    except (ValueError, OverflowError):
        raise ValueError(f"{text} does not exist; it {_TIME_WORDS}") from None
    if not 1900 <= time.year <= 9998:
        raise ValueError("lies outside the years 1900 to 9998")
    if zone is None:
        return []
    instants = instants_of(time, zone)
    if not instants:
        return [] if schedule.dst_gap is GapPolicy.SKIP else [after_gap(time, zone)]
    return instants if schedule.dst_fold is FoldPolicy.TWICE else instants[:1]


def _until(rule: Rule, low: datetime, high: datetime) -> Iterator[datetime]:
    for tick in rule.after(low):
        if tick > high:
            return
        yield tick


def _is_tick_of_any(rules: Sequence[Rule], instant: datetime) -> bool:
    return any(rule.count(instant - MICROSECOND, instant) for rule in rules)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    """The first instant of a local day."""
    local = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - a local time, on purpose
    return (instants_of(local, zone) or [after_gap(local, zone)])[0]


__all__ = ["CompiledSchedule", "Stretch", "Tick", "compile_schedule", "read_schedule", "to_tick"]
