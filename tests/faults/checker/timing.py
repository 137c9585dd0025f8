"""P3, P4, P5: not early, on time, and soon on time again after each fault.

Contents: the promises; `recoveries`: how long each fault was felt; `deadline`: until when a start is in time.

A start is in time within ε of its tick. A fault that is there while it is awaited, or from which dts still recovers,
moves its deadline to ε after the fault's recovery. A run that waits by policy is due when the run of an earlier tick is
over for which it waits: a queue lets nobody overtake.

How long a fault was felt is measured to the tick of the last window [tick, tick + ε] without its start, not to the end
of that window: R says from when on ticks are on time again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from faults.checker.evidence import WAITING, Evidence, gather, over, rows_by_tick
from faults.checker.words import clock, span
from faults.model import Fault, Observed, Row, Violation

EARLY = timedelta(milliseconds=50)
"""How early a start may seem, by clocks of one machine."""

INEXACT = timedelta(seconds=1)
"""How exact the ends of the ledger are."""

TIMED = frozenset({"schedule", "manual"})
"""Triggers whose runs are due at the instant that they name; others ask for past ones."""

UNKNOWN_TOLERANCE = timedelta(seconds=2)
"""ε where no definition says it."""

NEVER_STARTED = frozenset({"skipped_overlap", "skipped_paused", "excluded", "queue_full", "replaced", "cancelled"})
"""Reasons for which a tick may have no start although nothing is broken; whether they hold is P1's question."""


def p03_not_early(observed: Observed) -> Iterator[Violation]:
    """No work starts before its tick."""
    evidence = gather(observed)
    for witness in observed.witnesses:
        row = evidence.rows.get(witness.run_id)
        due = row.scheduled_at if row else witness.scheduled_at
        if witness.started < due - EARLY:
            what = (
                f"try {witness.number} started at {clock(witness.started)} on {witness.node}, "
                f"{span(due - witness.started)} before its tick {clock(due)}"
            )
            yield Violation("P3", witness.task, what, witness.run_id)


def p04_timely(observed: Observed) -> Iterator[Violation]:
    """Each start is within ε of its tick, or within ε of the recovery from what was broken."""
    evidence = gather(observed)
    for row in (row for row in observed.rows if row.trigger in TIMED):
        began = evidence.began(row)
        due = due_at(evidence, row)
        latest = deadline(observed.faults, due, tolerance_of(evidence, row))
        if began and observed.begun < row.scheduled_at and began > latest:
            what = (
                f"the tick {clock(row.scheduled_at)} started at {clock(began)}, {span(began - due)} after it could; "
                f"with {_named(observed.faults, due, began)} it had to by {clock(latest)}"
                f"{_overtaken(evidence, row, due, began)}"
            )
            yield Violation("P4", row.task, what, row.run_id)


def p05_recovers(observed: Observed) -> Iterator[Violation]:
    """After each fault everything is on time again within its R."""
    for recovery in recoveries(observed):
        if recovery.took > recovery.fault.recovery:
            fault = recovery.fault
            what = (
                f"{span(recovery.took)} after {fault.name} of {fault.target} was healed at {clock(fault.healed)} "
                f"the tick {clock(recovery.tick)} was still not on time; {span(fault.recovery)} are allowed"
            )
            yield Violation("P5", recovery.task, what)


# -- how long a fault is felt


@dataclass(frozen=True, slots=True)
class Recovery:
    """How long after its end a fault was felt: until the last tick that was not on time. task: of that tick."""

    fault: Fault
    took: timedelta = timedelta(0)
    task: str = ""
    tick: datetime | None = None


def recoveries(observed: Observed) -> Sequence[Recovery]:
    """How long each fault was felt, by ticks that no other fault was near to, before the next fault began."""
    late = sorted(_late_ticks(gather(observed)), key=lambda one: one.tick)
    return [_recovery(observed, fault, late) for fault in observed.faults]


@dataclass(frozen=True, slots=True)
class Late:
    """A tick that was not on time. by: when its work had to start, were nothing broken."""

    tick: datetime
    task: str
    by: datetime


def _recovery(observed: Observed, fault: Fault, late: Sequence[Late]) -> Recovery:
    others = [other for other in observed.faults if other is not fault]
    until = min((other.begun for other in others if other.begun >= fault.healed), default=observed.read)
    felt = [
        one
        for one in late
        if fault.begun <= one.tick
        and one.by < until
        and not any(other.begun <= one.by and one.tick <= over(other) for other in others)
    ]
    if not felt or felt[-1].tick <= fault.healed:
        return Recovery(fault)
    return Recovery(fault, felt[-1].tick - fault.healed, felt[-1].task, felt[-1].tick)


def _late_ticks(evidence: Evidence) -> Iterator[Late]:
    for task in evidence.tasks:
        ticks = list(evidence.owed(task))
        rows = rows_by_tick(evidence.rows_of.get(task, ()), ticks)
        for tick in ticks:
            if not any(_on_time(evidence, row) for row in rows.get(tick, ())):
                ends = [due_at(evidence, row) + tolerance_of(evidence, row) for row in rows.get(tick, ())]
                yield Late(tick, task, max(ends, default=tick + UNKNOWN_TOLERANCE))


def _on_time(evidence: Evidence, row: Row) -> bool:
    """Whether a row's tight window [tick, tick + ε] is satisfied, no fault being an excuse."""
    if row.reason in NEVER_STARTED or (row.state == "pending" and waits_by_policy(evidence, row)):
        return True  # whether it may is P1's question
    began = evidence.began(row)
    return began is not None and began <= due_at(evidence, row) + tolerance_of(evidence, row)


# -- when a start is due


def deadline(faults: Sequence[Fault], due: datetime, tolerance: timedelta) -> datetime:
    """Until when a start is in time. One fault may follow the other before anything could start."""
    latest = due + tolerance
    for fault in faults:
        if fault.begun <= latest and over(fault) >= due:
            latest = max(latest, over(fault) + tolerance)
    return latest


def due_at(evidence: Evidence, row: Row) -> datetime:
    """When the first try of a row could start: at its tick, or when the run was over for which it waits by policy."""
    began = evidence.began(row)
    if began is None or not waits_by_policy(evidence, row):
        return row.scheduled_at
    ends = evidence.ends_of[row.task]
    # An end may be written down somewhat later than it was.
    place = bisect_right(ends, began + INEXACT, key=lambda life: life[0])
    lives = (ends[number] for number in range(place - 1, -1, -1))
    before = (end for end, start, tick in lives if start < began and tick < row.scheduled_at)
    return max(row.scheduled_at, min(began, next(before, row.scheduled_at)))


def waits_by_policy(evidence: Evidence, row: Row) -> bool:
    """Whether the tick of a row may wait for the run before it."""
    return any(definition.overlap in WAITING for definition in evidence.definitions(row))


def tolerance_of(evidence: Evidence, row: Row) -> timedelta:
    """ε of a row; the greatest where more than one definition may apply."""
    return max((definition.tolerance for definition in evidence.definitions(row)), default=UNKNOWN_TOLERANCE)


def _overtaken(evidence: Evidence, row: Row, due: datetime, began: datetime) -> str:
    """Which later ticks ran while a row waited for its turn."""
    if not waits_by_policy(evidence, row):
        return ""
    lives = evidence.ends_of[row.task]
    later = [clock(tick) for _, start, tick in lives if tick > row.scheduled_at and due <= start < began]
    return f"; later ticks overtook it: {', '.join(later)}" if later else ""


def _named(faults: Sequence[Fault], due: datetime, began: datetime) -> str:
    near = [f"{one.name} of {one.target}" for one in faults if one.begun <= began and over(one) >= due]
    return " and ".join(near) or "nothing broken"
