"""What is wrong with a schedule that somebody writes. What is allowed but may surprise is in `schedule_warnings`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from itertools import pairwise

from dts.domain.durations import format_duration
from dts.domain.errors import Violation
from dts.domain.localtime import SECOND
from dts.domain.rules import CronRule, IntervalRule, OnceRule, Rule
from dts.domain.schedule_clocks import ClockEffect, clock_changes
from dts.domain.schedule_read import read_schedule, read_time
from dts.domain.schedule_ticks import CompiledSchedule
from dts.domain.schedule_warnings import warnings_of
from dts.pb.dts.v1 import Schedule

DAY = timedelta(days=1)
PAST = 20 * 366 * DAY
CALENDARS = range(2000, 2028)
"""Every year there can be: the days of the week and the leap years come again after 28."""


def check_schedule(
    schedule: Schedule, *, key: str, now: datetime, field: str = "schedule", allow_past: bool = False
) -> tuple[list[Violation], list[str]]:
    """What is wrong, and what is allowed but may surprise.

    Args:
        schedule: what somebody wrote.
        key: the task's name.
        now: nothing may lie before it, unless `allow_past`.
        field: the path to the schedule.
        allow_past: ticks of the past are asked for: a one-shot may be caught up.
    """
    compiled, violations = read_schedule(schedule, key=key, field=field)
    if compiled is None:
        return violations, []
    wrong = [Violation(f"{field}.{path}", code, why) for path, code, why in _wrong(schedule, compiled)]
    coming = compiled.next_after(now)
    if not wrong and coming is None and not (allow_past and compiled.last_before(now, after=now - PAST)):
        wrong = [_over(schedule, compiled, now, field)]
    return (wrong, []) if wrong else ([], warnings_of(schedule, compiled, now, coming))


def _wrong(schedule: Schedule, compiled: CompiledSchedule) -> Iterator[tuple[str, str, str]]:
    """Path, code and sentence of what is wrong whatever the time."""
    for number, rule in enumerate(compiled.rules):
        if isinstance(rule, CronRule) and not _ever_matches(rule):
            why = "names no date that exists: it would never run"
            yield f"rules[{number}].cron", "schedule.never_fires", why
        if isinstance(rule, OnceRule):
            yield from _wrong_once(schedule, compiled, number, rule)
    distance = min(map(_smallest_distance, compiled.rules)) if compiled.jitter else None
    if distance is not None and compiled.jitter >= distance:
        given, allowed = format_duration(compiled.jitter), format_duration(distance)
        why = f"is {given}; it is less than the smallest distance between two ticks of a rule, which is {allowed}"
        yield "jitter", "schedule.jitter", why


def _wrong_once(
    schedule: Schedule, compiled: CompiledSchedule, number: int, rule: OnceRule
) -> Iterator[tuple[str, str, str]]:
    shot = schedule.rules[number].at
    text = shot.time if shot is not None else ""
    path = f"rules[{number}].at"
    if not rule.instants:
        why = f"{text} does not exist in {compiled.timezone}: the clock jumps over it, and dst_gap is skip"
        yield path, "schedule.never_fires", why
        return
    offset = read_time(text).utcoffset()
    there = rule.instants[0].astimezone(compiled.zone)
    # Z says that an instant is meant; another offset says what somebody believes of the zone.
    if offset is not None and schedule.timezone and text[-1] not in "Zz" and offset != there.utcoffset():
        why = f"{text} has another offset than {compiled.timezone}, where it is {there.isoformat()}; give it without"
        yield path, "schedule.at", f"{why} an offset, or with Z"


def _ever_matches(rule: CronRule) -> bool:
    return any(rule.fields.days_of(year, month) for year in CALENDARS for month in rule.fields.months)


def _smallest_distance(rule: Rule) -> timedelta:
    """The smallest distance of two ticks as the clock shows them; changes of the clock do not count."""
    if isinstance(rule, IntervalRule):
        return rule.period
    if not isinstance(rule, CronRule):
        return timedelta.max
    seconds, minutes, hours = rule.fields.seconds, rule.fields.minutes, rule.fields.hours
    in_minute = [b - a for a, b in pairwise(seconds)]
    minute = seconds[-1] - seconds[0]
    in_hour = [60 * (b - a) - minute for a, b in pairwise(minutes)]
    hour = 60 * (minutes[-1] - minutes[0]) + minute
    in_day = [3600 * (b - a) - hour for a, b in pairwise(hours)]
    overnight = [86_400 - 3600 * (hours[-1] - hours[0]) - hour] if _has_days_in_a_row(rule) else []
    return min([*in_minute, *in_hour, *in_day, *overnight], default=86_401) * SECOND


def _has_days_in_a_row(rule: CronRule) -> bool:
    days = (date(y, m, d) for y in CALENDARS for m in range(1, 13) for d in rule.fields.days_of(y, m))
    return any(b - a == DAY for a, b in pairwise(days))


def _over(schedule: Schedule, compiled: CompiledSchedule, now: datetime, field: str) -> Violation:
    """Why no tick comes."""
    alone = len(schedule.rules) == 1 and schedule.rules[0].at is not None
    place = f"{field}.rules[0].at" if alone else f"{field}.rules"
    if schedule.ends_at is not None and schedule.ends_at <= now:
        return Violation(f"{field}.ends_at", "schedule.in_past", "lies in the past")
    if compiled.last_before(now, after=now - PAST) is not None:
        why = "lies in the past; give a catchup_window that reaches back to it, or trigger the task"
        return Violation(place, "schedule.in_past", why)
    bounds = [name for name in ("starts_at", "ends_at") if getattr(schedule, name) is not None]
    if bounds:
        why = f"leaves no tick: none lies {'between starts_at and ends_at' if len(bounds) == 2 else 'within it'}"
        return Violation(f"{field}.{bounds[-1]}", "schedule.never_fires", why)
    return Violation(place, "schedule.in_past", "lies in the past")


__all__ = ["ClockEffect", "check_schedule", "clock_changes"]
