"""P9: changes of tasks that were acknowledged take effect within δ and stay; unknown ones are one of the two, for ever.

Contents: the promise; of changes: rows that a change should have prevented, those that it should have brought, what is
listed at the end; of requests: runs that were asked for, runs that were to stop; of unknown changes: whether they
happened once or never.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from faults.checker.evidence import SETTLE, Evidence, gather, group, rows_by_tick
from faults.checker.oracle import FOLLOW, Due, course_of
from faults.checker.words import clock, short, span
from faults.model import Observed, Operation, Outcome, Verb, Violation

STOP_GRACE = timedelta(seconds=10)
"""How long work may take to stop after it was told to."""

GONE = "not there"

CHANGES = frozenset({Verb.CREATE, Verb.UPDATE, Verb.PAUSE, Verb.RESUME, Verb.DELETE})


def p09_definitions(observed: Observed) -> Iterator[Violation]:
    """What was acknowledged holds from δ after its answer on; what is unknown is one of the two, for ever."""
    evidence = gather(observed)
    for task, operations in group(observed.operations, lambda one: one.task).items():
        changes = [one for one in operations if one.verb in CHANGES]
        yield from _still(evidence, task, changes)
        yield from _in_vain(evidence, task, changes)
        yield from _wavering(evidence, task, changes)
        yield from _misremembered(evidence, task)
    yield from _unheard(evidence)


# -- acknowledged changes


def _still(evidence: Evidence, task: str, changes: Sequence[Operation]) -> Iterator[Violation]:
    """Rows of ticks that an earlier definition named and that are not due any more."""
    course = evidence.course(task)
    for row in evidence.rows_of.get(task, ()):
        tick = row.scheduled_at
        stale = row.trigger == "schedule" and row.reason != "skipped_paused" and course.ever_planned(tick)
        if stale and course.due(tick) is Due.NOT:
            last = _last_before(changes, tick)
            after = f"{last.verb} was acknowledged at {clock(last.completed)}" if last else "anybody asked for the task"
            when = "after" if last else "before"
            yield Violation("P9", task, f"the tick {clock(tick)} is {row.state} {when} {after}", row.run_id)


def _last_before(changes: Sequence[Operation], instant: datetime) -> Operation | None:
    known = [one for one in changes if one.outcome is Outcome.OK and one.completed and one.completed <= instant]
    return known[-1] if known else None


def _in_vain(evidence: Evidence, task: str, changes: Sequence[Operation]) -> Iterator[Violation]:
    """Changes after which not one owed tick is in the ledger, until the next change."""
    rows = [row for row in evidence.rows_of.get(task, ()) if row.trigger == "schedule"]
    ends = [*(one.invoked for one in changes[1:]), evidence.observed.read - SETTLE]
    owed = list(evidence.owed(task))
    for change, end in zip(changes, ends, strict=True):
        if change.outcome is not Outcome.OK or change.completed is None:
            continue
        begin = change.completed + FOLLOW
        due = [tick for tick in owed if begin <= tick < end]
        written = rows_by_tick(rows, due)
        if due and not any(written.get(tick) for tick in due):
            what = f"{change.verb} was acknowledged at {clock(change.completed)}, but none of {len(due)} ticks until"
            yield Violation("P9", task, f"{what} {clock(end)} has a row")


def _misremembered(evidence: Evidence, task: str) -> Iterator[Violation]:
    """What dts lists at the end is not what was asked for."""
    if evidence.observed.listed is None:
        return
    listed = [_standing(one.enabled) for one in evidence.observed.listed if one.task == task] or [GONE]
    worlds = evidence.course(task).at(evidence.observed.read)
    right = sorted({_standing(not world.paused) if world.definition else GONE for world in worlds})
    if len(listed) > 1 or listed[0] not in right:
        what = f"at the end the task is {' and '.join(listed)}, but it must be {' or '.join(right)}"
        yield Violation("P9", task, what)


def _standing(enabled: bool) -> str:
    return "enabled" if enabled else "paused"


# -- unknown changes


def _wavering(evidence: Evidence, task: str, changes: Sequence[Operation]) -> Iterator[Violation]:
    """An unknown change that seems to have happened, and then not to have happened."""
    for place, change in enumerate(changes):
        if change.outcome is not Outcome.INFO or any(one.outcome is Outcome.INFO for one in changes[:place]):
            continue
        until = changes[place + 1].invoked if change is not changes[-1] else evidence.observed.read - SETTLE
        signs = list(_signs(evidence, task, changes[:place], change, until))
        turn = next((tick for tick, happened in signs if happened), until)
        back = [tick for tick, happened in signs if not happened and tick > turn + FOLLOW]
        if back:
            what = (
                f"{change.verb} of {clock(change.invoked)}, of which nobody knows, had happened by {clock(turn)}, but"
            )
            yield Violation("P9", task, f"{what} not for {len(back)} later ticks, the first at {clock(back[0])}")


def _signs(
    evidence: Evidence, task: str, before: Sequence[Operation], change: Operation, until: datetime
) -> Iterator[tuple[datetime, bool]]:
    """Ticks that are owed either with a change or without it, and whether they tell that it had happened."""
    without = course_of(before)
    with_it = course_of([*before, replace(change, outcome=Outcome.OK, completed=change.invoked)])
    since = change.invoked + FOLLOW
    owed_with, owed_without = set(with_it.surely_due(since, until)), set(without.surely_due(since, until))
    rows = [row for row in evidence.rows_of.get(task, ()) if row.reason != "skipped_paused"]
    written = rows_by_tick(rows, owed_with | owed_without)
    for tick in sorted(owed_with ^ owed_without):
        yield tick, bool(written.get(tick)) is (tick in owed_with)


# -- requests


def _unheard(evidence: Evidence) -> Iterator[Violation]:
    """Runs that were asked for and are not there, and work that was to stop and went on."""
    for one in evidence.observed.operations:
        if one.outcome is not Outcome.OK or one.completed is None or not one.run_id:
            continue
        if one.verb is Verb.TRIGGER and one.run_id not in evidence.rows:
            what = f"run {short(one.run_id)} was promised at {clock(one.completed)}, and has no row"
            yield Violation("P9", one.task, what, one.run_id)
        if one.verb is Verb.CANCEL:
            yield from _went_on(evidence, one, one.completed)


def _went_on(evidence: Evidence, cancel: Operation, answered: datetime) -> Iterator[Violation]:
    latest = answered + FOLLOW + STOP_GRACE
    ends = [one.ended for one in evidence.witnesses.get(cancel.run_id, ()) if one.ended]
    end = max(ends, default=answered)
    if end > latest and not evidence.excuse(cancel.invoked, end):
        what = f"the work went on until {clock(end)}, {span(end - answered)} after its cancellation was acknowledged"
        yield Violation("P9", cancel.task, what, cancel.run_id)
