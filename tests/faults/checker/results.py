"""P7 and P8: what the ledger says is what happened, and the last try says it.

Contents: `p07_fenced`; `p08_true`, which asks of each row, of each try and of each witness.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from faults.checker.evidence import Evidence, gather, highest
from faults.checker.words import clock, span
from faults.model import Observed, Row, Try, Violation, Witness

ACCURACY = timedelta(seconds=1)
"""How exact the starts and ends of the ledger are."""

STOPPED = frozenset({"timed_out", "cancelled"})
"""States of work that dts itself ended: its exit code is of the signal, or its own if it was quicker."""

BY_TRIES = frozenset({"succeeded", "failed", "timed_out"})
"""States that come of a try."""

NO_MORE_TRIES = frozenset({"start_deadline", "no_node"})
"""Reasons for which a row ends after a failed try, without another one."""


def p07_fenced(observed: Observed) -> Iterator[Violation]:
    """The result of a row is that of its last try, and reports of earlier ones are refused and counted."""
    evidence = gather(observed)
    for row in observed.rows:
        yield from (Violation("P7", row.task, what, row.run_id) for what in _unfenced(evidence, row))
    late = [witness for witness in evidence.all_witnesses if _outlived(evidence, witness)]
    if late and observed.stale_refused == 0:
        first = late[0]
        what = f"{len(late)} tries ended after the next one was given out, and no report was refused; the first: "
        yield Violation("P7", first.task, f"{what}try {first.number} at {clock(first.ended)}", first.run_id)


def p08_true(observed: Observed) -> Iterator[Violation]:
    """Exit codes, memory kills, starts, ends and nodes are as the work saw them; no success without its end."""
    evidence = gather(observed)
    for row in observed.rows:
        sentences = (*_false_row(evidence, row), *_false_tries(evidence, row))
        yield from (Violation("P8", row.task, what, row.run_id) for what in sentences)
    for witness in evidence.all_witnesses:
        yield from (Violation("P8", witness.task, what, witness.run_id) for what in _misled(evidence, witness))


# -- P7


def _unfenced(evidence: Evidence, row: Row) -> Iterator[str]:
    last = highest(row)
    if last is None:
        return
    if row.tries[-1] is not last:
        yield f"try {row.tries[-1].number} stands after try {last.number}"
    if row.state in BY_TRIES and row.reason not in NO_MORE_TRIES:
        yield from _unlike(row, last)
    for one in row.tries:
        if one is not last and one.state == "succeeded":
            yield f"try {one.number} succeeded, and yet there was a try {last.number}"
    for witness in evidence.witnesses.get(row.run_id, ()):
        if witness.number > last.number:
            yield f"try {witness.number} started at {clock(witness.started)}, but try {last.number} decided the row"


def _unlike(row: Row, last: Try) -> Iterator[str]:
    if (row.state, row.reason) != (last.state, last.reason):
        yield f"the row says {row.state} {row.reason}, but its last try {last.number} {last.state} {last.reason}"


def _outlived(evidence: Evidence, witness: Witness) -> bool:
    """Whether a try came to its end after the next one had been given out."""
    row = evidence.rows.get(witness.run_id)
    later = [one.assigned for one in row.tries if one.number > witness.number and one.assigned] if row else []
    return bool(witness.ended and later and witness.ended > min(later))


# -- P8: rows


def _false_row(evidence: Evidence, row: Row) -> Iterator[str]:
    greedy = {one.ooms for one in evidence.definitions(row)}
    last = highest(row)
    if row.state == "succeeded":
        yield from _false_success(evidence, row)
    elif greedy == {True} and last and last.exit_code is not None and not last.oom_killed:
        yield f"the work was killed for its memory, but the ledger says {row.state} {row.reason}"
    if row.reason == "oom_killed" and True not in greedy:
        yield "the ledger says that the kernel killed it for its memory, of which it uses little"


def _false_success(evidence: Evidence, row: Row) -> Iterator[str]:
    last = highest(row)
    if last is None:
        yield "it succeeded, and the ledger has no try of it"
    elif last.exit_code not in {0, None}:
        yield f"it succeeded with exit code {last.exit_code}"
    if not all(definition.witnessed for definition in evidence.definitions(row)):
        return
    number = last.number if last else 1
    ends = [one for one in evidence.witnesses.get(row.run_id, ()) if one.number == number]
    if not any(one.ended for one in ends):
        what = "came to no end" if ends else "never started"
        yield f"it succeeded at {clock(row.finished)}, but the work of try {number} {what}"


# -- P8: tries against their witnesses


def _false_tries(evidence: Evidence, row: Row) -> Iterator[str]:
    witnesses = evidence.witnesses.get(row.run_id, ())
    witnessed = all(definition.witnessed for definition in evidence.definitions(row))
    for one in row.tries:
        own = next((witness for witness in witnesses if witness.number == one.number), None)
        if own:
            yield from (f"try {one.number}: {what}" for what in _differences(evidence, row, one, own))
        elif witnessed and one.reason == "exit_code":
            yield f"try {one.number} ended with exit code {one.exit_code}, but its work never started"


def _differences(evidence: Evidence, row: Row, one: Try, witness: Witness) -> Iterator[str]:
    if one.node != witness.node:
        yield f"the ledger says that it ran on {one.node}, but it ran on {witness.node}"
    yield from _far(evidence, witness, "started", one.started)
    if witness.ended:
        yield from _false_end(one, witness)
        if one.exit_code is not None and not _known_late(evidence, row, one, witness.ended):
            yield from _far(evidence, witness, "ended", one.finished)
    elif one.reason == "exit_code" and not evidence.excuse(witness.started, one.finished):
        yield f"the ledger says exit code {one.exit_code}, but the work came to no end, and nothing was broken"
    if one.state == "timed_out":
        yield from _false_timeout(evidence, row, one)


def _false_end(one: Try, witness: Witness) -> Iterator[str]:
    if one.state not in STOPPED and one.exit_code is not None and one.exit_code != witness.code:
        yield f"the ledger says exit code {one.exit_code}, but the work ended with {witness.code}"
    if one.state == "failed" and one.reason == "exit_code" and witness.code == 0:
        yield "the ledger says that it failed, but the work ended with 0"
    if one.oom_killed and witness.code == 0:
        yield "the ledger says that it was killed for its memory, but the work came to its end"


def _known_late(evidence: Evidence, row: Row, one: Try, ended: datetime) -> bool:
    """Whether nobody could know of an end before a fault was over."""
    kept = all(definition.end_is_kept for definition in evidence.definitions(row))
    return not kept and one.finished is not None and one.finished > ended and bool(evidence.excuse(ended, one.finished))


def _false_timeout(evidence: Evidence, row: Row, one: Try) -> Iterator[str]:
    shortest = min((definition.timeout for definition in evidence.definitions(row)), default=timedelta(0))
    if one.started and one.finished and one.finished - one.started < shortest - ACCURACY:
        yield f"the ledger says that its time of {span(shortest)} was over after {span(one.finished - one.started)}"


def _far(evidence: Evidence, witness: Witness, what: str, said: datetime | None) -> Iterator[str]:
    """An instant of the ledger that is neither as the work saw it, nor as its engine did, nor between them."""
    true = witness.started if what == "started" else witness.ended
    assert true is not None
    if said is None or abs(said - true) <= ACCURACY:
        return
    seen = [true, *_by_engine(evidence, witness, what)]
    if not min(seen) - ACCURACY <= said <= max(seen) + ACCURACY:
        off = span(abs(said - true))
        yield f"the ledger says that it {what} at {clock(said)}, but it {what} at {clock(true)}, {off} away"


def _by_engine(evidence: Evidence, witness: Witness, what: str) -> Iterator[datetime]:
    """When the engine of a witness says so: one that is busy starts work late, and hears late of its end."""
    who = (witness.run_id, witness.number, witness.node, "start" if what == "started" else "die")
    return (one.at for one in evidence.observed.events if (one.run_id, one.number, one.node, one.action) == who)


# -- P8: what the work was told


def _misled(evidence: Evidence, witness: Witness) -> Iterator[str]:
    row = evidence.rows.get(witness.run_id)
    if row is None:
        return  # P1 says so
    # What it was told may be cut to whole seconds.
    if witness.task != row.task or abs(witness.scheduled_at - row.scheduled_at) >= ACCURACY:
        yield (
            f"try {witness.number} was told that it is {witness.task} at {clock(witness.scheduled_at)}, "
            f"but the ledger says {row.task} at {clock(row.scheduled_at)}"
        )
    if witness.number not in {one.number for one in row.tries}:
        yield f"try {witness.number} started at {clock(witness.started)} on {witness.node}; the ledger has no such try"
