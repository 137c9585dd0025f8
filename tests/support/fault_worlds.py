"""Small fault runs for the tests of their checker: what a faultless dts would leave behind, and changes to it.

`play` makes the `Observed` of one task; `together` of several. The rest changes one thing of an `Observed`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from faults.checker import check
from faults.checker.oracle import ticks
from faults.model import (
    Definition,
    Every,
    Fault,
    Log,
    Observed,
    Operation,
    Outcome,
    Overlap,
    Row,
    Sighting,
    Try,
    Verb,
    Witness,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LAG = 0.1 * SECOND
"""How late everything of a faultless run is."""

WORKING = ("running", "")


def at(seconds: float) -> datetime:
    """So many seconds after noon."""
    return NOON + seconds * SECOND


def every(seconds: float, **policies: Any) -> Definition:
    """A task at an interval."""
    return Definition(Every(seconds * SECOND), **policies)


def fault(begun: float, healed: float, *, recovery: float = 5, name: str = "kill", spares_work: bool = True) -> Fault:
    """Something that was broken, in seconds after noon."""
    return Fault(name, "scheduler-1", at(begun), at(healed), recovery * SECOND, spares_work)


def operation(verb: Verb, begin: float, end: float | None = None, **more: Any) -> Operation:
    """Of task `a`; acknowledged if it has an end, unknown otherwise."""
    outcome = Outcome.INFO if end is None else Outcome.OK
    return Operation("a", verb, at(begin), None if end is None else at(end), more.pop("outcome", outcome), **more)


# -- a faultless run


@dataclass(slots=True)
class _Plan:
    """What becomes of a tick. start: None if it does not run."""

    definition: Definition
    tick: datetime
    start: datetime | None
    end: datetime
    state: str
    reason: str
    blocked_by: str = ""
    stopped: bool = False


def play(definition: Definition, *, task: str = "a", until: float = 125, node: str = "node-1") -> Observed:
    """A task that was created at noon, read so many seconds later, without any fault."""
    created = Operation(task, Verb.CREATE, at(-5), at(-4), Outcome.OK, definition)
    return _observed(_plans(definition, task, at(until)), [created], task=task, until=until, node=node)


def play_changing(
    due: Iterable[tuple[datetime, Definition]], operations: Sequence[Operation], *, until: float = 125
) -> Observed:
    """A task that was changed: each of its ticks with the definition that applied. Its runs must not overlap."""
    plans = [_run(definition, tick, tick + LAG) for tick, definition in due]
    return _observed(plans, operations, task="a", until=until, node="node-1")


def _observed(
    plans: Sequence[_Plan], operations: Sequence[Operation], *, task: str, until: float, node: str
) -> Observed:
    begun = [plan for plan in plans if _has_begun(plan, at(until))]
    rows = [_row(plan, task, node, at(until)) for plan in plans]
    witnesses = [_witness(plan, task, node, at(until)) for plan in begun]
    return Observed(
        seed=1,
        begun=NOON,
        read=at(until),
        operations=operations,
        rows=rows,
        witnesses=[one for one, plan in zip(witnesses, begun, strict=True) if plan.definition.witnessed],
        sightings=[sighting for row in rows for sighting in _sightings(row)],
        logs=[_log(one, plan.definition) for one, plan in zip(witnesses, begun, strict=True) if one.ended],
    )


def together(*parts: Observed) -> Observed:
    """Several tasks of one run."""
    fields = ("operations", "rows", "witnesses", "sightings", "logs")
    whole: dict[str, Any] = {name: [one for part in parts for one in getattr(part, name)] for name in fields}
    return replace(parts[0], **whole)


def _plans(definition: Definition, task: str, read: datetime) -> list[_Plan]:
    plans: list[_Plan] = []
    for tick in ticks(definition.plan, NOON, read):
        running = [plan for plan in plans if plan.start]
        blocker = next((plan for plan in running if tick < plan.end), None)
        waiting = any(plan.start and plan.start > tick for plan in running)
        last = running[-1] if running else None
        match definition.overlap:
            case Overlap.SKIP | Overlap.QUEUE_ONE if blocker and (waiting or definition.overlap is Overlap.SKIP):
                blocked_by = _run_id(task, blocker.tick)
                plans.append(_Plan(definition, tick, None, tick + LAG, "skipped", "skipped_overlap", blocked_by))
                continue
            case Overlap.QUEUE_ONE | Overlap.QUEUE_ALL if last:
                start = max(tick, last.end) + LAG
            case Overlap.CANCEL_OTHER if blocker:
                blocker.end, blocker.state, blocker.reason, blocker.stopped = tick, "cancelled", "replaced", True
                start = tick + LAG
            case _:
                start = tick + LAG
        plans.append(_run(definition, tick, start))
    return plans


def _run(definition: Definition, tick: datetime, start: datetime) -> _Plan:
    end = start + min(definition.lasts, definition.timeout)
    if definition.lasts > definition.timeout:
        return _Plan(definition, tick, start, end, "timed_out", "timeout", stopped=True)
    ends = ("failed", "exit_code") if definition.code else ("succeeded", "ok")
    return _Plan(definition, tick, start, end, *ends)


def _run_id(task: str, tick: datetime) -> str:
    return f"{task}-{(tick - NOON).total_seconds():g}"


def _has_begun(plan: _Plan, read: datetime) -> bool:
    return plan.start is not None and plan.start <= read


def _row(plan: _Plan, task: str, node: str, read: datetime) -> Row:
    state, reason = (plan.state, plan.reason) if plan.end <= read else WORKING
    if plan.start and plan.start > read:
        state, reason = "pending", ""
    finished = plan.end if plan.end <= read else None
    tries = []
    if plan.start and plan.start <= read:
        code = {"succeeded": 0, "failed": 3}.get(state)
        tries = [Try(1, node, state, reason, plan.tick, plan.start, finished, code)]
    return Row(
        _run_id(task, plan.tick),
        task,
        "schedule",
        plan.tick,
        state,
        reason,
        created=plan.tick - 5 * SECOND,
        blocked_by=plan.blocked_by,
        finished=finished,
        tries=tries,
    )


def _witness(plan: _Plan, task: str, node: str, read: datetime) -> Witness:
    ended = plan.end if plan.end <= read and not plan.stopped else None
    code = plan.definition.code if ended else None
    assert plan.start
    return Witness(_run_id(task, plan.tick), 1, task, node, plan.tick, plan.start, ended, code)


def _sightings(row: Row) -> Iterator[Sighting]:
    known: dict[str, Any] = {"task": row.task, "scheduled_at": row.scheduled_at}
    yield Sighting(row.scheduled_at - SECOND, row.run_id, "pending", 0, **known)
    attempt = len(row.tries)
    if attempt:
        yield Sighting(row.tries[0].started or row.scheduled_at, row.run_id, "running", attempt, **known)
    yield Sighting(row.finished or row.scheduled_at + LAG, row.run_id, row.state, attempt, **known)


def _log(witness: Witness, definition: Definition) -> Log:
    lines = [f"line {number}" for number in range(1, definition.lines + 1)]
    return Log(witness.run_id, witness.number, lines, lines)


# -- what the checker says of it


def kept(observed: Observed) -> bool:
    """Whether every promise was kept."""
    return not check(observed)


def broken(observed: Observed) -> set[str]:
    """The promises that were not kept."""
    return {violation.promise for violation in check(observed)}


def complaints(observed: Observed, promise: str) -> str:
    """What is said about one promise."""
    return "\n".join(violation.what for violation in check(observed) if violation.promise == promise)


# -- changes of an observation


def change_row(observed: Observed, place: int, **changes: Any) -> Observed:
    """One row says something else."""
    return replace(observed, rows=_changed(observed.rows, place, lambda row: replace(row, **changes)))


def change_try(observed: Observed, place: int, **changes: Any) -> Observed:
    """The last try of one row says something else."""
    return replace(observed, rows=_changed(observed.rows, place, lambda row: _with_try(row, changes)))


def change_end(observed: Observed, place: int, state: str, reason: str, **tries: Any) -> Observed:
    """One row and its last try end otherwise."""
    changed = change_row(observed, place, state=state, reason=reason)
    return change_try(changed, place, state=state, reason=reason, **tries)


def change_witness(observed: Observed, place: int, **changes: Any) -> Observed:
    """One witness says something else."""
    return replace(observed, witnesses=_changed(observed.witnesses, place, lambda one: replace(one, **changes)))


def move_start(observed: Observed, place: int, by: float) -> Observed:
    """A run starts and ends earlier or later, and the ledger says so."""
    moved, row = observed.witnesses[place], observed.rows[place]
    last = row.tries[-1]
    observed = change_witness(
        observed, place, started=moved.started + by * SECOND, ended=moved.ended and moved.ended + by * SECOND
    )
    observed = change_row(observed, place, finished=row.finished and row.finished + by * SECOND)
    return change_try(
        observed,
        place,
        started=last.started and last.started + by * SECOND,
        finished=last.finished and last.finished + by * SECOND,
    )


def without_row(observed: Observed, *places: int) -> Observed:
    """Some rows are not there, nor anything else of their runs."""
    gone = {observed.rows[place].run_id for place in places}
    fields = ("rows", "witnesses", "sightings", "logs")
    return replace(observed, **_kept(observed, fields, gone))


def unrun(observed: Observed, place: int, state: str, reason: str, **changes: Any) -> Observed:
    """One row has another reason not to have run."""
    run_id = observed.rows[place].run_id
    changed = change_row(observed, place, state=state, reason=reason, **{"tries": (), **changes})
    return replace(changed, **_kept(changed, ("witnesses", "sightings", "logs"), {run_id}))


def _kept(observed: Observed, fields: Iterable[str], gone: set[str]) -> dict[str, Any]:
    return {name: [one for one in getattr(observed, name) if one.run_id not in gone] for name in fields}


def _with_try(row: Row, changes: dict[str, Any]) -> Row:
    return replace(row, tries=[*row.tries[:-1], replace(row.tries[-1], **changes)])


def _changed(items: Iterable[Any], place: int, change: Callable[[Any], Any]) -> Sequence[Any]:
    changed = list(items)
    changed[place] = change(changed[place])
    return changed
