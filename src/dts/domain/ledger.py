"""Which rows the ledger of a task gets next.

A cursor says up to where the ledger of a task is written. `plan_page` reads the schedule from there on and
returns the rows to write and the cursor's next position; the store writes both in one transaction, so a tick is
written exactly once, by whichever replica comes first.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from dts.domain.ids import EPOCH, MICROSECOND
from dts.domain.policies import Effective
from dts.domain.schedule import CompiledSchedule, Stretch, Tick
from dts.pb.dts.v1 import Catchup, Reason, Schedule

HORIZON = timedelta(seconds=10)
"""How far ahead of its instant a tick is written."""

ON_TIME = timedelta(seconds=5)
"""A tick that is found no later than this is run like any other; catch-up is for what is older."""

PAGE = 1000
"""How many rows a visit writes at most for one task."""

WINDOW_TICKS = 1_000_000
"""How many ticks of a catch-up window are looked at; a window with more is cut at its end."""

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


def plan_page(schedule: CompiledSchedule, policies: Effective, cursor: Cursor, *, now: datetime) -> Page:
    """The rows for the ticks after the cursor: what was missed, what is caught up, what is due within the horizon."""
    overdue_until = max(cursor.upto, now - ON_TIME)
    caught_up, gaps = _catch_up(schedule, policies, after=cursor.upto, until=overdue_until, now=now)
    coming = schedule.between(overdue_until, now + HORIZON, limit=PAGE)
    due, excluded, upto = _split(coming, now=now, until=now + HORIZON)
    runs = (*caught_up, *due)
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
    schedule: CompiledSchedule, policies: Effective, *, after: datetime, until: datetime, now: datetime
) -> tuple[tuple[Tick, ...], tuple[Gap, ...]]:
    """The overdue ticks that run, and the stretches of those that do not.

    The newest are kept: in time order a stretch is missed, then dropped by the cap, then run.
    """
    wanted = _wanted(schedule, policies, after=after, until=until, now=now)
    owed = [tick for tick in wanted if not tick.excluded]
    run = tuple(owed[-policies.catchup_max :])
    dropped_from = owed[0].at - MICROSECOND if owed else until
    kept_from = run[0].at - MICROSECOND if run else until
    excluded = [tick for tick in wanted if tick.excluded and tick.at > kept_from]
    return run, (
        *_gap(schedule.count(after, dropped_from), Reason.MISSED),
        *_gap(schedule.count(dropped_from, kept_from), Reason.DROPPED_CAP),
        *_excluded_gap(excluded),
    )


def _wanted(
    schedule: CompiledSchedule, policies: Effective, *, after: datetime, until: datetime, now: datetime
) -> list[Tick]:
    """The overdue ticks that the catch-up policy asks for, excluded ones among them."""
    if policies.catchup is Catchup.ALL:
        window = policies.catchup_window or LATEST_WINDOW
        return schedule.between(min(max(after, now - window), until), until, limit=WINDOW_TICKS)
    if policies.catchup is Catchup.NONE or schedule.last_before(now, after=until) is not None:
        return []
    tick = schedule.last_before(until, after=after)
    if tick is None or tick.excluded:
        return []
    following = schedule.next_after(tick.at)
    interval = following.at - tick.at if following else LATEST_WINDOW
    window = policies.catchup_window or min(interval, LATEST_WINDOW)
    return [tick] if now - tick.at <= window else []


def _gap(stretch: Stretch, reason: Reason) -> tuple[Gap, ...]:
    if stretch.first is None or stretch.last is None:
        return ()
    all_excluded = stretch.excluded == stretch.ticks
    return (Gap(stretch.first, stretch.last, stretch.ticks, Reason.EXCLUDED if all_excluded else reason),)


def _split(coming: list[Tick], *, now: datetime, until: datetime) -> tuple[tuple[Tick, ...], tuple[Gap, ...], datetime]:
    """Ticks to run, stretches of excluded ones that are due, and up to where this settles the ledger."""
    runs: list[Tick] = []
    excluded: list[Tick] = []
    for tick in coming:
        if not tick.excluded:
            runs.append(tick)
        elif tick.at <= now:
            excluded.append(tick)
        else:
            return tuple(runs), _excluded_gap(excluded), tick.at - MICROSECOND
    upto = coming[-1].at if len(coming) == PAGE else until
    return tuple(runs), _excluded_gap(excluded), upto


def _excluded_gap(excluded: list[Tick]) -> tuple[Gap, ...]:
    if not excluded:
        return ()
    return (Gap(excluded[0].at, excluded[-1].at, len(excluded), Reason.EXCLUDED),)
