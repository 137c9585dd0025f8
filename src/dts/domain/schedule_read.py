"""Reads a schedule as somebody wrote it, and names every field that is wrong."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from dts.domain.cron import CronError, parse_cron
from dts.domain.errors import Violation
from dts.domain.localtime import SECOND, after_gap, find_zone, instants_of
from dts.domain.rules import CronRule, IntervalRule, OnceRule, Rule
from dts.domain.schedule_dates import Dates, Excluded, read_dates
from dts.domain.schedule_ticks import CompiledSchedule
from dts.pb.dts.v1 import Cron, DateRange, FoldPolicy, GapPolicy, Interval, OneShot, Schedule
from dts.pb.dts.v1 import Rule as RuleSpec

MOST_RULES = 32
LONGEST_PERIOD = timedelta(days=366)
LONGEST_JITTER = timedelta(days=1)
YEARS = range(1970, 2200)
"""One-shots lie in these years. Rules of zones for later ones are a guess."""

_HOUR = r"(?:[01]\d|2[0-3])"
_TIME = re.compile(
    rf"\d{{4}}-\d{{2}}-\d{{2}}[Tt ]{_HOUR}:\d{{2}}(?::\d{{2}}(?:\.\d{{1,6}})?)?(?:[Zz]|[+-]{_HOUR}:\d{{2}})?",
    re.ASCII,
)
_TIME_WORDS = "is RFC 3339 such as 2026-12-24T18:00:00+01:00, or a local time such as 2026-12-24T18:00"


def read_schedule(schedule: Schedule, *, key: str, field: str) -> tuple[CompiledSchedule | None, list[Violation]]:
    """The schedule ready for use, or what is wrong with it.

    Args:
        schedule: what somebody wrote.
        key: the task's name; seeds `H` and jitter.
        field: the path to the schedule.
    """
    return _Reader(schedule, key, field).read()


def read_time(text: str) -> datetime:
    """The time of a one-shot: aware if it was written with an offset, else local.

    Raises:
        ValueError: it is none; the message says what is allowed.
    """
    if not _TIME.fullmatch(text):
        raise ValueError(_TIME_WORDS)
    try:
        time = datetime.fromisoformat(text.upper())
    except ValueError:
        raise ValueError(f"{text} does not exist; it {_TIME_WORDS}") from None
    if time.year not in YEARS:
        raise ValueError(f"{text} lies outside the years {YEARS[0]} to {YEARS[-1]}")
    return time


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
        self._check_numbers()
        self._check_bounds()
        if self._wrong or zone is None:
            return None, self._wrong
        compiled = CompiledSchedule(
            timezone=schedule.timezone or "UTC",
            zone=zone,
            rules=tuple(rule for rule in rules if rule is not None),
            starts_at=schedule.starts_at,
            ends_at=schedule.ends_at,
            exclude=Excluded.of([dates for dates in exclude if dates is not None]),
            jitter=schedule.jitter or timedelta(0),
            key=self._key,
        )
        return compiled, []

    def _check_numbers(self) -> None:
        if not timedelta(0) <= (self._schedule.jitter or timedelta(0)) <= LONGEST_JITTER:
            self._refuse("jitter", "jitter", "is between 0s and 1d")
        if self._schedule.max_runs is not None and self._schedule.max_runs < 1:
            self._refuse("max_runs", "max_runs", "is at least 1")

    def _check_bounds(self) -> None:
        bounds = {"starts_at": self._schedule.starts_at, "ends_at": self._schedule.ends_at}
        naive = [name for name, instant in bounds.items() if instant is not None and instant.tzinfo is None]
        for name in naive:
            self._refuse(name, "bounds", "is an instant; a local time without an offset is none")
        starts_at, ends_at = bounds.values()
        if not naive and starts_at and ends_at and starts_at > ends_at:
            self._refuse("ends_at", "bounds", "lies before starts_at")

    def _rules(self, zone: ZoneInfo | None) -> list[Rule | None]:
        specs = self._schedule.rules
        if not specs:
            self._refuse("rules", "empty", "is empty; a schedule has at least one of cron, every and at")
        if len(specs) > MOST_RULES:
            self._refuse("rules", "many", f"has {len(specs)} rules; at most {MOST_RULES} are allowed")
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
        if fields.timezone is not None:
            zone = self._zone(fields.timezone, path)
        if fields.every is not None:
            return IntervalRule(fields.every)
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
            time = read_time(shot.time)
        except ValueError as error:
            self._refuse(path, "at", str(error))
            return None
        if time.tzinfo is not None:
            return OnceRule((time.astimezone(UTC),))
        return OnceRule(tuple(self._instants(time, zone))) if zone is not None else None

    def _instants(self, local: datetime, zone: ZoneInfo) -> list[datetime]:
        instants = instants_of(local, zone)
        if not instants:
            return [] if self._schedule.dst_gap is GapPolicy.SKIP else [after_gap(local, zone)]
        return instants if self._schedule.dst_fold is FoldPolicy.TWICE else instants[:1]

    def _zone(self, name: str, path: str) -> ZoneInfo | None:
        try:
            return find_zone(name)
        except ValueError as error:
            self._refuse(path, "timezone", str(error))
            return None

    def _dates(self, dates: DateRange, path: str) -> Dates | None:
        try:
            return read_dates(dates.first, dates.last)
        except ValueError as error:
            self._refuse(path, "exclude", str(error))
            return None

    def _refuse(self, path: str, code: str, message: str) -> None:
        self._wrong.append(Violation(f"{self._field}.{path}", f"schedule.{code}", message))
