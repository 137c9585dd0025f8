"""Why a task ran, did not run, or has not yet: the chain from schedule to result, as sentences."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from dts.domain.definition import need_of
from dts.domain.explain_facts import Facts, clock_step, deleted_words, note, short_span, standing_step, when
from dts.domain.explain_instant import never, not_due
from dts.domain.explain_words import (
    EXCLUDED_ADVICE,
    SENTENCE,
    advice_for,
    final_sentence,
    late_words,
    resting_advice,
    rests,
    resume_advice,
    sentence,
    verdict_of,
)
from dts.domain.placement import COULD, Need, in_full, standing, summary, would_take
from dts.domain.runs import FINAL
from dts.domain.schedule import Tick
from dts.pb.dts.v1 import ExplainStep, ExplainTaskResponse, Node, Reason, Run, RunState, Task, Trigger

NO_ROW = ExplainStep(step="ledger", ok=False, detail="no row stands for this tick")

LATE_AFTER = timedelta(seconds=5)
"""A tick that is older than this and not in the ledger is missing there."""


def explain(facts: Facts) -> ExplainTaskResponse:
    """The answer: a verdict in a word, a sentence, what to do, and the chain of steps."""
    if facts.run is None and facts.tick is None and facts.at is not None and facts.schedule is not None:
        return not_due(facts)
    steps = [_schedule_step(facts), *clock_step(facts), *standing_step(facts)]
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
    waits_for = _waits_for(facts, run)
    return ExplainTaskResponse(
        task=facts.name,
        at=run.scheduled_at,
        verdict=verdict_of(run),
        reason=run.reason,
        message=waits_for or sentence(run, facts.now),
        steps=steps,
        run=run,
        advice=_advice(facts, run, waits=bool(waits_for)),
    )


def _without_run(facts: Facts, steps: list[ExplainStep]) -> ExplainTaskResponse:
    verdict, message, advice = _verdict_without_run(facts)
    return ExplainTaskResponse(
        task=facts.name,
        at=facts.tick.at if facts.tick else facts.at,
        verdict=verdict,
        message=message,
        steps=[*steps, *([] if verdict in {"not_yet", "never", "excluded"} else [NO_ROW])],
        advice=advice,
    )


def _verdict_without_run(facts: Facts) -> tuple[str, str, str]:
    """In a word, in a sentence, and what to do."""
    task, tick, name = facts.task, facts.tick, facts.name
    if facts.deleted and not (tick and task.updated_at and tick.at < task.updated_at):
        return "never", deleted_words(task), f"`dts task history {name}` has its definition"
    if facts.schedule is None:
        words = "the task has no schedule: it runs only when it is triggered"
        return "never", words, f"`dts task trigger {name}` runs it; `dts task edit {name}` gives it a schedule"
    if facts.paused:
        return "paused", f"the task is paused{note(task)}", f"resume it with `dts task resume {name}`"
    return never(facts) if tick is None else _of_tick(facts, tick)


def _of_tick(facts: Facts, tick: Tick) -> tuple[str, str, str]:
    """A tick for which no row stands, though nothing keeps the task from being due."""
    if facts.spent and tick.at > facts.now:
        return never(facts)
    if tick.excluded and tick.at > facts.now:
        words = f"it is due {when(facts, tick.at)}, but the date is excluded: it will be recorded and not run"
        return "excluded", words, EXCLUDED_ADVICE.format(task=facts.name)
    if tick.at > facts.now:
        return "not_yet", f"it is due {when(facts, tick.at)}", ""
    return _absent(facts, tick)


def _absent(facts: Facts, tick: Tick) -> tuple[str, str, str]:
    """A tick that passed and has no row."""
    if facts.born is not None and tick.at < facts.born:
        words = f"the task did not exist at that time: it was made {when(facts, facts.born)}"
        return "never", words, f"`dts task backfill {facts.name} --since …` runs past ticks"
    if facts.now - tick.at < LATE_AFTER:
        return "waiting", "the tick has just passed and is being written into the ledger", "ask again in a moment"
    words = "the tick should be in the ledger: either retention has dropped it, or no scheduler is running"
    return "unknown", words, "`dts status` says whether one is"


def _schedule_step(facts: Facts) -> ExplainStep:
    if facts.run is not None and facts.tick is None:
        tick = facts.run.trigger is Trigger.SCHEDULE
        words = "due by a schedule that the task had then" if tick else "somebody asked for this run"
        return ExplainStep(step="schedule", ok=True, detail=f"not a tick of the schedule: {words}")
    if facts.schedule is None:
        return ExplainStep(step="schedule", ok=False, detail="none: the task runs only when it is triggered")
    if facts.tick is None:
        return ExplainStep(step="schedule", ok=False, detail="has no tick at or before that time")
    if facts.tick.excluded:
        return ExplainStep(
            step="schedule", ok=False, detail=f"due {when(facts, facts.tick.at)}, but the date is excluded"
        )
    return ExplainStep(step="schedule", ok=True, detail=f"due {when(facts, facts.tick.at)}")


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
        return [] if rests(run, facts.now) else _waiting_steps(facts, run)
    if run.reason is Reason.NO_NODE:
        return [ExplainStep(step="placement", ok=False, detail=run.message)]
    return []


def _waiting_steps(facts: Facts, run: Run) -> list[ExplainStep]:
    """What each node says to a run that waits; of one that is for a node alone its message says for which."""
    if facts.task.spec is None:
        return []
    steps = [ExplainStep(step="placement", ok=False, detail=_nodes_say(facts, run, need_of(facts.task.spec)))]
    said = waiting(facts.task, facts.nodes)
    return steps + [ExplainStep(step=f"node {node.hostname}", ok=why == COULD, detail=why) for node, why in said]


def _waits_for(facts: Facts, run: Run) -> str:
    """What all nodes say together to a run that waits for a place; empty for any other.

    Whoever gave out runs last heard only the nodes that had room to offer; of these all are heard.
    """
    waits = run.state is RunState.PENDING and not run.blocked_by and not rests(run, facts.now)
    if not waits or not run.message or facts.task.spec is None:
        return ""
    return _nodes_say(facts, run, need_of(facts.task.spec))


def _nodes_say(facts: Facts, run: Run, need: Need) -> str:
    return (run.message if need.every else "") or summary([why for _, why in standing(need, facts.nodes)])


def _advice(facts: Facts, run: Run, *, waits: bool) -> str:
    """What can be done: to a node that would take the run if it were let, or in general. waits: for a place."""
    if rests(run, facts.now):
        return resting_advice(run)
    if not waits or facts.task.spec is None:
        return advice_for(run)
    need = need_of(facts.task.spec)
    let = next((node for node in facts.nodes if would_take(need, node)), None)
    return resume_advice(let) if let else advice_for(run)


def waiting(task: Task, nodes: Sequence[Node]) -> list[tuple[Node, str]]:
    """What each node says to a run of the task that waits for one."""
    if task.spec is None:
        return []
    need = need_of(task.spec)
    return [(node, in_full(need, node, why)) for node, why in standing(need, nodes)]


def _start_step(run: Run) -> list[ExplainStep]:
    if run.started_at is None or run.scheduled_at is None:
        if run.attempt and run.state in FINAL:
            return [
                ExplainStep(step="start", ok=False, detail=run.message or SENTENCE.get(run.reason, "did not start"))
            ]
        return []
    late = max((run.started_at - run.scheduled_at).total_seconds(), 0.0)
    why = late_words(run)
    return [
        ExplainStep(
            step="start",
            ok=True,
            detail=f"attempt {run.attempt} started {late:.3f} s after its instant" + (f": {why}" if why else ""),
        )
    ]


def _result_step(run: Run) -> list[ExplainStep]:
    if run.state not in FINAL or run.state is RunState.SKIPPED or run.finished_at is None or not run.attempt:
        return []
    if run.started_at is None:  # the step before says the rest
        return [ExplainStep(step="result", ok=False, detail=SENTENCE.get(run.reason, run.message))]
    took = f" after {short_span(run.finished_at - run.started_at)}"
    return [ExplainStep(step="result", ok=run.state is RunState.SUCCEEDED, detail=f"{final_sentence(run)}{took}")]
