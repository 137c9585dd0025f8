"""What is allowed in a schedule but may surprise."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta

from dts.domain.cron_fields import CronFields
from dts.domain.ids import MICROSECOND
from dts.domain.localtime import instants_of
from dts.domain.rules import CronRule, OnceRule
from dts.domain.schedule_read import read_time
from dts.domain.schedule_ticks import CompiledSchedule, Tick
from dts.pb.dts.v1 import Schedule

FAR = timedelta(days=366)
DAY = timedelta(days=1)
_COLUMNS = (
    ("second", 60, "minute"),
    ("minute", 60, "hour"),
    ("hour", 24, "day"),
    ("day", 0, ""),
    ("month", 12, "year"),
)


def warnings_of(schedule: Schedule, compiled: CompiledSchedule, now: datetime, coming: Tick | None) -> list[str]:
    """A sentence for each. coming: the next tick after now, if there is one."""
    found = [*_of_times(compiled, now, coming), *_of_rules(schedule, compiled, now)]
    if schedule.timezone.startswith("Etc/GMT"):
        found.append("the sign of Etc/GMT zones is inverted: Etc/GMT-2 is two hours ahead of UTC")
    return list(dict.fromkeys(found))


def _of_times(compiled: CompiledSchedule, now: datetime, coming: Tick | None) -> Iterator[str]:
    if coming is None:
        yield "every tick lies in the past: only what is caught up runs"
        return
    if coming.at - now > FAR:
        yield f"the next tick is in {coming.at.year}"
    if _is_all_excluded(compiled, coming):
        yield "every tick of the coming year falls on an excluded date, so nothing would run"


def _is_all_excluded(compiled: CompiledSchedule, coming: Tick) -> bool:
    """Whether no tick of a year runs, by going from the end of one run of excluded days to the next."""
    tick: Tick | None = coming
    until = coming.at + FAR
    while tick is not None and tick.excluded and tick.at < until:
        day = tick.at.astimezone(compiled.zone).date() + DAY
        while compiled.exclude.holds(day) and day <= until.date():
            day += DAY
        midnight = datetime.combine(day, time(), tzinfo=compiled.zone).astimezone(UTC)
        tick = compiled.next_after(max(tick.at, midnight - MICROSECOND))
    return tick is None or (tick is not coming and tick.at >= until)


def _of_rules(schedule: Schedule, compiled: CompiledSchedule, now: datetime) -> Iterator[str]:
    for number, (spec, rule) in enumerate(zip(schedule.rules, compiled.rules, strict=True)):
        if isinstance(rule, CronRule) and spec.cron is not None:
            yield from _of_days(rule.fields)
            yield from _of_steps(spec.cron.expression)
        if isinstance(rule, OnceRule) and spec.at is not None:
            if len(compiled.rules) > 1 and rule.instants[-1] <= now:
                yield f"rules[{number}].at lies in the past"
            yield from _of_local_time(compiled, rule, spec.at.time)


def _of_days(fields: CronFields) -> Iterator[str]:
    days = fields.days
    by_date = days.days is not None
    by_weekday = days.weekdays is not None or bool(days.nth)
    if by_date and by_weekday and not days.both:
        yield "day of month and day of week are joined by OR: it is due when either matches"
    only_late = days.days and min(days.days) > 28 and not days.last_days and not days.near
    if only_late and days.weekdays is None and not days.nth and len(fields.months) > 1:
        yield f"months without a day {min(days.days or ())} are left out; L is the last day of every month"


def _of_steps(expression: str) -> Iterator[str]:
    """Steps that do not come out even, by what is written: a list of the same values is meant as it stands."""
    texts = [text for text in expression.split() if "TZ=" not in text]
    columns = _COLUMNS if len(texts) == 6 else _COLUMNS[1:]
    for text, (unit, size, whole) in zip(texts, columns, strict=False):
        match = re.fullmatch(r"[*?]/(\d+)", text)
        step = int(match[1]) if match else 1
        if unit == "day" and step > 1:
            yield f"every {step} days begins anew with each month: over its end the distance is another"
        elif size % step:
            rest = f"{size % step} {unit}{'s' if size % step > 1 else ''}"
            yield f"every {step} {unit}s does not divide the {whole}: the last distance of each {whole} is {rest}"


def _of_local_time(compiled: CompiledSchedule, rule: OnceRule, text: str) -> Iterator[str]:
    wanted = read_time(text)
    if wanted.tzinfo is not None:
        return
    shown = [instant.astimezone(compiled.zone).isoformat() for instant in rule.instants]
    there = instants_of(wanted, compiled.zone)
    if not there:
        yield f"{text} does not exist in {compiled.timezone}, where the clock jumps over it: it runs at {shown[0]}"
    if len(there) == 2:
        runs = " and ".join(shown)
        yield f"{text} comes twice in {compiled.timezone}, where the clock is put back: it runs at {runs}"
