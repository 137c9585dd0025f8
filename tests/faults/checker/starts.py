"""P2 and P6: nothing twice, and nothing at once that must not be.

A witness that came to its end lived until then. One that did not is known to have lived until the latest of: what its
engine said of its death, and its own last sign of life. Where there is neither, it is taken to have lived until the
first of: a fault that ends work, the end that the ledger gives its try, the end that it would have had by itself.
That clears dts where nobody can know, and never where a witness can.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from faults.checker.evidence import Evidence, gather, group, over, rows_by_tick
from faults.checker.words import clock, short, span
from faults.model import Fault, Observed, Overlap, Violation, Witness

LONGEST_OVERLAP = timedelta(seconds=30)
"""How long two tries may run at once where a lost one is tried elsewhere at least once (faults.md §4.1)."""


def p02_once(observed: Observed) -> Iterator[Violation]:
    """At most one start of a try, one row of a tick, one row of a run."""
    evidence = gather(observed)
    yield from _started_twice(observed)
    yield from _contained_twice(observed)
    yield from _tried_too_often(evidence)
    yield from _written_twice(evidence)
    for run_id, rows in group(observed.rows, lambda row: row.run_id).items():
        if len(rows) > 1:
            yield Violation("P2", rows[0].task, f"the ledger has {len(rows)} rows of run {short(run_id)}", run_id)
    for row in observed.rows:
        won = [one.number for one in row.tries if one.state == "succeeded"]
        if len(won) > 1:
            yield Violation("P2", row.task, f"tries {won} of one run are both counted as succeeded", row.run_id)


def p06_no_overlap(observed: Observed) -> Iterator[Violation]:
    """Work of a task never runs twice at once, unless its policy allows it."""
    evidence = gather(observed)
    for task, witnesses in group(evidence.all_witnesses, lambda one: one.task).items():
        lives = [_life(evidence, one) for one in witnesses if _alone(evidence, one)]
        yield from _overlaps(evidence, task, sorted(lives, key=lambda life: life.witness.started))


# -- twice


def _started_twice(observed: Observed) -> Iterator[Violation]:
    starts = group(observed.witnesses, lambda one: f"{one.run_id} {one.number}")
    for same in (same for same in starts.values() if len(same) > 1):
        where = ", ".join(f"{clock(one.started)} on {one.node}" for one in same)
        what = f"try {same[0].number} of the tick {clock(same[0].scheduled_at)} started {len(same)} times: {where}"
        yield Violation("P2", same[0].task, what, same[0].run_id)


def _contained_twice(observed: Observed) -> Iterator[Violation]:
    """What the engines say; it holds for work that could not write a witness, too."""
    started = [event for event in observed.events if event.action == "start" and event.run_id]
    for same in group(started, lambda event: f"{event.run_id} {event.number}").values():
        if len(same) > 1:
            where = ", ".join(f"{clock(event.at)} on {event.node}" for event in same)
            what = f"engines started containers of try {same[0].number} {len(same)} times: {where}"
            yield Violation("P2", "", what, same[0].run_id)


def _tried_too_often(evidence: Evidence) -> Iterator[Violation]:
    """Work that was started again, although its task never asks for that and what began may have done all of it."""
    for run_id, witnesses in evidence.witnesses.items():
        numbers = sorted({one.number for one in witnesses})
        definitions = evidence.definitions(evidence.rows[run_id]) if run_id in evidence.rows else frozenset()
        most = max((1 + one.retries if one.at_most_once else len(numbers) for one in definitions), default=len(numbers))
        if len(numbers) > most:
            where = ", ".join(f"try {one.number} at {clock(one.started)} on {one.node}" for one in witnesses)
            what = (
                f"the tick {clock(witnesses[0].scheduled_at)} was started {len(numbers)} times, at most {most}: {where}"
            )
            yield Violation("P2", witnesses[0].task, what, run_id)


def _written_twice(evidence: Evidence) -> Iterator[Violation]:
    for task, rows in evidence.rows_of.items():
        singles = {row.scheduled_at for row in rows}
        for tick, same in rows_by_tick(rows, singles | set(evidence.owed(task))).items():
            if len(same) > 1:
                which = ", ".join(f"{short(row.run_id)} ({row.state} {row.reason})" for row in same)
                what = f"the tick {clock(tick)} has {len(same)} rows: {which}"
                yield Violation("P2", task, what, same[1].run_id)


# -- at once


@dataclass(frozen=True, slots=True)
class Life:
    """A witness, and until when it lived."""

    witness: Witness
    end: datetime


def _alone(evidence: Evidence, witness: Witness) -> bool:
    """Whether nothing else of its task may run beside a witness, whichever definition applies."""
    definitions = evidence.course(witness.task).definitions(witness.scheduled_at)
    return all(definition.overlap is not Overlap.ALLOW for definition in definitions)


def _life(evidence: Evidence, witness: Witness) -> Life:
    if witness.ended:
        return Life(witness, witness.ended)
    signs = [*_deaths(evidence, witness), *([witness.seen] if witness.seen else [])]
    return Life(witness, max(signs, default=_presumed_end(evidence, witness)))


def _deaths(evidence: Evidence, witness: Witness) -> Iterator[datetime]:
    for event in evidence.observed.events:
        same = (event.run_id, event.number, event.node) == (witness.run_id, witness.number, witness.node)
        if same and event.action == "die" and event.at >= witness.started:
            yield event.at


def _presumed_end(evidence: Evidence, witness: Witness) -> datetime:
    row = evidence.rows.get(witness.run_id)
    tries = [one.finished for one in row.tries if one.number == witness.number and one.finished] if row else []
    killers = [fault.begun for fault in evidence.observed.faults if not fault.spares_work]
    definitions = evidence.course(witness.task).definitions(witness.scheduled_at)
    own = [witness.started + min(definition.lasts, definition.timeout) for definition in definitions]
    ends = [end for end in (*tries, *killers, *own) if end >= witness.started]
    return min([*ends, evidence.observed.read])


def _overlaps(evidence: Evidence, task: str, lives: Sequence[Life]) -> Iterator[Violation]:
    excused = Counter[Fault]()
    longest: Life | None = None
    for life in lives:
        if longest and life.witness.started < longest.end and not _tolerated(evidence, longest, life, excused):
            yield _overlap(task, longest, life)
        longest = max((one for one in (longest, life) if one), key=lambda one: one.end)


def _tolerated(evidence: Evidence, first: Life, second: Life, excused: Counter[Fault]) -> bool:
    """Whether this is the one short overlap that a fault may cause, where lost tries are tried elsewhere."""
    definitions = evidence.course(first.witness.task).definitions(first.witness.scheduled_at)
    if any(definition.at_most_once for definition in definitions):
        return False
    end = min(first.end, second.end)
    if end - second.witness.started > LONGEST_OVERLAP:
        return False
    faults = evidence.observed.faults
    free = (one for one in faults if one.begun <= end and over(one) >= first.witness.started and not excused[one])
    fault = next(free, None)
    excused.update([fault] if fault else [])
    return fault is not None


def _overlap(task: str, first: Life, second: Life) -> Violation:
    one, other = first.witness, second.witness
    length = min(first.end, second.end) - other.started
    what = (
        f"run {short(other.run_id)} try {other.number} started at {clock(other.started)} on {other.node}, while run "
        f"{short(one.run_id)} try {one.number} on {one.node} lived until {clock(first.end)}: {span(length)} at once"
    )
    return Violation("P6", task, what, other.run_id)
