"""Changes of definitions inside one transaction: the task, its version, its cursor and its coming runs together."""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime
from uuid import UUID

import asyncpg

from dts.domain.definition import Definition, compile_definition
from dts.domain.errors import AlreadyExists, Conflict, NotFound
from dts.domain.ids import parse_id
from dts.domain.ledger import Cursor, Page, first_page, opening, paused_gap, plan_page
from dts.pb.dts.v1 import Reason, RunState, TaskAction, TaskChange, TaskSpec
from dts.store.definitions import Definitions
from dts.store.giveback import has_tick, put_back
from dts.store.pages import write_gaps, write_pages
from dts.store.pool import Connection
from dts.store.queries import sql
from dts.store.rows import word

CHANGE = {
    TaskAction.CREATE: "create",
    TaskAction.UPDATE: "update",
    TaskAction.DELETE: "delete",
    TaskAction.PAUSE: "pause",
    TaskAction.RESUME: "resume",
}

Pause = tuple[str, str, datetime | None]
"""Why, by whom and when a task was paused."""


class Changes:
    """Applies changes of tasks on a connection that is in a transaction."""

    def __init__(self, connection: Connection, definitions: Definitions, *, actor: str) -> None:
        self._connection = connection
        self._definitions = definitions
        self._actor = actor
        self.recalled_nodes: list[str] = []

    async def create(self, changes: list[TaskChange]) -> None:
        """Stores new tasks."""
        if not changes:
            return
        now = await self._connection.fetchval("SELECT now()")
        definitions = [_compile(change, version=1) for change in changes]
        ids = [definition.task_id for definition in definitions]
        specs = [bytes(definition.spec) for definition in definitions]
        inserted = await self._connection.fetch(
            sql("insert_tasks"),
            ids,
            [definition.spec.name for definition in definitions],
            specs,
            [json.dumps(dict(definition.spec.labels)) for definition in definitions],
            now,
        )
        _refuse_taken_names(definitions, {row["id"] for row in inserted})
        pages = [_first_page(definition, now) for definition in definitions]
        await self._connection.execute(
            sql("insert_cursors"),
            ids,
            1,
            [page.cursor.upto for page in pages],
            [page.next_due_at for page in pages],
            [page.visit_at for page in pages],
            [page.cursor.runs_left for page in pages],
        )
        await self._remember(definitions, "create", [change.note for change in changes], now)

    async def alter(self, changes: list[TaskChange]) -> None:
        """Changes existing tasks; deletions first, so that a name they free can be taken."""
        if not changes:
            return
        rows = await self._connection.fetch(
            sql("lock_tasks"), [parse_id(change.task_id, field="task_id") for change in changes]
        )
        by_id = {str(row["id"]): row for row in rows}
        now = await self._connection.fetchval("SELECT clock_timestamp()")
        for change in sorted(changes, key=lambda change: change.action is not TaskAction.DELETE):
            row = by_id.get(change.task_id)
            if row is None:
                raise NotFound(f"no task {change.task_id}: somebody deleted it")
            if change.expected_version not in {0, row["version"]}:
                raise Conflict(
                    f"task {row['name']} is in version {row['version']} by now, not {change.expected_version}; "
                    "read it again"
                )
            await self._alter(change, row, now)

    async def _alter(self, change: TaskChange, row: asyncpg.Record, now: datetime) -> None:
        deleted = change.action is TaskAction.DELETE
        enabled = _enabled_after(change.action, row["enabled"])
        spec = change.spec if change.action is TaskAction.UPDATE and change.spec else TaskSpec.parse(row["spec"])
        definition = compile_definition(row["id"], row["version"] + 1, spec)
        left = await self._settle_past(row, now)
        if left is not None:  # what is coming is written anew, and counts then
            left += await self._connection.fetchval(sql("coming_ticks"), row["id"], now)
        await self._settle_coming(change.action, row, now)
        await self._update(definition, _pause_after(change, row, self._actor, now), enabled, now, deleted=deleted)
        await self._move_cursor(definition, _runs_left(definition, row, left), now, stopped=deleted or not enabled)
        await self._settle_pinned(definition, now, stopped=deleted or not enabled)
        await self._remember([definition], CHANGE[change.action], [change.note], now)

    async def _update(
        self, definition: Definition, pause: Pause, enabled: bool, now: datetime, *, deleted: bool
    ) -> None:
        spec = definition.spec
        try:
            await self._connection.execute(
                sql("update_task"),
                definition.task_id,
                spec.name,
                definition.version,
                bytes(spec),
                json.dumps(dict(spec.labels)),
                enabled,
                *pause,
                now,
                now if deleted else None,
            )
        except asyncpg.UniqueViolationError as error:
            raise _taken([spec.name]) from error

    async def _settle_coming(self, action: TaskAction, row: asyncpg.Record, now: datetime) -> None:
        """What is not due yet no longer counts; what was handed over is recalled; what waits ends with its task."""
        task_id = row["id"]
        await self._connection.execute(sql("drop_coming_runs"), task_id, now)
        withdrawn = await self._connection.fetch(sql("withdraw_coming_runs"), task_id, now)
        self.recalled_nodes.extend({record["node_id"] for record in withdrawn})
        if action is TaskAction.PAUSE:
            await self._end_waiting(task_id, RunState.SKIPPED, Reason.SKIPPED_PAUSED, "the task was paused", now)
        elif action is TaskAction.DELETE:
            await self._end_waiting(task_id, RunState.CANCELLED, Reason.CANCELLED, "the task was deleted", now)

    async def _settle_pinned(self, definition: Definition, now: datetime, *, stopped: bool) -> None:
        """Of a tick that every node runs: what nodes have not begun runs the new version, if that has the tick."""
        rows = await self._connection.fetch(sql("coming_pinned"), definition.task_id, now)
        kept = [] if stopped else [row for row in rows if has_tick(definition, row["scheduled_at"])]
        await put_back(self._connection, [(row, definition) for row in kept], now)
        ids = {row["id"] for row in kept}
        if dropped := [row["id"] for row in rows if row["id"] not in ids]:
            await self._connection.execute(sql("delete_runs"), dropped)

    async def _end_waiting(self, task_id: UUID, state: RunState, reason: Reason, message: str, now: datetime) -> None:
        waiting = [record["id"] for record in await self._connection.fetch(sql("waiting_runs_of"), task_id)]
        if waiting:
            await self._connection.fetch(
                sql("end_pending"),
                waiting,
                [word(state)] * len(waiting),
                [word(reason)] * len(waiting),
                [message] * len(waiting),
                [None] * len(waiting),
                now,
            )

    async def _settle_past(self, row: asyncpg.Record, now: datetime) -> int | None:
        """Ticks of the old definition that passed and are not in the ledger yet are owed to it.

        Answers how many runs are left after them.
        """
        left: int | None = row["runs_left"]
        known = await self._definitions.get(self._connection, [(row["id"], row["version"])])
        before = known.get((row["id"], row["version"]))
        if before is None or before.schedule is None or row["upto"] >= now or left == 0:
            return left
        if not row["enabled"]:
            gaps = paused_gap(before.schedule, after=row["upto"], until=now)
            await write_gaps(self._connection, [(before, gap) for gap in gaps], now)
            return left
        cursor = Cursor(row["upto"], left)
        while cursor.upto < now and cursor.runs_left != 0:
            page = plan_page(before.schedule, before.policies, cursor, now=now)
            await write_pages(self._connection, [(before, page)], now)
            cursor = page.cursor
        return cursor.runs_left

    async def _move_cursor(self, definition: Definition, left: int | None, now: datetime, *, stopped: bool) -> None:
        """The ledger is settled up to now; from now on the new definition counts."""
        cursor = Cursor(now, left)
        page = Page((), (), cursor, None, None) if stopped else first_page(definition.schedule, cursor, now=now)
        await self._connection.execute(
            sql("set_cursor"),
            definition.task_id,
            definition.version,
            page.cursor.upto,
            page.next_due_at,
            page.visit_at,
            page.cursor.runs_left,
        )

    async def _remember(self, definitions: list[Definition], change: str, notes: list[str], now: datetime) -> None:
        count = len(definitions)
        await self._connection.execute(
            sql("insert_versions"),
            [definition.task_id for definition in definitions],
            [definition.version for definition in definitions],
            [bytes(definition.spec) for definition in definitions],
            [change] * count,
            self._actor,
            notes,
            now,
        )


def _first_page(definition: Definition, now: datetime) -> Page:
    schedule = definition.schedule
    upto = now if schedule is None else opening(schedule, definition.spec.schedule, definition.policies, now=now)
    return first_page(schedule, Cursor(upto, _max_runs(definition)), now=now)


def _compile(change: TaskChange, *, version: int) -> Definition:
    return compile_definition(
        parse_id(change.task_id, field="task_id"), version, dataclasses.replace(change.spec or TaskSpec())
    )


def _pause_after(change: TaskChange, row: asyncpg.Record, actor: str, now: datetime) -> Pause:
    match change.action:
        case TaskAction.PAUSE:
            return change.note, actor, now
        case TaskAction.RESUME:
            return "", "", None
        case _:
            return row["pause_note"], row["paused_by"], row["paused_at"]


def _enabled_after(action: TaskAction, enabled: bool) -> bool:
    match action:
        case TaskAction.PAUSE:
            return False
        case TaskAction.RESUME:
            return True
        case _:
            return enabled


def _max_runs(definition: Definition) -> int | None:
    schedule = definition.spec.schedule
    return schedule.max_runs if schedule else None


def _runs_left(definition: Definition, row: asyncpg.Record, left: int | None) -> int | None:
    """What was left, unless the definition has another number of runs now: that begins anew."""
    before = TaskSpec.parse(row["spec"]).schedule
    unchanged = (before.max_runs if before else None) == _max_runs(definition)
    return left if unchanged else _max_runs(definition)


def _refuse_taken_names(definitions: list[Definition], inserted: set[UUID]) -> None:
    taken = [definition.spec.name for definition in definitions if definition.task_id not in inserted]
    if taken:
        raise _taken(taken)


def _taken(names: list[str]) -> AlreadyExists:
    return AlreadyExists(f"a task named {', '.join(names)} exists already", code="task.exists")
