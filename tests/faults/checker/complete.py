"""P1: every tick is in the ledger once, with what became of it, and nothing else is there.

Contents: `p01_complete`, and its questions in turn. Whether what a row says may be is `reasons`' question.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from faults.checker.evidence import FINAL, SETTLE, Evidence, gather, over, rows_by_tick
from faults.checker.matching import Point, Window, match, window
from faults.checker.oracle import MICROSECOND, ticks
from faults.checker.reasons import unexplained
from faults.checker.timing import EARLY, deadline, due_at, tolerance_of, waits_by_policy
from faults.checker.words import clock, short, span
from faults.model import Observed, Row, Violation

LONGEST_PAUSE = timedelta(minutes=10)
"""Between two tries of a run, at most."""


def p01_complete(observed: Observed) -> Iterator[Violation]:
    """Every tick that is surely due has a row that may say what it says, and work for what it says ran."""
    evidence = gather(observed)
    for task in evidence.tasks:
        yield from _absent(evidence, task)
        yield from _never_planned(evidence, task)
        yield from _miscounted(evidence, task)
        yield from _runless(evidence, task)
    for row in observed.rows:
        sentences = (*unexplained(evidence, row), *_unfinished(evidence, row))
        yield from (Violation("P1", row.task, what, row.run_id) for what in sentences)
    yield from _rowless(evidence)


def _absent(evidence: Evidence, task: str) -> Iterator[Violation]:
    """Ticks of which the ledger knows nothing."""
    owed = list(evidence.owed(task))
    rows = rows_by_tick(evidence.rows_of.get(task, ()), owed)
    for tick in owed:
        if not rows.get(tick):
            near = evidence.excuse(tick, tick)
            during = f" (during {near.name} of {near.target})" if near else ""
            yield Violation("P1", task, f"the tick {clock(tick)} has no row{during}")


def _never_planned(evidence: Evidence, task: str) -> Iterator[Violation]:
    """Rows at instants that no definition of the task ever named; those of a former one are P9's."""
    course = evidence.course(task)
    for row in evidence.rows_of.get(task, ()):
        if row.trigger == "schedule" and not course.ever_planned(row.scheduled_at):
            what = f"a row ({row.state} {row.reason}) stands at {clock(row.scheduled_at)}, which no plan names"
            yield Violation("P1", task, what, row.run_id)


def _miscounted(evidence: Evidence, task: str) -> Iterator[Violation]:
    """Stretches that stand for another number of ticks than there are."""
    for row in evidence.rows_of.get(task, ()):
        last = row.last_scheduled_at or row.scheduled_at
        if row.trigger != "schedule" or row.ticks == 1 == len({last, row.scheduled_at}):
            continue
        plans = (one.plan for one in evidence.definitions(row))
        counts = {sum(1 for _ in ticks(plan, row.scheduled_at - MICROSECOND, last)) for plan in plans}
        if row.ticks not in counts:
            there = " or ".join(str(count) for count in sorted(counts)) or "none"
            what = f"a row says {row.ticks} ticks ({row.reason}) from {clock(row.scheduled_at)} to {clock(last)}"
            yield Violation("P1", task, f"{what}; the plan has {there}", row.run_id)


def _runless(evidence: Evidence, task: str) -> Iterator[Violation]:
    """The matching of Chronos over what succeeded: it believes no witness that says which run it is."""
    rows = [row for row in evidence.rows_of.get(task, ()) if row.state == "succeeded"]
    witnessed = [row for row in rows if all(one.witnessed for one in evidence.definitions(row))]
    witnesses = [one for one in evidence.all_witnesses if one.task == task]
    points = [Point(one.started.timestamp(), one.ended is not None) for one in witnesses]
    for missing in match([_window(evidence, row) for row in witnessed], points).unmatched:
        what = f"{len(witnessed)} ticks succeeded, but none of the complete runs is left for the one from"
        window_of = f"{_second(missing.begin)} to {_second(missing.end)}"
        yield Violation("P1", task, f"{what} {window_of}")


def _window(evidence: Evidence, row: Row) -> Window:
    """When the try of a row that succeeded must have begun. A first try may have failed, and the last come later."""
    latest = deadline(evidence.observed.faults, due_at(evidence, row), tolerance_of(evidence, row))
    retried = row.finished if len(row.tries) > 1 and row.finished else latest
    return window(row.scheduled_at - EARLY, max(latest, retried))


def _second(epoch: int) -> str:
    return clock(datetime.fromtimestamp(epoch, UTC))


def _unfinished(evidence: Evidence, row: Row) -> Iterator[str]:
    """Rows that should have come to an end long ago."""
    if row.state in FINAL:
        return
    latest = _end_by(evidence, row)
    read = evidence.observed.read
    if latest < read and not _waits(evidence, row):
        yield (
            f"the tick {clock(row.scheduled_at)} is still {row.state} at {clock(read)}; "
            f"it had to be over by {clock(latest)}, {span(read - latest)} before"
        )


def _end_by(evidence: Evidence, row: Row) -> datetime:
    """Until when a row must be over, with all its tries and what was broken."""
    definitions = evidence.definitions(row)
    lasts = max((min(one.lasts, one.timeout) for one in definitions), default=timedelta(0))
    retries = max((one.retries for one in definitions), default=0)
    begins = [one.assigned or one.started for one in row.tries]
    begin = max([row.scheduled_at, due_at(evidence, row), *(one for one in begins if one)])
    pause = LONGEST_PAUSE if row.state == "pending" and row.tries and len(row.tries) <= retries else timedelta(0)
    end = begin + pause + lasts + SETTLE
    # Work that a fault stopped or hid may begin anew when dts has recovered from it.
    for fault in evidence.observed.faults:
        if fault.begun <= end and over(fault) >= begin:
            end = max(end, over(fault) + pause + lasts + SETTLE)
    return end


def _waits(evidence: Evidence, row: Row) -> bool:
    """Whether a row waits by policy for a run that is at work, or was until a moment ago."""
    if row.state != "pending" or not waits_by_policy(evidence, row):
        return False
    others = [other for other in evidence.rows_of[row.task] if other is not row and evidence.began(other)]
    lately = evidence.observed.read - SETTLE
    at_work = (_end_by(evidence, other) >= evidence.observed.read for other in others if other.state not in FINAL)
    just_over = ((evidence.ended(other) or lately) > lately for other in others if other.state in FINAL)
    return any(at_work) or any(just_over)


def _rowless(evidence: Evidence) -> Iterator[Violation]:
    """Work of which the ledger knows nothing."""
    for witness in evidence.all_witnesses:
        if witness.run_id not in evidence.rows:
            what = f"run {short(witness.run_id)} started at {clock(witness.started)} on {witness.node}, and has no row"
            yield Violation("P1", witness.task, what, witness.run_id)
