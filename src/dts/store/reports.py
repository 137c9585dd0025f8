"""Reports: the columns in which nodes tell of attempts, as rows, and what is kept of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import asyncpg

from dts.domain.columns import unpack, unpack_ids
from dts.domain.errors import InvalidArgument
from dts.domain.ids import MICROSECOND
from dts.domain.runs import FINAL, Outcome
from dts.pb.dts.v1 import Attempt, Reason, ReportDetail, Reports, RunState

REASONS = {reason.value: reason for reason in Reason}
LONGEST = 100 * 366 * 86400 * 1_000_000
"""Microseconds, a century: no node knows of anything that took longer, and a run that began before the calendar does
could not be told to anybody who lists runs."""

MESSAGE_LENGTH = 4096

REPORTABLE = {state.value: state for state in {RunState.RUNNING, *FINAL} - {RunState.SKIPPED}}


@dataclass(frozen=True, slots=True)
class Report:
    """One row of a batch of reports. Durations in microseconds, negative for none."""

    run_id: UUID
    attempt: int
    state: RunState
    reason: Reason
    exit_code: int
    started_ago: int
    finished_ago: int
    cpu_time: int
    peak_memory: int
    detail: ReportDetail | None

    @property
    def outcome(self) -> Outcome:
        """How the attempt ended."""
        final = self.detail is not None and self.detail.final
        return Outcome(self.state, self.reason, self.exit_code if self.exit_code >= 0 else None, final=final)

    @property
    def message(self) -> str:
        """For people."""
        return self.detail.message if self.detail else ""


def decode(reports: Reports) -> list[Report]:
    """The rows of a batch of reports.

    Raises:
        InvalidArgument: a column does not have an entry for each attempt, or a state is not one to report.
    """
    ids = unpack_ids(reports.run_ids)
    rows = len(ids)
    details = {detail.index: detail for detail in reports.details}
    columns = zip(
        ids,
        unpack("i", reports.attempts, rows=rows, field="attempts"),
        unpack("B", reports.states, rows=rows, field="states"),
        unpack("B", reports.reasons, rows=rows, field="reasons"),
        unpack("i", reports.exit_codes, rows=rows, field="exit_codes"),
        unpack("q", reports.started_ago, rows=rows, field="started_ago"),
        unpack("q", reports.finished_ago, rows=rows, field="finished_ago"),
        unpack("q", reports.cpu_time, rows=rows, field="cpu_time"),
        unpack("q", reports.peak_memory, rows=rows, field="peak_memory"),
        strict=True,
    )
    return [
        Report(
            run_id,
            attempt,
            _reportable(state),
            REASONS.get(reason, Reason.ENGINE_ERROR),
            exit_code,
            bounded(started) if started >= 0 else -1,
            bounded(finished) if finished >= 0 else -1,
            max(bounded(cpu), 0),
            max(memory, 0),
            _storable(details.get(position)),
        )
        for position, (run_id, attempt, state, reason, exit_code, started, finished, cpu, memory) in enumerate(columns)
    ]


def bounded(microseconds: int) -> int:
    """A duration that the calendar of every reader has room for; negative is none."""
    return min(max(microseconds, -1), LONGEST)


def _storable(detail: ReportDetail | None) -> ReportDetail | None:
    """Engines repeat what images and commands say, and PostgreSQL takes no NUL. One result that cannot be stored would
    hold up all that are told with it, again and again.
    """
    if detail is None:
        return None
    return replace(
        detail,
        message=_text(detail.message),
        image_digest=_text(detail.image_digest),
        handle=_text(detail.handle),
        log_bytes=max(detail.log_bytes, 0),
    )


def _text(text: str) -> str:
    return text[:MESSAGE_LENGTH].replace("\0", "\ufffd")


def _reportable(number: int) -> RunState:
    state = REPORTABLE.get(number)
    if state is None:
        raise InvalidArgument.of("states", "report.state", f"{number} is not a state that a node reports")
    return state


def ended_attempt(report: Report, row: asyncpg.Record, sent_at: datetime) -> Attempt:
    """The attempt that a report ends, as it is kept when another one follows. sent_at: from where its times count."""
    detail = report.detail or ReportDetail()
    return Attempt(
        number=report.attempt,
        node=row["hostname"] or row["node_id"] or "",
        state=report.state,
        reason=report.reason,
        message=report.message,
        assigned_at=row["assigned_at"],
        started_at=_no_earlier(sent_at - report.started_ago * MICROSECOND, row) if report.started_ago >= 0 else None,
        finished_at=_no_earlier(sent_at - max(report.finished_ago, 0) * MICROSECOND, row),
        exit_code=report.exit_code if report.exit_code >= 0 else None,
        cpu_time=report.cpu_time * MICROSECOND,
        peak_memory=report.peak_memory,
        image_digest=detail.image_digest,
        handle=detail.handle,
        log_bytes=detail.log_bytes,
    )


def _no_earlier(at: datetime, row: asyncpg.Record) -> datetime:
    """Nothing happened before the run was due and given to its node; of some milliseconds two clocks may disagree."""
    first: datetime = max(at, row["assigned_at"], row["not_before"])
    return first


def kept_details(detail: ReportDetail | None) -> str | None:
    """What history keeps of the details, as JSON."""
    if detail is None:
        return None
    said = {"image_digest": detail.image_digest, "handle": detail.handle, "log_bytes": detail.log_bytes}
    return json.dumps({key: value for key, value in said.items() if value}) or None
