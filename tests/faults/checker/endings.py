"""P10 and P11: nothing is left behind, and what was once written stays.

A sighting is a sample: moves between two of them are not seen. What can be judged is that a final state is the last,
that tries only rise, that what has started is never skipped, and that a row goes only as the tick of a task that was
changed before it was due.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from faults.checker.evidence import FINAL, SETTLE, Evidence, gather, group, highest
from faults.checker.words import clock
from faults.model import Leftover, Observed, Outcome, Row, Sighting, Verb, Violation

STARTED = frozenset({"running", "succeeded", "timed_out"})
DROPPABLE = frozenset({"pending", "assigned"})
"""States in which a row may go, if its tick is not due yet and its task is changed."""

AHEAD = timedelta(seconds=15)
"""How long before its tick a row may be written."""

DROPPING = frozenset({Verb.UPDATE, Verb.PAUSE, Verb.RESUME, Verb.DELETE})


def p10_no_leftovers(observed: Observed) -> Iterator[Violation]:
    """At the end there are containers and processes of live runs only."""
    evidence = gather(observed)
    for leftover in observed.leftovers:
        row = evidence.rows.get(leftover.run_id)
        complaint = _complaint(evidence, leftover, row)
        if complaint:
            state = "runs" if leftover.running else "lies about"
            what = f"{leftover.handle} still {state} on {leftover.node}, and {complaint}"
            yield Violation("P10", row.task if row else "", what, leftover.run_id)


def p11_history(observed: Observed) -> Iterator[Violation]:
    """Final states are final, tries rise, nothing that started is skipped, and no row goes."""
    evidence = gather(observed)
    for run_id, sightings in group(observed.sightings, lambda one: one.run_id).items():
        row = evidence.rows.get(run_id)
        task = row.task if row else next((one.task for one in sightings if one.task), "")
        for life in _lives(sightings):
            sentences = (*_moved_wrong(life), *_vanished(evidence, life, row), *_rewritten(life, row))
            yield from (Violation("P11", task, what, run_id) for what in sentences)


# -- leftovers


def _complaint(evidence: Evidence, leftover: Leftover, row: Row | None) -> str | None:
    if not leftover.run_id:
        return "does not say of which run it is"
    if row is None:
        return "its run is not in the ledger"
    last = highest(row)
    if last and last.number > leftover.number:
        return f"its try {leftover.number} was followed by try {last.number}"
    if row.state in FINAL and (row.finished or row.scheduled_at) + SETTLE < evidence.observed.read:
        return f"its run has been {row.state} since {clock(row.finished)}"
    return None


# -- history


def _lives(sightings: Sequence[Sighting]) -> Iterator[Sequence[Sighting]]:
    """What a change took away before it started may be written anew under the same name: another life."""
    life: list[Sighting] = []
    for sighting in sightings:
        life.append(sighting)
        if sighting.gone:
            yield life
            life = []
    if life:
        yield life


def _moved_wrong(life: Sequence[Sighting]) -> Iterator[str]:
    for before, after in pairwise(one for one in life if not one.gone):
        moment = f"between {clock(before.at)} and {clock(after.at)}"
        if before.state in FINAL and after.state != before.state:
            yield f"it was {before.state} and became {after.state} {moment}"
        elif after.attempt < before.attempt:
            yield f"it went back from try {before.attempt} to try {after.attempt} {moment}"
        elif before.state in STARTED and after.state == "skipped":
            yield f"it was {before.state} and became skipped {moment}"


def _vanished(evidence: Evidence, life: Sequence[Sighting], row: Row | None) -> Iterator[str]:
    seen = [one for one in life if not one.gone]
    if not seen or (row and not life[-1].gone):
        return
    gone = life[-1].at if life[-1].gone else evidence.observed.read
    started = any(one.state in STARTED for one in seen)
    if started or seen[-1].state not in DROPPABLE or not _dropped(evidence, seen[-1], gone):
        yield f"its row was {seen[-1].state} at {clock(seen[-1].at)} and is not there any more at {clock(gone)}"


def _dropped(evidence: Evidence, last: Sighting, gone: datetime) -> bool:
    """Whether the task of a row may have been changed after the row was written, ahead of its tick, and before that."""
    tick = last.scheduled_at or gone
    return any(
        one.verb in DROPPING
        and one.outcome is not Outcome.FAIL
        and last.task in {"", one.task}
        and one.invoked <= min(tick, gone)
        and (one.completed is None or one.completed >= tick - AHEAD)
        for one in evidence.observed.operations
    )


def _rewritten(life: Sequence[Sighting], row: Row | None) -> Iterator[str]:
    final = next((one for one in life if one.state in FINAL and not one.gone), None)
    if row and final and row.state != final.state:
        yield f"it was {final.state} at {clock(final.at)}, and is {row.state} at the end"
