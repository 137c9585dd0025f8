"""What is wrong with a schedule that somebody writes, what may surprise, and what the clocks will do to it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from dts.domain.errors import Violation
from dts.domain.localtime import Change, changes_of
from dts.domain.rules import CronRule
from dts.domain.schedule import CompiledSchedule, read_schedule
from dts.pb.dts.v1 import Schedule

YEARS_AHEAD = 2
FAR = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class ClockEffect:
    """A change of the clock, and what it does to a schedule in a sentence."""

    change: Change
    effect: str


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
    coming = compiled.next_after(now)
    if coming is None and not (allow_past and compiled.last_before(now, after=now - 20 * FAR)):
        return [_never(schedule, compiled, now, field)], []
    return [], _warnings(schedule, compiled, now, coming.at if coming else None)


def clock_changes(schedule: Schedule, *, key: str, after: datetime, count: int = 2) -> list[ClockEffect]:
    """The next changes of the zone's clocks, with what they do to the schedule; few zones have any."""
    compiled, _ = read_schedule(schedule, key=key, field="schedule")
    if compiled is None or not any(isinstance(rule, CronRule) for rule in compiled.rules):
        return []
    years = range(after.year, after.year + YEARS_AHEAD + 1)
    coming = [change for year in years for change in changes_of(compiled.zone, year) if change.at > after]
    return [ClockEffect(change, _effect(compiled, change)) for change in coming[:count]]


def _never(schedule: Schedule, compiled: CompiledSchedule, now: datetime, field: str) -> Violation:
    if schedule.ends_at is not None and schedule.ends_at <= now:
        return Violation(f"{field}.ends_at", "schedule.in_past", "lies in the past")
    if compiled.last_before(now, after=now - 20 * FAR) is not None:
        why = "lies in the past; give a catchup_window that reaches back to it, or trigger the task"
        place = "rules[0].at" if len(schedule.rules) == 1 else "rules"
        return Violation(f"{field}.{place}", "schedule.in_past", why)
    place = "rules[0].cron" if len(schedule.rules) == 1 and schedule.rules[0].cron else "rules"
    return Violation(f"{field}.{place}", "schedule.never_fires", "names no date that exists: it would never run")


def _warnings(schedule: Schedule, compiled: CompiledSchedule, now: datetime, coming: datetime | None) -> list[str]:
    found: list[str] = []
    if coming is not None and coming - now > FAR:
        found.append(f"the next tick is in {coming.year}")
    for rule in compiled.rules:
        if isinstance(rule, CronRule):
            found += _surprises(rule)
    if schedule.timezone.startswith("Etc/GMT"):
        found.append("the sign of Etc/GMT zones is inverted: Etc/GMT-2 is two hours ahead of UTC")
    return found


def _surprises(rule: CronRule) -> list[str]:
    days = rule.fields.days
    restricted = days.days is not None and (days.weekdays is not None or bool(days.nth))
    found = []
    if restricted and not days.both:
        found.append("day of month and day of week are joined by OR: it is due when either matches")
    gaps = {b - a for a, b in zip(rule.fields.minutes, rule.fields.minutes[1:], strict=False)}
    if len(rule.fields.minutes) > 2 and len(gaps) == 1:
        step = gaps.pop()
        if 60 % step and rule.fields.minutes[-1] + step - 60 != rule.fields.minutes[0]:
            found.append(f"every {step} minutes does not divide the hour: the last distance of each hour is shorter")
    return found


def _effect(compiled: CompiledSchedule, change: Change) -> str:
    low, high = change.gap
    forward = high > low
    jump = f"the clock goes from {low:%H:%M} {'on' if forward else 'back'} to {high:%H:%M}"
    around = compiled.between(change.at - timedelta(hours=3), change.at + timedelta(hours=3), limit=1000)
    touched = [tick for tick in around if abs(tick.at - change.at) <= abs(high - low)]
    if not touched:
        return f"{jump}; the schedule is not touched"
    if forward:
        at_once = any(tick.at == change.at for tick in touched)
        what = "what falls into the gap runs at once after it" if at_once else "nothing runs in the gap"
        return f"{jump}; {what}"
    before = {_local(compiled, tick.at) for tick in touched if tick.at < change.at}
    again = any(_local(compiled, tick.at) in before for tick in touched if tick.at >= change.at)
    return f"{jump}; what falls into the repeated time runs {'twice' if again else 'once'}"


def _local(compiled: CompiledSchedule, instant: datetime) -> datetime:
    return instant.astimezone(compiled.zone).replace(tzinfo=None)
