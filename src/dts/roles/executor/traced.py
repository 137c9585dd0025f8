"""Spans of attempts, where traces are on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from dts.pb.dts.v1 import RunState
from dts.roles.executor.assigned import Assigned
from dts.roles.executor.outbox import Result
from dts.roles.executor.timetable import Monotonic
from dts.roles.executor.work import Job
from dts.runtime.traces import Traces, traceparent


class TracedAttempts:
    """Makes the span `run` of every attempt that ran, from its start to its end, and tells its work of it.

    Args:
        traces: takes the spans.
        node: name of this one.
        monotonic: seconds that never go back.
        now: the wall clock.
    """

    def __init__(self, traces: Traces, *, node: str, monotonic: Monotonic, now: Callable[[], datetime]) -> None:
        self._traces = traces
        self._node = node
        self._monotonic = monotonic
        self._now = now

    def told(self, job: Job) -> Job:
        """An attempt that knows its span."""
        return replace(job, traceparent=traceparent(job.run_id, job.attempt))

    def ended(self, assigned: Assigned, result: Result) -> None:
        """An attempt is over."""
        job = assigned.job
        begin, end = self._instant(result.started), self._instant(result.finished)
        if begin is None or end is None:
            return
        message = result.detail.message if result.detail is not None else ""
        self._traces.span(
            "run",
            job.run_id,
            job.attempt,
            parent="claim",
            begin=begin,
            end=end,
            about={
                "dts.task": job.spec.task,
                "dts.node": self._node,
                "dts.kind": assigned.kind,
                "dts.state": (result.state.name or "").lower(),
                "dts.exit_code": result.exit_code,
            },
            error="" if result.state is RunState.SUCCEEDED else message or "it failed",
        )

    def _instant(self, at: float | None) -> datetime | None:
        return None if at is None else self._now() - timedelta(seconds=self._monotonic() - at)
