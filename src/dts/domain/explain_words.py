"""Sentences of an explanation: why a run stands where it stands, and what can be done about it."""

from __future__ import annotations

from datetime import datetime, timedelta

from dts.domain.explain_facts import short_span
from dts.pb.dts.v1 import Node, Reason, Run, RunState, Trigger

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

SAID_BY_MESSAGE = {Reason.SKIPPED_OVERLAP, Reason.QUEUE_FULL, Reason.REPLACED, Reason.NO_NODE}
"""Reasons whose message says all of it, with the run or the nodes that were in the way."""

EXCLUDED_ADVICE = "`dts task trigger {task}` runs it anyway; `schedule.exclude` has the dates"

ADVICE = {
    Reason.EXIT_CODE: "`dts run logs {run}` shows what it printed; `dts run retry {run}` runs it again",
    Reason.TIMEOUT: "`dts run logs {run}` shows how far it came; `timeout` gives it more time",
    Reason.OOM_KILLED: "let it use less, or give it more with `resources.memory`",
    Reason.CANCELLED: "`dts run retry {run}` runs it again",
    Reason.REPLACED: "`overlap: queue_one` would let it wait for its turn instead",
    Reason.START_DEADLINE: "`dts node list` shows how full nodes are; `start_deadline` lets it wait longer",
    Reason.IMAGE_PULL: "see that the image is there and spelled right, and that the node may pull it "
    "(DTS_REGISTRY_AUTH_FILE has its logins); then `dts run retry {run}`",
    Reason.NO_NODE: "`dts node list` shows nodes and their labels; loosen `constraints` or `resources`, or add a node",
    Reason.NODE_LOST: "`dts node show {node}` says how the node is; `on_node_loss: rerun` starts such runs elsewhere",
    Reason.ENGINE_ERROR: "mend what the node could not do, then `dts run retry {run}`",
    Reason.SKIPPED_OVERLAP: "`dts run show {blocker}` shows the run in the way; `overlap: queue_one` lets the next "
    "wait, `timeout` ends what takes too long",
    Reason.SKIPPED_PAUSED: "`dts task backfill {task} --since {at}` runs what passed",
    Reason.MISSED: "`dts task backfill {task} --since {at}` runs it now; `catchup` decides the next time",
    Reason.EXCLUDED: EXCLUDED_ADVICE,
    Reason.QUEUE_FULL: "`queue_limit` lets more wait; `dts run show {blocker}` shows the run that they wait for",
    Reason.DROPPED_CAP: "`dts task backfill {task} --since {at}` runs them; `catchup_max` decides the next time",
    Reason.INVALID: "`dts task edit {task}` mends its definition",
    Reason.POLICY_DENIED: "whoever runs the node allows it in its policy (DTS_POLICY_FILE), or the task does without",
}
"""What to do, for each reason for which there is something."""

LATE = timedelta(seconds=1)
"""From here on a start is late, and it is told why."""

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
"""A state in a word."""


def verdict_of(run: Run) -> str:
    """Where a run stands, in a word."""
    missed = run.state is RunState.SKIPPED and run.reason is Reason.MISSED
    return "missed" if missed else VERDICT[run.state]


def advice_for(run: Run) -> str:
    """What can be done about how a run stands; empty where nothing need be."""
    match run.state:
        case RunState.PENDING if run.blocked_by:
            text = "`dts run show {blocker}` shows the run that it waits for; `dts run cancel {blocker}` ends that one"
        case RunState.PENDING if run.message:
            text = ADVICE[Reason.NO_NODE]
        case RunState.UNKNOWN:
            text = ADVICE[Reason.NODE_LOST]
        case RunState.RUNNING:
            text = "`dts run logs {run} -f` shows what it prints"
        case _:
            text = ADVICE.get(run.reason, "")
    return text.format(
        run=run.id[:8],
        task=run.task,
        node=run.node,
        blocker=run.blocked_by[:8],
        at=f"{run.scheduled_at:%Y-%m-%dT%H:%M:%SZ}" if run.scheduled_at else "…",
    )


def resume_advice(node: Node) -> str:
    """How a node that drains takes work again."""
    by_swarm = node.drain_note.endswith("in the Swarm")
    again = (
        f"docker node update --availability active {node.hostname}" if by_swarm else f"dts node resume {node.hostname}"
    )
    return f"node {node.hostname} could take it if it were not drained: `{again}`"


def late_words(run: Run) -> str:
    """Why a run started late; empty if it did not, or nothing shows why."""
    if run.trigger is not Trigger.SCHEDULE or run.started_at is None or run.scheduled_at is None:
        return ""
    return _late_words(run, run.scheduled_at, run.started_at) if run.started_at - run.scheduled_at >= LATE else ""


def _late_words(run: Run, due: datetime, started: datetime) -> str:
    attempt = run.attempts[-1] if run.attempts else None
    if run.attempt > 1:
        return f"it is its attempt {run.attempt}"
    if run.not_before is not None and run.not_before - due >= LATE:
        return f"jitter puts it off by {short_span(run.not_before - due)}"
    if attempt is None or attempt.assigned_at is None:
        return ""
    waited, prepared = attempt.assigned_at - due, started - attempt.assigned_at
    if waited >= LATE:
        return f"it waited {short_span(waited)} for its turn or a place"
    return f"node {run.node} took {short_span(prepared)} to prepare it, as to pull its image"


def rests(run: Run, now: datetime) -> bool:
    """Whether a run waits for its next attempt: the pause after one that failed."""
    failed = run.state is RunState.PENDING and run.reason is not Reason.UNSPECIFIED
    return failed and run.not_before is not None and run.not_before > now


def resting_advice(run: Run) -> str:
    """What can be done while a run waits for its next attempt."""
    run_id = run.id[:8]
    return f"`dts run logs {run_id}` shows what it printed; `dts run cancel {run_id}` ends it"


def _resting(run: Run, now: datetime) -> str:
    pause = short_span(run.not_before - now) if run.not_before is not None else "a moment"
    why = run.message or SENTENCE.get(run.reason, "it failed")
    return f"attempt {run.attempt} failed: {why.removeprefix('it ')}; it is tried again in {pause}"


def sentence(run: Run, now: datetime) -> str:
    """Where a run stands, and why."""
    match run.state:
        case RunState.PENDING if rests(run, now):
            return _resting(run, now)
        case RunState.RUNNING:
            return f"it is running on {run.node}"
        case RunState.ASSIGNED:
            return _assigned(run, now)
        case RunState.UNKNOWN:
            return f"it was given to {run.node}, which is silent: {run.message or 'waiting for it to come back'}"
        case RunState.PENDING:
            return run.message or "it waits for its instant or a place"
        case _:
            return final_sentence(run)


def _assigned(run: Run, now: datetime) -> str:
    if run.scheduled_at is None or now - run.scheduled_at < LATE:
        return f"it was given to {run.node} and starts on its instant"
    waits = short_span(now - run.scheduled_at)
    return f"it was given to {run.node}, which still prepares it {waits} after its instant, as to pull its image"


def final_sentence(run: Run) -> str:
    """How a run ended, and why."""
    base = SENTENCE.get(run.reason, run.message)
    if run.reason is Reason.OK and (late := late_words(run)):
        base = f"it succeeded, but started late: {late}"
    if run.reason is Reason.EXIT_CODE and run.exit_code is not None:
        base = f"its command ended with exit code {run.exit_code}"
    if run.message.removeprefix("it ") in base:
        return base
    if base in run.message or run.reason in SAID_BY_MESSAGE or f"exit code {run.exit_code}: " in run.message:
        return run.message
    return f"{base}: {run.message}"
