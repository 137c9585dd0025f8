"""Runs: found, listed, asked for, and asked to stop."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from dts.domain.errors import FailedPrecondition, InvalidArgument, NotFound
from dts.domain.ids import MICROSECOND, parse_id
from dts.domain.runs import FINAL
from dts.domain.verdicts import End
from dts.pb.dts.v1 import (
    FindDurationsRequest,
    FindTickRequest,
    LastSuccess,
    ListRunsRequest,
    PageRunsResponse,
    Reason,
    RequestCancelRequest,
    RequestRunsRequest,
    Run,
    RunState,
    TaskDuration,
    Trigger,
)
from dts.store.claims import end_pending
from dts.store.definitions import Definitions
from dts.store.pages import NewRun, write_runs
from dts.store.paging import decode_token, encode_token
from dts.store.pool import Connection, errors
from dts.store.queries import sql
from dts.store.rows import live_run_of, past_run_of, word
from dts.store.transactions import in_transaction
from dts.store.wakeups import Wakeups

PAGE_SIZE = 50
EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
LATEST = datetime(9999, 12, 30, tzinfo=UTC)
SHORTEST_PREFIX = 4
HEX_DIGITS = 32


class RunStore:
    """Tables run and run_history, for people."""

    def __init__(self, pool: asyncpg.Pool, definitions: Definitions, wakeups: Wakeups) -> None:
        self._pool = pool
        self._definitions = definitions
        self._wakeups = wakeups

    async def find(self, text: str) -> Run:
        """The run with this id, or the only one whose id begins so.

        Raises:
            InvalidArgument: it is not the beginning of an id, or of more than one.
            NotFound: no run has such an id.
        """
        low, high = _id_range(text)
        with errors():
            found = await self._pool.fetch(sql("find_run"), low, high)
        if not found:
            raise NotFound(f"no run {text}", code="run.unknown")
        if len({row["id"] for row in found}) > 1:
            raise InvalidArgument.of("run", "run.ambiguous", f"more than one run begins with {text}: give more of it")
        runs = await self._read([(found[0]["id"], found[0]["scheduled_at"])])
        if not runs:  # retention took it between two looks
            raise NotFound(f"no run {text}", code="run.unknown")
        return runs[0]

    async def find_tick(self, request: FindTickRequest) -> Run | None:
        """The row that stands for a tick, or the latest row of the task."""
        task_id = parse_id(request.task_id, field="task_id")
        with errors():
            if request.at is None:
                row = await self._pool.fetchrow(sql("latest_tick"), task_id, None)
            else:
                row = await self._pool.fetchrow(sql("find_tick"), task_id, request.at)
        runs = await self._read([(row["id"], row["scheduled_at"])]) if row else []
        return runs[0] if runs else None

    async def durations(self, request: FindDurationsRequest) -> list[TaskDuration]:
        """How long runs took of late, of tasks that have such runs."""
        ids = [parse_id(text, field="task_ids") for text in request.task_ids]
        with errors():
            rows = await self._pool.fetch(sql("durations"), ids)
        return [
            TaskDuration(task_id=str(row["task_id"]), runs=row["runs"], median=row["median"], p95=row["p95"])
            for row in rows
        ]

    async def page(self, query: ListRunsRequest) -> PageRunsResponse:
        """One page, newest first; `query.task` is an id or empty."""
        size = query.page_size or PAGE_SIZE
        before, before_id = decode_token(query.page_token) if query.page_token else (LATEST, UUID(int=2**128 - 1))
        states = [state for state in (query.states or RunState) if state]
        arguments = [
            [word(RunState(state)) for state in states],
            query.since or EARLIEST,
            query.until or LATEST,
            before,
            before_id,
            size + 1,
            bool(query.states),
        ]
        name = "page_all" if RunState.SUCCEEDED in states else "page_not_ok"
        if not FINAL & set(states):
            name = "page_live"
        if query.task:
            name = "page_task"
            arguments.append(parse_id(query.task, field="query.task"))
        with errors():
            keys = await self._pool.fetch(sql(name), *arguments)
        page = keys[:size]
        runs = await self._read([(row["id"], row["scheduled_at"]) for row in page])
        token = encode_token(page[-1]["scheduled_at"], page[-1]["id"]) if len(keys) > size else ""
        return PageRunsResponse(runs=runs, next_page_token=token)

    async def last_successes(self, most: int) -> list[LastSuccess]:
        """When tasks with a schedule last succeeded, of at most so many."""
        with errors():
            rows = await self._pool.fetch(sql("last_successes"), most)
        return [LastSuccess(task=row["name"], at=row["at"]) for row in rows]

    async def request(self, request: RequestRunsRequest) -> list[Run]:
        """Stores runs that were asked for, and tells how they stand; the same request twice stores them once.

        Raises:
            NotFound: the task does not exist (any more).
            FailedPrecondition: the version to run again does not exist.
        """
        runs = await in_transaction(self._pool, lambda connection: self._request(connection, request))
        self._wakeups.wake("runs")
        return await self._read(runs)

    async def cancel(self, request: RequestCancelRequest) -> list[Run]:
        """Ends what has not been handed over, asks nodes to stop the rest.

        Raises:
            FailedPrecondition: a run is over already.
        """
        ids = [parse_id(text, field="run_ids") for text in request.run_ids]
        message = f"cancelled by {request.actor}" if request.actor else "cancelled"

        async def work(connection: Connection) -> list[str]:
            now: datetime = await connection.fetchval("SELECT now()")
            rows = await connection.fetch(sql("lock_runs"), ids)
            pending = [row["id"] for row in rows if row["state"] == "pending"]
            ended = [End(run_id, RunState.CANCELLED, Reason.CANCELLED, message) for run_id in pending]
            await end_pending(connection, ended, now)
            recalled = await connection.fetch(sql("recall_runs"), ids, "cancel")
            return [row["node_id"] for row in recalled]

        for node_id in await in_transaction(self._pool, work):
            self._wakeups.wake("recalls", node_id)
        self._wakeups.wake("runs")
        return [await self.find(str(run_id)) for run_id in ids]

    async def _request(self, connection: Connection, request: RequestRunsRequest) -> list[tuple[UUID, datetime]]:
        task_id = parse_id(request.task_id, field="task_id")
        current = await connection.fetch(sql("lock_current"), [task_id])
        if not current or current[0]["deleted_at"] is not None:
            raise NotFound(f"no task {request.task_id}", code="task.unknown")
        version: int = current[0]["version"]
        keys = {(task_id, run.task_version or version) for run in request.runs}
        known = await self._definitions.get(connection, keys)
        if len(known) < len(keys):
            raise FailedPrecondition("the version of the task that it ran cannot be read any more")
        now: datetime = await connection.fetchval("SELECT now()")
        ids = [parse_id(run.id, field="runs.id") for run in request.runs]
        known_at = {row["id"]: row["scheduled_at"] for row in await connection.fetch(sql("asked_before"), ids)}
        new = [
            NewRun(
                run_id=run_id,
                definition=known[(task_id, run.task_version or version)],
                trigger=Trigger(request.trigger),
                scheduled_at=run.scheduled_at or now,
                not_before=now + place * MICROSECOND,  # many at once take their turns in this order
                overlap=request.overlap,
                parameters=json.dumps(dict(run.parameters)) if run.parameters else None,
            )
            for place, (run_id, run) in enumerate(zip(ids, request.runs, strict=True))
            if run_id not in known_at
        ]
        await write_runs(connection, new, now)
        at = known_at | {run.run_id: run.scheduled_at for run in new}
        return [(run_id, at[run_id]) for run_id in ids]

    async def _read(self, keys: Sequence[tuple[UUID, datetime]]) -> list[Run]:
        """The runs of these keys in their order, wherever they are by now."""
        if not keys:
            return []
        ids = [run_id for run_id, _ in keys]
        with errors():
            # Hot before past: a run that moves in between is found in both rather than in neither.
            live = await self._pool.fetch(sql("live_runs"), ids)
            past = await self._pool.fetch(sql("past_runs"), ids, [scheduled_at for _, scheduled_at in keys])
        found: dict[UUID, Run] = {row["id"]: live_run_of(row) for row in live}
        found.update({row["id"]: past_run_of(row) for row in past})
        return [found[run_id] for run_id in ids if run_id in found]


def _id_range(text: str) -> tuple[UUID, UUID]:
    digits = text.replace("-", "").lower()
    if not SHORTEST_PREFIX <= len(digits) <= HEX_DIGITS or not set(digits) <= set("0123456789abcdef"):
        raise InvalidArgument.of(
            "run", "run.id", f"is the beginning of a run's id: {SHORTEST_PREFIX} to {HEX_DIGITS} hexadecimal digits"
        )
    return UUID(hex=digits.ljust(HEX_DIGITS, "0")), UUID(hex=digits.ljust(HEX_DIGITS, "f"))
