"""Which rows the ledger of a task gets next.

A cursor says up to where the ledger of a task is written. `plan_page` reads the schedule from there on and
returns the rows to write and the cursor's next position; the store writes both in one transaction, so a tick is
written exactly once, by whichever replica comes first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby, takewhile
from operator import attrgetter

from dts.domain.ids import EPOCH, MICROSECOND
from dts.domain.policies import Effective
from dts.domain.schedule import CompiledSchedule, Stretch, Tick
from dts.pb.dts.v1 import Catchup, Reason, Schedule

HORIZON = timedelta(seconds=10)
"""How far ahead of its instant a tick is written."""

ON_TIME = timedelta(seconds=5)
"""A tick that is found no later than this is run like any other; catch-up is for what is older."""

PAGE = 1000
"""How many runs a visit writes at most for one task, unless it is told otherwise."""

LONGEST_GAP = timedelta(days=31)
"""How much a visit passes over at most, from the first tick on: counting takes its time, too."""

LATEST_WINDOW = timedelta(hours=1)
"""How old the latest tick may be to be caught up, where the interval is longer."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where the ledger of a task stands.

    upto: every tick up to here is in the ledger.
    runs_left: how many more runs max_runs allows; None for any number.
    """

    upto: datetime
    runs_left: int | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of ticks that do not run, as one row."""

    first: datetime
    last: datetime
    ticks: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class Page:
    """The rows of one visit, and where the cursor stands after them.

    visit_at: when to come again; None if the schedule has no further tick.
    """

    due: tuple[Tick, ...]
    gaps: tuple[Gap, ...]
    cursor: Cursor
    next_due_at: datetime | None
    visit_at: datetime | None


def plan_page(
    schedule: CompiledSchedule, policies: Effective, cursor: Cursor, *, now: datetime, limit: int = PAGE
) -> Page:
    """The rows for the ticks after the cursor: what was missed, what is caught up, what is due within the horizon.

    limit: so many ticks are listed. What is beyond is left to the next visit, which is due at once: together the pages
    say what one without a limit would.
    """
    wanted_from, kept_from = _catch_up(schedule, policies, after=cursor.upto, now=now)
    passed = _passed(schedule, cursor.upto, kept_from)
    gaps = (
        *_gap(schedule.count(cursor.upto, min(wanted_from, passed)), Reason.MISSED),
        *_gap(schedule.count(wanted_from, passed), Reason.DROPPED_CAP),
    )
    if passed < kept_from:
        return _page(schedule, (), gaps, Cursor(passed, cursor.runs_left), now)
    coming = schedule.between(kept_from, now + HORIZON, limit=limit)
    runs, excluded, upto = _split(coming, now=now, full=len(coming) == limit)
    left = cursor.runs_left
    if left is not None:
        runs, left = runs[:left], max(0, left - len(runs))
    # A clock that was put back takes nothing back: what was written for the time ahead may have run.
    return _page(schedule, runs, (*gaps, *excluded), Cursor(max(upto, cursor.upto), left), now)


def first_page(schedule: CompiledSchedule | None, cursor: Cursor, *, now: datetime) -> Page:
    """The cursor of a new, changed or resumed task: nothing is written yet."""
    if schedule is None:
        return Page((), (), cursor, None, None)
    return _page(schedule, (), (), cursor, now)


def opening(compiled: CompiledSchedule, schedule: Schedule | None, policies: Effective, *, now: datetime) -> datetime:
    """Where the ledger of a new task begins: now, or before its single instants if they may be caught up."""
    rules = schedule.rules if schedule else []
    if policies.catchup is Catchup.NONE or any(rule.at is None for rule in rules):
        return now
    first = compiled.count(EPOCH, now).first
    return first - MICROSECOND if first else now


def paused_gap(schedule: CompiledSchedule, *, after: datetime, until: datetime) -> tuple[Gap, ...]:
    """The one row for the ticks that passed while a task was paused."""
    return _gap(schedule.count(after, until), Reason.SKIPPED_PAUSED)


def missed(schedule: CompiledSchedule, *, after: datetime, until: datetime) -> tuple[Gap, ...]:
    """The one row for ticks that passed and do not run, whatever the policies say."""
    return _gap(schedule.count(after, until), Reason.MISSED)


def beside(schedule: CompiledSchedule, gap: Gap, known: Iterable[tuple[datetime, datetime]]) -> list[Gap]:
    """What is left of a gap beside ticks that have their rows: [first, last] of each row, in the order of time."""
    left: list[Gap] = []
    after = gap.first - MICROSECOND
    for first, last in (*known, (gap.last + MICROSECOND, gap.last)):
        left += _gap(schedule.count(after, first - MICROSECOND), gap.reason)
        after = max(after, last)
    return left


def _passed(schedule: CompiledSchedule, after: datetime, kept_from: datetime) -> datetime:
    """Up to where a visit passes over ticks. What holds none, as most of a yearly schedule, is no work."""
    if kept_from - after <= LONGEST_GAP:
        return kept_from
    first = schedule.next_after(after)
    return kept_from if first is None else min(kept_from, first.at + LONGEST_GAP)


def _page(
    schedule: CompiledSchedule, due: tuple[Tick, ...], gaps: tuple[Gap, ...], cursor: Cursor, now: datetime
) -> Page:
    following = schedule.next_after(cursor.upto) if cursor.runs_left != 0 else None
    if following is None:
        return Page(due, gaps, cursor, None, None)
    # An excluded tick is written when it is due, not ahead: until then an edit may still take it away.
    visit_at = following.at if following.excluded else max(following.at - HORIZON / 2, now)
    return Page(due, gaps, cursor, following.at, visit_at)


def _catch_up(
    schedule: CompiledSchedule, policies: Effective, *, after: datetime, now: datetime
) -> tuple[datetime, datetime]:
    """From where on overdue ticks are asked for, and from where on they are kept: the newest, as many as may run."""
    until = max(after, now - ON_TIME)
    match policies.catchup:
        case Catchup.ALL:
            window = policies.catchup_window or LATEST_WINDOW
            wanted_from = min(max(after, now - window), until)
            return wanted_from, schedule.since_newest(policies.catchup_max, wanted_from, until)
        case Catchup.NONE:
            return until, until
        case _:
            latest = _latest(schedule, policies, after=after, until=until, now=now)
            kept_from = latest.at - MICROSECOND if latest else until
            return kept_from, kept_from


def _latest(
    schedule: CompiledSchedule, policies: Effective, *, after: datetime, until: datetime, now: datetime
) -> Tick | None:
    """The newest overdue tick, if it is to run: it is not too old, and none on time has followed it."""
    tick = schedule.last_before(until, after=after)
    if tick is None or tick.excluded or schedule.last_before(now, after=until) is not None:
        return None
    following = schedule.next_after(tick.at)
    interval = following.at - tick.at if following else LATEST_WINDOW
    window = policies.catchup_window or min(interval, LATEST_WINDOW)
    return tick if now - tick.at <= window else None


def _gap(stretch: Stretch, reason: Reason) -> tuple[Gap, ...]:
    if stretch.first is None or stretch.last is None:
        return ()
    all_excluded = stretch.excluded == stretch.ticks
    return (Gap(stretch.first, stretch.last, stretch.ticks, Reason.EXCLUDED if all_excluded else reason),)


def _split(coming: list[Tick], *, now: datetime, full: bool) -> tuple[tuple[Tick, ...], tuple[Gap, ...], datetime]:
    """Ticks to run, stretches of excluded ones that are due, and up to where this settles the ledger."""
    settled = list(takewhile(lambda tick: not tick.excluded or tick.at <= now, coming))
    if len(settled) < len(coming):
        upto = coming[len(settled)].at - MICROSECOND
    elif full:
        settled = _up_to_a_run(settled)
        upto = settled[-1].at
    else:
        upto = now + HORIZON
    stretches = [list(group) for excluded, group in groupby(settled, key=attrgetter("excluded")) if excluded]
    gaps = tuple(Gap(ticks[0].at, ticks[-1].at, len(ticks), Reason.EXCLUDED) for ticks in stretches)
    return tuple(tick for tick in settled if not tick.excluded), gaps, upto


def _up_to_a_run(ticks: list[Tick]) -> list[Tick]:
    """Without the excluded ones at the end: they are counted with those that follow, as one stretch."""
    last = next((number for number in range(len(ticks), 0, -1) if not ticks[number - 1].excluded), len(ticks))
    return ticks[:last]
