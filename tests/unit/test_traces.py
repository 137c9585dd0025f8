"""Spans of runs: one trace for each run, whoever makes its spans; and nothing of OpenTelemetry where they are off."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from dts.domain.columns import pack, pack_ids
from dts.domain.ids import to_micros
from dts.pb.dts.v1 import (
    Assignments,
    ClaimRequest,
    ClaimResponse,
    NodeAssignments,
    Reason,
    ReportDetail,
    RunState,
    WorkSpec,
)
from dts.roles.executor.assigned import Assigned
from dts.roles.executor.outbox import Result
from dts.roles.executor.traced import TracedAttempts
from dts.roles.executor.work import Job
from dts.roles.scheduler.traced import traced
from dts.runtime.traces import OpenTelemetryTraces, span_id

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
RUN = UUID("01234567-89ab-4def-8123-456789abcdef")


class Ledger:
    async def claim(self, _message):
        given = Assignments(
            run_ids=pack_ids([RUN]),
            attempts=pack("i", [1]),
            scheduled_at=pack("q", [to_micros(NOW - timedelta(seconds=3))]),
            spec_index=pack("i", [0]),
            specs=[bytes(WorkSpec(task="backup"))],
        )
        return ClaimResponse(assignments=[NodeAssignments(node_id="n1", assignments=given)])


@pytest.fixture
def spans():
    return InMemorySpanExporter()


@pytest.fixture
def traces(spans):
    made = OpenTelemetryTraces(SimpleSpanProcessor(spans), service="dts", version="1")
    yield made
    made.close()


async def test_a_run_is_one_trace_from_tick_to_end(spans, traces):
    await traced(Ledger(), traces, lambda: NOW).claim(ClaimRequest())
    job = Job(RUN, 1, NOW, None, WorkSpec(task="backup"), {})
    attempts = TracedAttempts(traces, node="alpha", monotonic=lambda: 100.0, now=lambda: NOW)
    detail = ReportDetail(message="it ended with exit code 3")
    attempts.ended(
        Assigned((RUN.bytes, 1), job, "process", 0.0, 0.0),
        Result(RunState.FAILED, Reason.EXIT_CODE, 3, started=90.0, finished=95.0, detail=detail),
    )
    tick, claim, run = spans.get_finished_spans()
    assert [one.name for one in (tick, claim, run)] == ["tick", "claim", "run"]
    assert {one.context.trace_id for one in (tick, claim, run)} == {RUN.int}
    assert (tick.parent, claim.parent.span_id, run.parent.span_id) == (
        None,
        tick.context.span_id,
        claim.context.span_id,
    )
    assert tick.start_time == int((NOW - timedelta(seconds=3)).timestamp()) * 10**9
    assert run.end_time - run.start_time == 5 * 10**9
    assert (run.attributes["dts.run"], run.attributes["dts.task"]) == (str(RUN), "backup")
    assert attempts.told(job).traceparent == f"00-{RUN.hex}-{run.context.span_id:016x}-01"
    assert (run.status.is_ok, run.status.description) == (False, "it ended with exit code 3")


def test_an_attempt_that_never_started_has_no_span(spans, traces):
    job = Job(RUN, 1, NOW, None, WorkSpec(), {})
    attempts = TracedAttempts(traces, node="alpha", monotonic=lambda: 0.0, now=lambda: NOW)
    attempts.ended(Assigned((RUN.bytes, 1), job, "process", 0.0, 0.0), Result(RunState.FAILED, finished=0.0))
    assert not spans.get_finished_spans()


def test_ids_of_spans_are_those_of_what_they_are():
    run_id = uuid4()
    ids = {span_id(run_id, name, attempt) for name in ("tick", "claim", "run") for attempt in (1, 2)}
    assert len(ids) == 6
    assert span_id(run_id, "run", 1) in ids


def test_nothing_of_opentelemetry_or_apprise_is_imported_where_they_are_off():
    code = "import sys, dts.app.house; print([m for m in sys.modules if m.startswith(('opentelemetry', 'apprise'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
