"""Rows become messages here, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import asyncpg

from dts.pb.dts.v1 import (
    Attempt,
    Capacity,
    Node,
    NodeState,
    Reason,
    Run,
    RunState,
    SwarmNode,
    Task,
    TaskSpec,
    TaskVersion,
    Trigger,
)

Row = asyncpg.Record | Mapping[str, Any]

STATE = {state.name.lower(): state for state in RunState if state.name}
REASON = {reason.name.lower(): reason for reason in Reason if reason.name} | {"": Reason.UNSPECIFIED}
TRIGGER = {trigger.name.lower(): trigger for trigger in Trigger if trigger.name}


def word(member: RunState | Reason | Trigger) -> str:
    """How an enum value is stored: its name in lower case; nothing for unspecified."""
    return member.name.lower() if member and member.name else ""


def task_of(row: Row, *, last_run: Run | None = None) -> Task:
    """A row of task joined with its cursor."""
    return Task(
        id=str(row["id"]),
        spec=TaskSpec.parse(row["spec"]),
        version=row["version"],
        enabled=row["enabled"],
        pause_note=row["pause_note"],
        paused_by=row["paused_by"],
        paused_at=row["paused_at"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        next_due_at=row["next_due_at"],
        last_run=last_run,
    )


def version_of(row: Row) -> TaskVersion:
    """A row of task_version."""
    return TaskVersion(
        version=row["version"],
        spec=TaskSpec.parse(row["spec"]),
        created_at=row["created_at"],
        actor=row["actor"],
        change=row["change"],
        note=row["note"],
    )


def brief_run_of(row: Row) -> Run:
    """Id, state and instant of a run."""
    return Run(id=str(row["id"]), state=STATE[row["state"]], scheduled_at=row["scheduled_at"])


def live_run_of(row: Row) -> Run:
    """A row of run, joined with task and node."""
    run = _run_of(row)
    run.cancel_requested = row["recall"] in {"cancel", "replace", "terminate"}
    run.attempts = _attempts(row, run, running=True)
    return run


def past_run_of(row: Row) -> Run:
    """A row of run_history, joined with task and node."""
    run = _run_of(row)
    run.finished_at = row["finished_at"]
    run.exit_code = row["exit_code"]
    run.last_scheduled_at = row["last_scheduled_at"]
    run.ticks = row["ticks"]
    run.attempts = _attempts(row, run, running=False)
    return run


def _run_of(row: Row) -> Run:
    return Run(
        id=str(row["id"]),
        task_id=str(row["task_id"]),
        task=row["task"],
        task_version=row["task_version"],
        trigger=TRIGGER[row["trigger"]],
        scheduled_at=row["scheduled_at"],
        state=STATE[row["state"]],
        reason=REASON[row["reason"]],
        message=row["message"],
        attempt=row["attempt"],
        node=row["hostname"] or row["node_id"] or "",
        created_at=row["created_at"],
        started_at=row["started_at"],
        not_before=row["not_before"],
        blocked_by=str(row["blocked_by"]) if row["blocked_by"] else "",
        ticks=1,
        parameters=row["parameters"] or {},
        labels=row["labels"],
    )


def _attempts(row: Row, run: Run, *, running: bool) -> list[Attempt]:
    attempts = [Attempt.from_dict(entry) for entry in row["earlier_attempts"] or []]
    if run.attempt and run.state is not RunState.PENDING and (not attempts or attempts[-1].number != run.attempt):
        attempts.append(live_attempt_of(row, run) if running else _past_attempt(row, run))
    return attempts


def live_attempt_of(row: Row, run: Run) -> Attempt:
    """The current attempt of a row of run."""
    return Attempt(
        number=row["attempt"],
        node=run.node,
        state=run.state,
        reason=run.reason,
        message=run.message,
        assigned_at=row["assigned_at"],
        started_at=row["started_at"],
    )


def _past_attempt(row: Row, run: Run) -> Attempt:
    details = row["details"] or {}
    attempt = live_attempt_of(row, run)
    attempt.finished_at = row["finished_at"]
    attempt.exit_code = row["exit_code"]
    attempt.cpu_time = row["cpu_time"]
    attempt.peak_memory = row["peak_memory"] or 0
    attempt.image_digest = details.get("image_digest", "")
    attempt.handle = details.get("handle", "")
    attempt.log_bytes = details.get("log_bytes", 0)
    return attempt


WITHDRAWN = {"drain": "drained in the Swarm", "pause": "paused in the Swarm"}
"""What is told of a node that takes nothing new, by its availability."""

WITHDRAWN_STATE = {
    ("drain", NodeState.READY): NodeState.DRAINING,
    ("drain", NodeState.DRAINING): NodeState.DRAINING,
    ("drain", NodeState.UNKNOWN): NodeState.DRAINING,
    ("drain", NodeState.DOWN): NodeState.NO_EXECUTOR,
    ("pause", NodeState.READY): NodeState.DRAINING,
}
"""How a node stands, by its availability and how it would stand without: a drain takes its executor away, too."""


def node_of(row: Row) -> Node:
    """A row of node with the database's now, and what the Swarm says of it."""
    node = seen_node_of(row)
    node.used = Capacity.parse(row["used"]) if row["used"] else Capacity()
    node.last_seen_at = row["last_seen_at"]
    node.running = row["running"]
    node.drain_note = row["drain_note"] or node.drain_note
    node.targets = list(row.get("targets") or ())
    return node


def seen_node_of(row: Row) -> Node:
    """What a node said of itself, what the Swarm says of it, and whether it lives."""
    node = Node.parse(row["about"])
    node.state = _node_state(row, row["now"])
    if row["swarm"] is not None:
        swarm = SwarmNode.parse(row["swarm"])
        node.labels, node.role = {**node.labels, **swarm.labels}, swarm.role or node.role
        if (swarm.availability, node.state) in WITHDRAWN_STATE:
            node.state = WITHDRAWN_STATE[swarm.availability, node.state]
            node.drain_note = WITHDRAWN[swarm.availability]
    return node


def node_without_executor_of(row: Row) -> Node:
    """A row of swarm_node."""
    swarm = SwarmNode.parse(row["about"])
    return Node(
        id=swarm.id,
        hostname=swarm.hostname,
        role=swarm.role,
        platform=swarm.platform,
        labels=dict(swarm.labels),
        engine_labels=dict(swarm.engine_labels),
        state=NodeState.NO_EXECUTOR,
        drain_note=WITHDRAWN.get(swarm.availability, ""),
    )


def _node_state(row: Row, now: datetime) -> NodeState:
    if row["lease_until"] <= now:
        return NodeState.DOWN
    if row["draining"] or row["left_at"] is not None:
        return NodeState.DRAINING
    # Renewed three times in its length: one third left means that two renewals are missing.
    overdue = (row["lease_until"] - now) * 3 < row["lease_until"] - row["last_seen_at"]
    return NodeState.UNKNOWN if overdue else NodeState.READY
