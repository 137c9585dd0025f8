"""What a row may say of its tick: the part of P1 that knows the policies.

Contents: `unexplained`; `JUDGES`, a table of what each state and reason needs; a function for each.

A judge says what is wrong, or None. Results that come of the work itself are P8's and need nothing here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from faults.checker.evidence import FINAL, WAITING, Evidence
from faults.checker.oracle import MICROSECOND, next_tick, ticks
from faults.checker.words import clock, short, span
from faults.model import Catchup, Definition, Outcome, Overlap, Row, Verb

ON_TIME = timedelta(seconds=5)
"""A tick that is found no later is run like any other; catch-up is for what is older."""

AHEAD = timedelta(seconds=2)
"""How long before its tick a run may hold its place."""

HEARD = timedelta(seconds=2)
"""How long after its end a run may still seem live, while nothing is broken."""

START_DEADLINE = timedelta(minutes=5)
"""How long after its tick a run may start at all; dts's default."""

QUEUE_LIMIT = 1000
"""How many runs of a task may wait; dts's default."""

Judge = Callable[[Evidence, Row], str | None]


def unexplained(evidence: Evidence, row: Row) -> Iterator[str]:
    """What is wrong with what a row and its earlier tries say."""
    if row.state not in FINAL:
        return
    judge = JUDGES.get((row.state, row.reason))
    complaint = judge(evidence, row) if judge else "nothing in a fault run can lead to that"
    if complaint:
        yield f"the tick {clock(row.scheduled_at)} is {row.state} {row.reason}: {complaint}"
    for one in row.tries[:-1]:
        begin = one.assigned or row.scheduled_at
        if one.reason in BROKEN and not evidence.excuse(begin, one.finished or row.finished):
            yield f"try {one.number} of the tick {clock(row.scheduled_at)} is {one.reason}, and nothing was broken"


def _fine(_evidence: Evidence, _row: Row) -> None:
    """It needs no reason."""


# -- skipped


def _overlapped(evidence: Evidence, row: Row) -> str | None:
    if not _some(evidence, row, lambda one: one.overlap in {Overlap.SKIP, Overlap.QUEUE_ONE}):
        return "its overlap policy skips nothing"
    blocker = evidence.rows.get(row.blocked_by)
    if blocker is None:
        return f"the run {short(row.blocked_by)} that it says was in its way is not in the ledger"
    decided = max(row.finished or row.scheduled_at, row.scheduled_at)
    begin = min([one.assigned for one in blocker.tries if one.assigned], default=blocker.scheduled_at)
    if blocker.task != row.task or begin - AHEAD > decided:
        return f"the run {short(blocker.run_id)} that it says was in its way began at {clock(begin)} only"
    end = evidence.ended(blocker)
    if end and end + HEARD < decided and not evidence.excuse(end, decided):
        return f"the run {short(blocker.run_id)} that it says was in its way was over at {clock(end)}"
    return None


def _paused(evidence: Evidence, row: Row) -> str | None:
    course = evidence.course(row.task)
    awake = [[tick for tick in stretch if not course.paused(tick)] for stretch in _stretches(evidence, row)]
    if not all(awake) or not awake or _asked(evidence, row, Verb.PAUSE):
        return None
    return f"the task was not paused at {clock(awake[0][0])}"


def _missed(evidence: Evidence, row: Row) -> str | None:
    stretches = _stretches(evidence, row)
    well = [[tick for tick in stretch if not evidence.excuse(tick, tick + ON_TIME)] for stretch in stretches]
    if well and all(well):
        return f"nothing was broken at {clock(well[0][0])}"
    if row.tries and not any(one.started for one in row.tries) and _asked(evidence, row, Verb.UPDATE):
        return None  # a node had it in its hands, and gave it back after the task was changed
    last = row.last_scheduled_at or row.scheduled_at
    if any(_may_miss(one, last, row.created) for one in evidence.definitions(row)):
        return None
    return f"at {clock(row.created)} the catch-up policy asked for the tick {clock(last)}"


def _may_miss(definition: Definition, last: datetime, found: datetime) -> bool:
    """Whether a tick that was found then need not run."""
    if definition.catchup is Catchup.NONE or found - last > definition.catchup_window:
        return True
    following = next_tick(definition.plan, last)
    return definition.catchup is Catchup.LATEST and following is not None and following <= found


def _dropped(evidence: Evidence, row: Row) -> str | None:
    last = row.last_scheduled_at or row.scheduled_at
    if not evidence.excuse(row.scheduled_at, row.created):
        return "nothing was broken"
    later = [one for one in evidence.rows_of[row.task] if last < one.scheduled_at <= row.created and one.ticks == 1]
    if _some(evidence, row, lambda one: one.catchup is Catchup.ALL and len(later) >= one.catchup_max):
        return None
    return f"only {len(later)} later ticks were caught up"


def _queue_full(evidence: Evidence, row: Row) -> str | None:
    waiting = [one for one in evidence.rows_of[row.task] if one.scheduled_at <= row.scheduled_at]
    if _some(evidence, row, lambda one: one.overlap is Overlap.QUEUE_ALL) and len(waiting) > QUEUE_LIMIT:
        return None
    return f"no more than {len(waiting)} runs can have waited"


# -- ended by others


def _replaced(evidence: Evidence, row: Row) -> str | None:
    if not _some(evidence, row, lambda one: one.overlap is Overlap.CANCEL_OTHER):
        return "its overlap policy replaces nothing"
    if not any(one.scheduled_at > row.scheduled_at for one in evidence.rows_of[row.task]):
        return "there is no later run"
    return None


def _cancelled(evidence: Evidence, row: Row) -> str | None:
    return None if _asked(evidence, row, Verb.CANCEL, Verb.DELETE) else "nobody asked for it"


def _timed_out(evidence: Evidence, row: Row) -> str | None:
    if _some(evidence, row, lambda one: one.lasts >= one.timeout) or evidence.excuse(row.scheduled_at, row.finished):
        return None
    return "its work is shorter than its timeout, and nothing was broken"


def _broken(evidence: Evidence, row: Row) -> str | None:
    return None if evidence.excuse(row.scheduled_at, row.finished) else "nothing was broken"


def _too_late(evidence: Evidence, row: Row) -> str | None:
    waited = (row.finished or row.scheduled_at) - row.scheduled_at
    if waited >= START_DEADLINE and _some(evidence, row, lambda one: one.overlap in WAITING):
        return None
    complaint = _broken(evidence, row)
    return f"{complaint} in the {span(waited)} that it waited" if complaint else None


JUDGES: Mapping[tuple[str, str], Judge] = {
    ("succeeded", "ok"): _fine,
    ("failed", "exit_code"): _fine,
    ("failed", "oom_killed"): _fine,
    ("skipped", "skipped_overlap"): _overlapped,
    ("skipped", "skipped_paused"): _paused,
    ("skipped", "missed"): _missed,
    ("skipped", "dropped_cap"): _dropped,
    ("skipped", "queue_full"): _queue_full,
    ("skipped", "replaced"): _replaced,
    ("cancelled", "replaced"): _replaced,
    ("cancelled", "cancelled"): _cancelled,
    ("timed_out", "timeout"): _timed_out,
    ("failed", "node_lost"): _broken,
    ("failed", "engine_error"): _broken,
    ("failed", "image_pull"): _broken,
    ("failed", "no_node"): _broken,
    ("failed", "start_deadline"): _too_late,
}
"""What each state and reason needs. What is not here is never right: nothing is excluded, depends or is forbidden."""

BROKEN = frozenset({"node_lost", "engine_error", "image_pull", "no_node"})
"""Reasons that only a fault can have caused."""


# -- words of the judges


def _some(evidence: Evidence, row: Row, holds: Callable[[Definition], bool]) -> bool:
    """Whether one of the definitions that may apply to a row is so."""
    return any(holds(definition) for definition in evidence.definitions(row))


def _stretches(evidence: Evidence, row: Row) -> Sequence[Sequence[datetime]]:
    """The ticks that a row may stand for: those of each definition that may apply and has as many there."""
    last = row.last_scheduled_at or row.scheduled_at
    begin = row.scheduled_at - MICROSECOND
    found = [list(ticks(definition.plan, begin, last)) for definition in evidence.definitions(row)]
    return [stretch for stretch in found if len(stretch) == row.ticks] or found


def _asked(evidence: Evidence, row: Row, *verbs: Verb) -> bool:
    """Whether somebody asked for one of these after the tick of a row and before its end, and may have had it."""
    end = row.finished or evidence.observed.read
    return any(
        one.task == row.task
        and one.verb in verbs
        and one.outcome is not Outcome.FAIL
        and one.run_id in {"", row.run_id}
        and one.invoked <= end
        and (one.completed is None or one.completed >= row.scheduled_at - AHEAD)
        for one in evidence.observed.operations
    )
