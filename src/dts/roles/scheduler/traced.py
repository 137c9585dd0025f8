"""Spans of ticks and claims, where traces are on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, cast

from dts.domain.columns import unpack, unpack_ids
from dts.domain.ids import from_micros
from dts.pb.dts.v1 import Assignments, ClaimRequest, ClaimResponse, DatabaseServiceBase, WorkSpec
from dts.runtime.traces import Traces


class TracedLedger:
    """The Database Service as the scheduler calls it; makes the spans `tick` and `claim` of what it claims.

    Args:
        ledger: the service, or a stub of it.
        traces: takes the spans.
        now: the wall clock.
    """

    def __init__(self, ledger: DatabaseServiceBase, traces: Traces, now: Callable[[], datetime]) -> None:
        self._ledger = ledger
        self._traces = traces
        self._now = now

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def claim(self, message: ClaimRequest, /) -> ClaimResponse:
        """Claims due runs."""
        asked = self._now()
        response = await self._ledger.claim(message)
        answered = self._now()
        for work in response.assignments:
            if work.assignments is not None:
                self._trace(work.node_id, work.assignments, asked, answered)
        return response

    def _trace(self, node_id: str, given: Assignments, asked: datetime, answered: datetime) -> None:
        runs = unpack_ids(given.run_ids)
        rows = len(runs)
        tasks = [WorkSpec.parse(spec).task for spec in given.specs]
        columns = zip(
            runs,
            unpack("i", given.attempts, rows=rows, field="attempts"),
            unpack("q", given.scheduled_at, rows=rows, field="scheduled_at"),
            unpack("i", given.spec_index, rows=rows, field="spec_index"),
            strict=True,
        )
        for run_id, attempt, scheduled_at, index in columns:
            about = {"dts.task": tasks[index], "dts.node": node_id}
            due = from_micros(scheduled_at)
            # Claims come ahead of their instants: then the tick is where the claim is.
            begin, end = min(due, asked), max(due, answered)
            self._traces.span("tick", run_id, attempt, parent="", begin=begin, end=end, about=about)
            self._traces.span("claim", run_id, attempt, parent="tick", begin=asked, end=answered, about=about)


def traced(ledger: DatabaseServiceBase, traces: Traces, now: Callable[[], datetime]) -> DatabaseServiceBase:
    """The ledger, traced."""
    return cast("DatabaseServiceBase", TracedLedger(ledger, traces, now))
