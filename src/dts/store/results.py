"""Results: what nodes report of attempts becomes what the ledger says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from dts.domain.columns import pack_keys, unpack_keys
from dts.domain.definition import Definition
from dts.domain.errors import FailedPrecondition
from dts.domain.runs import FINAL, Retry, after_attempt
from dts.pb.dts.v1 import (
    Attempt,
    AttemptKeys,
    RecordRequest,
    RecordResponse,
    Reports,
    RunState,
    TakeBackRequest,
    TakeBackResponse,
    Tally,
)
from dts.store.claims import release
from dts.store.definitions import Definitions
from dts.store.giveback import give_back
from dts.store.pool import Connection
from dts.store.queries import sql
from dts.store.reports import Report, decode, ended_attempt, kept_details
from dts.store.rows import word
from dts.store.tallies import tally
from dts.store.transactions import in_transaction
from dts.store.wakeups import Wakeups

LONGEST_WAY = timedelta(days=1)
"""A node that claims to have sent a report longer ago has another clock."""


class ResultStore:
    """Stores reports of attempts, fenced by node, incarnation and attempt number."""

    def __init__(
        self, pool: asyncpg.Pool, definitions: Definitions, wakeups: Wakeups, rand: Callable[[], float]
    ) -> None:
        self._pool = pool
        self._definitions = definitions
        self._wakeups = wakeups
        self._rand = rand

    async def record(self, request: RecordRequest) -> RecordResponse:
        """Stores a batch of reports. Repeating it changes nothing: what was settled before is settled again.

        Raises:
            FailedPrecondition: another connection has taken the place of the one that reports. Nothing is settled, for
                what was not stored must be said again, and nothing runs without leave because of it.
        """
        reports = decode(request.reports or Reports())
        finals = [report for report in reports if report.state in FINAL]
        starts = [report for report in reports if report.state is RunState.RUNNING]

        async def work(connection: Connection) -> RecordResponse:
            fenced = await _mark_running(connection, request, starts)
            stored, freed, ended = await self._finish(connection, request, finals)
            if fenced or stored < len(finals):
                await _check_attached(connection, request)
            return RecordResponse(settled=_keys(finals), fenced=_keys(fenced), freed=freed > 0, ended=ended)

        response = await in_transaction(self._pool, work)
        if response.freed:
            self._wakeups.wake("runs")
        return response

    async def take_back(self, request: TakeBackRequest) -> TakeBackResponse:
        """Attempts that never started: pending again, or gone with the tick that no longer counts."""
        response = await in_transaction(self._pool, lambda connection: self._take_back(connection, request))
        self._wakeups.wake("runs")
        return response

    async def _finish(
        self, connection: Connection, request: RecordRequest, reports: Sequence[Report]
    ) -> tuple[int, int, list[Tally]]:
        """Ends or retries; answers how many it did, how many waiting runs took a turn, and what is over."""
        plain = [report for report in reports if report.state is RunState.SUCCEEDED]
        others = [report for report in reports if report.state is not RunState.SUCCEEDED]
        rows = await _lock(connection, request, others)
        known = await self._definitions.get(connection, [(r["task_id"], r["task_version"]) for r in rows.values()])
        retries: list[tuple[Report, asyncpg.Record, Retry]] = []
        for report in others:
            row = rows.get((report.run_id, report.attempt))
            retry = self._retry(report, row, known) if row is not None else None
            if row is not None and retry is not None:
                retries.append((report, row, retry))
            else:
                plain.append(report)
        await _retry_later(connection, retries, _sent_at(request))
        ended = await _finish(connection, request, plain)
        return len(retries) + len(ended), await release(connection, ended, None), _tally(plain, ended)

    def _retry(self, report: Report, row: asyncpg.Record, known: Mapping[tuple[UUID, int], Definition]) -> Retry | None:
        definition = known.get((row["task_id"], row["task_version"]))
        if definition is None:
            return None
        return after_attempt(
            report.outcome,
            definition.policies,
            failures=row["failures"] + 1,
            stop_asked=row["recall"] in {"cancel", "replace", "terminate"},
            rand=self._rand(),
        )

    async def _take_back(self, connection: Connection, request: TakeBackRequest) -> TakeBackResponse:
        ids, attempts = _columns(unpack_keys(request.attempts))
        rows = await connection.fetch(sql("lock_attempts"), request.node_id, request.incarnation, ids, attempts)
        if not rows:
            return TakeBackResponse()
        return await give_back(connection, self._definitions, rows)


async def _check_attached(connection: Connection, request: RecordRequest) -> None:
    if not await connection.fetchval(sql("is_attached"), request.node_id, request.incarnation):
        raise FailedPrecondition("another connection of this node has taken its place", code="node.displaced")


async def _lock(
    connection: Connection, request: RecordRequest, reports: Sequence[Report]
) -> dict[tuple[UUID, int], asyncpg.Record]:
    """By run and attempt: a batch may hold an earlier attempt's result beside that of the current one."""
    if not reports:
        return {}
    ids, attempts = _columns((report.run_id, report.attempt) for report in reports)
    rows = await connection.fetch(sql("lock_attempts"), request.node_id, request.incarnation, ids, attempts)
    return {(row["id"], row["attempt"]): row for row in rows}


async def _mark_running(connection: Connection, request: RecordRequest, reports: Sequence[Report]) -> list[Report]:
    """Answers with the attempts that run without leave."""
    if not reports:
        return []
    ids, attempts = _columns((report.run_id, report.attempt) for report in reports)
    ago = [report.started_ago for report in reports]
    rows = await connection.fetch(
        sql("mark_running"), request.node_id, request.incarnation, ids, attempts, ago, _sent_at(request)
    )
    held = {row["id"] for row in rows}
    return [report for report in reports if report.run_id not in held]


async def _finish(connection: Connection, request: RecordRequest, reports: Sequence[Report]) -> list[asyncpg.Record]:
    if not reports:
        return []
    return await connection.fetch(
        sql("finish"),
        request.node_id,
        request.incarnation,
        [report.run_id for report in reports],
        [report.attempt for report in reports],
        [word(report.state) for report in reports],
        [word(report.reason) for report in reports],
        [report.message for report in reports],
        [report.exit_code if report.exit_code >= 0 else None for report in reports],
        [report.started_ago for report in reports],
        [report.finished_ago for report in reports],
        [report.cpu_time for report in reports],
        [report.peak_memory for report in reports],
        [kept_details(report.detail) for report in reports],
        _sent_at(request),
    )


async def _retry_later(
    connection: Connection, retries: Sequence[tuple[Report, asyncpg.Record, Retry]], sent_at: datetime | None
) -> None:
    if not retries:
        return
    now: datetime = await connection.fetchval("SELECT now()")
    told = min(max(sent_at or now, now - LONGEST_WAY), now)
    await connection.fetch(
        sql("retry"),
        [row["id"] for _, row, _ in retries],
        [now + retry.delay for _, _, retry in retries],
        [row["failures"] + 1 for _, row, _ in retries],
        [word(report.reason) for report, _, _ in retries],
        [report.message for report, _, _ in retries],
        [_with_attempt(row, ended_attempt(report, row, told)) for report, row, _ in retries],
    )


def _tally(reports: Sequence[Report], ended: Sequence[asyncpg.Record]) -> list[Tally]:
    """Of the reports that ended a run."""
    if len(ended) < len(reports):
        over = {row["id"] for row in ended}
        reports = [report for report in reports if report.run_id in over]
    return tally((report.state, report.reason, 1) for report in reports)


def _sent_at(request: RecordRequest) -> datetime | None:
    return request.reports.sent_at if request.reports else None


def _with_attempt(row: asyncpg.Record, attempt: Attempt) -> str:
    return json.dumps([*(row["earlier_attempts"] or []), attempt.to_dict()])


def _columns(keys: Iterable[tuple[UUID, int]]) -> tuple[list[UUID], list[int]]:
    pairs = list(keys)
    return [run_id for run_id, _ in pairs], [attempt for _, attempt in pairs]


def _keys(reports: Iterable[Report]) -> AttemptKeys:
    return pack_keys((report.run_id, report.attempt) for report in reports)
