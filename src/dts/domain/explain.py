"""Why a task ran, did not run, or has not yet: the chain from schedule to result, as sentences."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from dts.domain.durations import format_duration
from dts.domain.runs import FINAL
from dts.domain.schedule import CompiledSchedule, Tick
from dts.pb.dts.v1 import ExplainStep, ExplainTaskResponse, Node, NodeState, Reason, Run, RunState, Task

SENTENCE = {
    Reason.OK: "it succeeded",
    Reason.EXIT_CODE: "its command ended with an error",
    Reason.TIMEOUT: "it ran longer than its timeout and was stopped",
    Reason.OOM_KILLED: "the kernel killed it because it used more memory than it may",
    Reason.CANCELLED: "it was cancelled",
    Reason.REPLACED: "a later run of the task took its place",
    Reason.START_DEADLINE: "it could not start before its start deadline",
    Reason.IMAGE_PULL: "its image could not be pulled",
    Reason.NO_NODE: "no node could take it before its start deadline",
    Reason.NODE_LOST: "its node was lost",
    Reason.ENGINE_ERROR: "the node could not start it",
    Reason.SKIPPED_OVERLAP: "an earlier run was not over",
    Reason.SKIPPED_PAUSED: "the task was paused",
    Reason.MISSED: "nothing could run at that time",
    Reason.EXCLUDED: "the schedule excludes the date",
    Reason.QUEUE_FULL: "too many runs waited already",
    Reason.DROPPED_CAP: "more ticks were to be caught up than catchup_max allows",
    Reason.INVALID: "the node found its definition impossible to run",
    Reason.POLICY_DENIED: "the node's policy forbids it",
}
"""One sentence for each reason."""

SAID_BY_MESSAGE = {Reason.SKIPPED_OVERLAP, Reason.QUEUE_FULL, Reason.REPLACED}
"""Reasons whose message says all of it, with the run that was in the way."""

VERDICT = {
    RunState.SUCCEEDED: "ran",
    RunState.FAILED: "failed",
    RunState.TIMED_OUT: "failed",
    RunState.CANCELLED: "cancelled",
    RunState.SKIPPED: "skipped",
    RunState.RUNNING: "running",
    RunState.ASSIGNED: "waiting",
    RunState.PENDING: "waiting",
    RunState.UNKNOWN: "unknown",
}

NO_ROW = ExplainStep(step="ledger", ok=False, detail="no row stands for this tick")

LATE_AFTER = timedelta(seconds=5)
"""A tick that is older than this and not in the ledger is missing there."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about the question.

    at: the instant asked for; None for the latest.
    tick: the tick at or before it; None if there is none.
    run: the row that stands for it.
    """

    task: Task
    schedule: CompiledSchedule | None
    now: datetime
    at: datetime | None
    tick: Tick | None
    run: Run | None
    nodes: list[Node]


def explain(facts: Facts) -> ExplainTaskResponse:
    """The answer: a verdict in a word, a sentence, and the chain of steps."""
    steps = [_schedule_step(facts), *_pause_step(facts)]
    if facts.run is not None:
        return _of_run(facts, facts.run, steps)
    return _without_run(facts, steps)


def _of_run(facts: Facts, run: Run, steps: list[ExplainStep]) -> ExplainTaskResponse:
    steps += [
        _ledger_step(run),
        *_policy_step(run),
        *_placement_step(facts, run),
        *_start_step(run),
        *_result_step(run),
    ]
    missed = run.state is RunState.SKIPPED and run.reason is Reason.MISSED
    return ExplainTaskResponse(
        task=_name(facts),
        at=run.scheduled_at,
        verdict="missed" if missed else VERDICT[run.state],
        reason=run.reason,
        message=_sentence(run),
        steps=steps,
        run=run,
    )


def _without_run(facts: Facts, steps: list[ExplainStep]) -> ExplainTaskResponse:
    verdict, message = _verdict_without_run(facts)
    return ExplainTaskResponse(
        task=_name(facts),
        at=facts.tick.at if facts.tick else facts.at,
        verdict=verdict,
        message=message,
        steps=[*steps, *([] if verdict in {"not_yet", "never"} else [NO_ROW])],
    )


def _verdict_without_run(facts: Facts) -> tuple[str, str]:
    task = facts.task
    if facts.schedule is None:
        return "never", "the task has no schedule: it runs only when it is triggered"
    if not task.enabled:
        return "paused", f"the task is paused{_note(task)}: resume it with `dts task resume {_name(facts)}`"
    if facts.tick is None or facts.tick.at > facts.now:
        due = facts.tick.at if facts.tick else task.next_due_at
        return ("not_yet", f"it is due {_when(facts, due)}") if due else ("never", "the schedule has no further tick")
    return _absent(facts, facts.tick)


def _absent(facts: Facts, tick: Tick) -> tuple[str, str]:
    """A tick that passed and has no row."""
    task = facts.task
    if task.created_at is not None and tick.at < task.created_at:
        return "never", "the task did not exist at that time"
    if facts.now - tick.at < LATE_AFTER:
        return "waiting", "the tick has just passed and is being written into the ledger"
    return "unknown", "the tick should be in the ledger: either retention has dropped it, or no scheduler is running"


def _schedule_step(facts: Facts) -> ExplainStep:
    if facts.schedule is None:
        return ExplainStep(step="schedule", ok=False, detail="none: the task runs only when it is triggered")
    if facts.run is not None and facts.tick is None:
        return ExplainStep(step="schedule", ok=True, detail="not a tick of the schedule: somebody asked for this run")
    if facts.tick is None:
        return ExplainStep(step="schedule", ok=False, detail="has no tick at or before that time")
    if facts.tick.excluded:
        return ExplainStep(
            step="schedule", ok=False, detail=f"due {_when(facts, facts.tick.at)}, but the date is excluded"
        )
    return ExplainStep(step="schedule", ok=True, detail=f"due {_when(facts, facts.tick.at)}")


def _pause_step(facts: Facts) -> list[ExplainStep]:
    if facts.task.enabled:
        return []
    return [ExplainStep(step="pause", ok=False, detail=f"the task is paused now{_note(facts.task)}")]


def _ledger_step(run: Run) -> ExplainStep:
    if run.ticks > 1 and run.last_scheduled_at is not None:
        return ExplainStep(
            step="ledger",
            ok=True,
            detail=f"one row stands for {run.ticks} ticks up to {run.last_scheduled_at:%Y-%m-%d %H:%M:%S} UTC",
        )
    return ExplainStep(step="ledger", ok=True, detail=f"run {run.id[:8]}, version {run.task_version} of the task")


def _policy_step(run: Run) -> list[ExplainStep]:
    if run.reason in {Reason.SKIPPED_OVERLAP, Reason.QUEUE_FULL, Reason.REPLACED} or (
        run.state is RunState.PENDING and run.blocked_by
    ):
        known = run.blocked_by and run.blocked_by[:8] not in run.message
        blocker = f" (run {run.blocked_by[:8]})" if known else ""
        return [ExplainStep(step="overlap", ok=False, detail=(run.message or SENTENCE.get(run.reason, "")) + blocker)]
    if run.reason in {Reason.MISSED, Reason.DROPPED_CAP, Reason.SKIPPED_PAUSED, Reason.EXCLUDED}:
        return [ExplainStep(step="catch-up", ok=False, detail=run.message or SENTENCE[run.reason])]
    return [ExplainStep(step="overlap", ok=True, detail="no earlier run was in its way")] if run.attempt else []


def _placement_step(facts: Facts, run: Run) -> list[ExplainStep]:
    if run.node:
        return [ExplainStep(step="placement", ok=True, detail=f"given to node {run.node}")]
    if run.state is RunState.PENDING and not run.blocked_by:
        ready = sum(node.state is NodeState.READY for node in facts.nodes)
        said = run.message or f"waits for a place; {ready} of {len(facts.nodes)} nodes are ready"
        return [ExplainStep(step="placement", ok=False, detail=said)]
    if run.reason is Reason.NO_NODE:
        return [ExplainStep(step="placement", ok=False, detail=run.message)]
    return []


def _start_step(run: Run) -> list[ExplainStep]:
    if run.started_at is None or run.scheduled_at is None:
        if run.attempt and run.state in FINAL:
            return [
                ExplainStep(step="start", ok=False, detail=run.message or SENTENCE.get(run.reason, "did not start"))
            ]
        return []
    late = max((run.started_at - run.scheduled_at).total_seconds(), 0.0)
    return [ExplainStep(step="start", ok=True, detail=f"attempt {run.attempt} started {late:.3f} s after its instant")]


def _result_step(run: Run) -> list[ExplainStep]:
    if run.state not in FINAL or run.state is RunState.SKIPPED or run.finished_at is None or not run.attempt:
        return []
    took = f" after {_short(run.finished_at - run.started_at)}" if run.started_at else ""
    return [ExplainStep(step="result", ok=run.state is RunState.SUCCEEDED, detail=f"{_sentence(run)}{took}")]


def _sentence(run: Run) -> str:
    match run.state:
        case RunState.RUNNING:
            return f"it is running on {run.node}"
        case RunState.ASSIGNED:
            return f"it was given to {run.node} and starts on its instant"
        case RunState.UNKNOWN:
            return f"it was given to {run.node}, which is silent: {run.message or 'waiting for it to come back'}"
        case RunState.PENDING:
            return run.message or "it waits for its instant or a place"
        case _:
            return _final_sentence(run)


def _final_sentence(run: Run) -> str:
    base = SENTENCE.get(run.reason, run.message)
    if run.reason is Reason.EXIT_CODE and run.exit_code is not None:
        base = f"its command ended with exit code {run.exit_code}"
    if not run.message or run.message in base:
        return base
    if base in run.message or run.reason in SAID_BY_MESSAGE:
        return run.message
    return f"{base}: {run.message}"


def _short(span: timedelta) -> str:
    """To the millisecond: nobody reads more."""
    return format_duration(timedelta(milliseconds=round(span / timedelta(milliseconds=1))))


def _when(facts: Facts, instant: datetime) -> str:
    utc = f"{instant:%Y-%m-%d %H:%M:%S} UTC"
    zone = facts.schedule.timezone if facts.schedule else "UTC"
    if zone == "UTC":
        return f"at {utc}"
    return f"at {instant.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M:%S} {zone} ({utc})"


def _note(task: Task) -> str:
    who = f" by {task.paused_by}" if task.paused_by else ""
    return f"{who} ({task.pause_note})" if task.pause_note else who


def _name(facts: Facts) -> str:
    return facts.task.spec.name if facts.task.spec else facts.task.id
