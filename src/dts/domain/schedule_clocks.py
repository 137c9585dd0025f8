"""What the coming changes of the clock will do to a schedule."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby, islice

from dts.domain.ids import MICROSECOND
from dts.domain.localtime import FIRST, LAST, Change, changes_of, find_zone
from dts.domain.rules import CronRule
from dts.domain.schedule_read import read_schedule
from dts.domain.schedule_ticks import CompiledSchedule
from dts.pb.dts.v1 import Schedule

YEARS_AHEAD = 5
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ClockEffect:
    """A change of the clock, and what it does to a schedule in a sentence."""

    change: Change
    effect: str


def clock_changes(schedule: Schedule, *, key: str, after: datetime, count: int = 2) -> list[ClockEffect]:
    """The next changes of the clock that touch a schedule: a time that it names is jumped over, or comes twice.

    Only cron expressions are touched. Looks five years ahead, in the zone of each expression.
    """
    compiled, _ = read_schedule(schedule, key=key, field="schedule")
    if compiled is None:
        return []
    until = min(compiled.ends_at or LAST, LAST)
    effects = _effects(compiled, max(after, FIRST, compiled.starts_at or FIRST), until)
    return list(islice(effects, count))


def _effects(compiled: CompiledSchedule, after: datetime, until: datetime) -> Iterator[ClockEffect]:
    rules = list(dict.fromkeys(rule for rule in compiled.rules if isinstance(rule, CronRule)))
    touching = (_touching(rule, after, until) for rule in rules)
    merged = heapq.merge(*touching, key=lambda found: (found[0].at, found[1].zone.key))
    for (change, zone), found in groupby(merged, key=lambda pair: (pair[0], pair[1].zone.key)):
        where = f"in {zone} " if zone != compiled.timezone else ""
        effects = dict.fromkeys(_effect(change, rule) for _, rule in found)
        yield ClockEffect(change, f"{where}{_jump(change)}; {'; '.join(effects)}")


def _touching(rule: CronRule, after: datetime, until: datetime) -> Iterator[tuple[Change, CronRule]]:
    """The changes of the rule's clock in (after, until] that it feels, in order."""
    for year in range(after.year, min(after.year + YEARS_AHEAD, LAST.year) + 1):
        for change in changes_of(rule.zone, year):
            if after < change.at <= until and _feels(rule, change):
                yield change, rule


def _feels(rule: CronRule, change: Change) -> bool:
    """Whether the expression names a local time that is jumped over or comes twice."""
    low, high = sorted(change.gap)
    # In UTC no time is left out or repeated, so there the local times of an expression can be counted.
    plain = CronRule(rule.fields, find_zone("UTC"), after_gap=False, twice=False)
    return plain.count(low.replace(tzinfo=UTC) - MICROSECOND, high.replace(tzinfo=UTC) - MICROSECOND) > 0


def _jump(change: Change) -> str:
    low, high = change.gap
    return f"the clock goes from {low:%H:%M} {'on' if high > low else 'back'} to {high:%H:%M}"


def _effect(change: Change, rule: CronRule) -> str:
    low, high = change.gap
    follows = "it follows elapsed time: " if rule.fields.elapsed else ""
    if high < low:
        again = rule.fields.elapsed or rule.twice
        return (
            f"{follows}what falls into the repeated time runs {'twice' if again else 'once, at the first of the two'}"
        )
    runs = rule.after_gap and not rule.fields.elapsed and high - low < DAY
    return f"{follows}what falls into the gap {'runs at once after it' if runs else 'does not run'}"
