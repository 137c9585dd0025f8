"""What scripts read: the shapes of JSON, which change only with a major version."""

from __future__ import annotations

from typing import Any

from dts.cli.times import seconds
from dts.domain import kinds
from dts.domain.words import lateness, rfc3339, schedule_words, timezone, took, word
from dts.pb.dts.v1 import Attempt, Capacity, ExplainTaskResponse, Node, Run, Task, TaskSpec, Tick


def run_shape(run: Run) -> dict[str, Any]:
    """A run."""
    shape: dict[str, Any] = {
        "id": run.id,
        "task": run.task,
        "task_version": run.task_version,
        "trigger": word(run.trigger),
        "scheduled_at": rfc3339(run.scheduled_at),
        "state": word(run.state),
        "reason": word(run.reason),
        "message": run.message,
        "attempt": run.attempt,
        "node": run.node,
        "created_at": rfc3339(run.created_at),
        "started_at": rfc3339(run.started_at),
        "finished_at": rfc3339(run.finished_at),
        "exit_code": run.exit_code,
        "lateness": seconds(lateness(run)),
        "duration": seconds(took(run)),
        "labels": dict(run.labels),
    }
    if run.ticks > 1:
        shape |= {"ticks": run.ticks, "last_scheduled_at": rfc3339(run.last_scheduled_at)}
    if run.blocked_by:
        shape["blocked_by"] = run.blocked_by
    return shape


def attempt_shape(attempt: Attempt) -> dict[str, Any]:
    """An attempt of a run."""
    return {
        "number": attempt.number,
        "node": attempt.node,
        "state": word(attempt.state),
        "reason": word(attempt.reason),
        "message": attempt.message,
        "assigned_at": rfc3339(attempt.assigned_at),
        "started_at": rfc3339(attempt.started_at),
        "finished_at": rfc3339(attempt.finished_at),
        "exit_code": attempt.exit_code,
        "cpu_time": seconds(attempt.cpu_time),
        "peak_memory": attempt.peak_memory,
        "image_digest": attempt.image_digest,
        "log_bytes": attempt.log_bytes,
    }


def task_shape(task: Task) -> dict[str, Any]:
    """A task in a list."""
    spec = task.spec or TaskSpec()
    last = task.last_run
    return {
        "id": task.id,
        "name": spec.name,
        "enabled": task.enabled,
        "schedule": schedule_words(spec.schedule),
        "timezone": timezone(spec.schedule),
        "kind": kind_of(spec),
        "next_due_at": rfc3339(task.next_due_at),
        "last_run": {"id": last.id, "state": word(last.state), "scheduled_at": rfc3339(last.scheduled_at)}
        if last
        else None,
        "version": task.version,
    }


def tick_shape(tick: Tick) -> dict[str, Any]:
    """A coming tick."""
    return {
        "task": tick.task,
        "scheduled_at": rfc3339(tick.scheduled_at),
        "local_time": tick.local_time,
        "timezone": tick.timezone,
        "excluded": tick.excluded,
    }


def node_shape(node: Node) -> dict[str, Any]:
    """A node."""
    return {
        "id": node.id,
        "hostname": node.hostname,
        "role": node.role,
        "platform": node.platform,
        "state": word(node.state),
        "drain_note": node.drain_note,
        "labels": dict(node.labels),
        "engine_labels": dict(node.engine_labels),
        "kinds": list(node.kinds),
        "targets": list(node.targets),
        "capacity": capacity_shape(node.capacity),
        "used": capacity_shape(node.used),
        "running": node.running,
        "last_seen": rfc3339(node.last_seen_at),
        "version": node.version,
    }


def capacity_shape(capacity: Capacity | None) -> dict[str, Any]:
    """What a node can take, or what is taken."""
    resources = capacity.resources if capacity else None
    return {
        "slots": capacity.slots if capacity else 0,
        "cpus": resources.cpus if resources else 0,
        "memory": resources.memory if resources else 0,
    }


def explain_shape(found: ExplainTaskResponse) -> dict[str, Any]:
    """An explanation."""
    return {
        "task": found.task,
        "at": rfc3339(found.at),
        "verdict": found.verdict,
        "reason": word(found.reason),
        "message": found.message,
        "advice": found.advice,
        "steps": [{"step": step.step, "ok": step.ok, "detail": step.detail} for step in found.steps],
    }


def kind_of(spec: TaskSpec) -> str:
    """The name of what a task runs."""
    return kinds.kind_of(spec.kind)
