"""What became of many runs: read in columns, for pictures of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import groupby

import asyncpg

from dts.domain.ids import MICROSECOND, parse_id
from dts.pb.dts.v1 import ListOutcomesRequest, ListRunCountsRequest, ListRunCountsResponse, TaskOutcomes
from dts.store.pool import errors
from dts.store.queries import sql
from dts.store.rows import STATE

OUTCOMES = 30
"""How many runs of a task are told of where nothing is said."""

MOST = 50_000
"""So many runs are counted at most, the newest: it bounds what a picture costs."""

NONE = -1
"""Stands for a span that there is not."""


class HistoryStore:
    """Table run_history, for pictures."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def outcomes(self, query: ListOutcomesRequest) -> list[TaskOutcomes]:
        """How the latest runs of tasks ended, oldest first."""
        ids = [parse_id(text, field="task_ids") for text in query.task_ids]
        with errors():
            rows = await self._pool.fetch(sql("outcomes"), ids, query.count or OUTCOMES)
        return [_outcomes_of(str(task), list(some)) for task, some in groupby(rows, lambda row: row["task_id"])]

    async def counts(self, query: ListRunCountsRequest) -> ListRunCountsResponse:
        """The finished runs of a time, counted in steps of it."""
        assert query.since is not None
        assert query.until is not None
        arguments: list[object] = [query.since, query.until, query.step, query.by_node, MOST]
        name = "counts"
        if query.task:
            name = "counts_of_task"
            arguments.append(parse_id(query.task, field="task"))
        with errors():
            rows = await self._pool.fetch(sql(name), *arguments)
        return _counts_of(rows, by_node=query.by_node)


def _outcomes_of(task_id: str, rows: Sequence[asyncpg.Record]) -> TaskOutcomes:
    return TaskOutcomes(
        task_id=task_id,
        states=[STATE[row["state"]] for row in rows],
        took=[_micros(row["took"]) for row in rows],
        late=[_micros(row["late"]) for row in rows],
    )


def _counts_of(rows: Sequence[asyncpg.Record], *, by_node: bool) -> ListRunCountsResponse:
    full = sum(row["rows"] for row in rows) >= MOST
    return ListRunCountsResponse(
        steps=[row["step"] for row in rows],
        nodes=[row["node"] for row in rows] if by_node else [],
        succeeded=[row["succeeded"] for row in rows],
        failed=[row["failed"] for row in rows],
        cancelled=[row["cancelled"] for row in rows],
        skipped=[row["skipped"] for row in rows],
        took_median=[_quantile(row["took"], 0) for row in rows],
        took_p95=[_quantile(row["took"], 1) for row in rows],
        late_median=[_quantile(row["late"], 0) for row in rows],
        late_p95=[_quantile(row["late"], 1) for row in rows],
        counted_since=min(row["earliest"] for row in rows) if full else None,
    )


def _quantile(found: Sequence[timedelta] | None, which: int) -> int:
    return NONE if found is None else _micros(found[which])


def _micros(span: timedelta | None) -> int:
    """Never negative: a start before its instant is on it."""
    return NONE if span is None else max(span // MICROSECOND, 0)
