"""Definitions: saved with their cursors in one transaction, found by name or id."""

from __future__ import annotations

import json
from collections.abc import Iterable
from uuid import UUID

import asyncpg

from dts.domain.ids import parse_id
from dts.pb.dts.v1 import (
    FindTasksRequest,
    ListTasksRequest,
    PageTasksRequest,
    PageTasksResponse,
    Run,
    SaveTasksRequest,
    Task,
    TaskAction,
    TaskVersion,
)
from dts.store.changes import Changes
from dts.store.definitions import Definitions
from dts.store.pool import Connection
from dts.store.queries import sql
from dts.store.rows import brief_run_of, task_of, version_of
from dts.store.transactions import in_transaction
from dts.store.wakeups import Wakeups

PAGE_SIZE = 100
END_OF_NAMES = "\uffff"


class TaskStore:
    """Tables task, task_version and task_cursor."""

    def __init__(self, pool: asyncpg.Pool, definitions: Definitions, wakeups: Wakeups) -> None:
        self._pool = pool
        self._definitions = definitions
        self._wakeups = wakeups

    async def save(self, request: SaveTasksRequest) -> list[Task]:
        """Stores changes, all or none, and answers with the tasks in their order.

        Raises:
            AlreadyExists: a name is taken.
            NotFound: a task to change does not exist (any more).
            Conflict: a task is not in the version that was expected.
        """
        changed = [parse_id(change.task_id, field="task_id") for change in request.changes]

        async def work(connection: Connection) -> list[str]:
            changes = Changes(connection, self._definitions, actor=request.actor)
            await changes.create([c for c in request.changes if c.action is TaskAction.CREATE])
            rest = [c for c in request.changes if c.action is not TaskAction.CREATE]
            # Deletions and renames first would free names that others take; the unique index judges at the end.
            await changes.alter(rest)
            return changes.recalled_nodes

        recalled = await in_transaction(self._pool, work)
        self._wakeups.wake("tasks")
        for node_id in recalled:
            self._wakeups.wake("recalls", node_id)
        return await self._by_id(changed)

    async def find(self, request: FindTasksRequest) -> list[Task]:
        """Tasks by name or id, in the order asked for; a current task hides deleted ones of its name."""
        ids = [parsed for text in request.tasks if (parsed := _as_id(text))]
        rows = await self._pool.fetch(sql("find_tasks"), ids, request.tasks, request.deleted)
        by_key: dict[str, asyncpg.Record] = {}
        for row in rows:
            by_key.setdefault(str(row["id"]), row)
            by_key.setdefault(row["name"], row)
        found = [by_key[text] for text in request.tasks if text in by_key]
        last = await self._last_runs(found) if request.with_last_run else {}
        return [task_of(row, last_run=last.get(row["id"])) for row in found]

    async def page(self, request: PageTasksRequest) -> PageTasksResponse:
        """One page of current tasks, by name; or those that are due first."""
        if request.soonest:
            rows = await self._pool.fetch(sql("soonest_tasks"), request.due_until, request.soonest)
            return PageTasksResponse(tasks=[task_of(row) for row in rows])
        query = request.query or ListTasksRequest()
        size = query.page_size or PAGE_SIZE
        rows = await self._pool.fetch(
            sql("page_tasks"),
            query.page_token,
            query.name_prefix,
            query.name_prefix + END_OF_NAMES,
            json.dumps(dict(query.labels)),
            request.due_until,
            size + 1,
            query.name_part,
            query.enabled,
        )
        page = rows[:size]
        last = await self._last_runs(page) if request.with_last_run else {}
        return PageTasksResponse(
            tasks=[task_of(row, last_run=last.get(row["id"])) for row in page],
            next_page_token=page[-1]["name"] if len(rows) > size else "",
        )

    async def versions(self, task_id: UUID, limit: int) -> list[TaskVersion]:
        """The versions of a task, newest first; at most so many, all for 0."""
        return [version_of(row) for row in await self._pool.fetch(sql("task_versions"), task_id, limit or None)]

    async def _by_id(self, ids: Iterable[UUID]) -> list[Task]:
        request = FindTasksRequest(tasks=[str(task_id) for task_id in ids], deleted=True)
        return await self.find(request)

    async def _last_runs(self, rows: Iterable[asyncpg.Record]) -> dict[UUID, Run]:
        found = await self._pool.fetch(sql("last_runs"), [row["id"] for row in rows])
        return {row["task_id"]: brief_run_of(row) for row in found}


def _as_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
