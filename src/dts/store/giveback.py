"""Attempts that were handed over and never started, given back to the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from dts.domain.definition import Definition
from dts.domain.ids import MICROSECOND
from dts.pb.dts.v1 import Reason, RunState, TakeBackResponse
from dts.store.claims import release
from dts.store.definitions import Definitions
from dts.store.pool import Connection
from dts.store.queries import sql
from dts.store.rows import word

STOPS = frozenset({"cancel", "replace", "terminate"})
"""What was asked of a node so that the run ends."""

End = tuple[RunState, Reason, str]
"""How a run that never started is over, why, and what people read."""


async def give_back(
    connection: Connection, definitions: Definitions, rows: Sequence[asyncpg.Record]
) -> TakeBackResponse:
    """Attempts that never started and never will: cancelled, pending again, or dropped with their tick."""
    now: datetime = await connection.fetchval("SELECT now()")
    current = await connection.fetch(sql("lock_current"), list({row["task_id"] for row in rows}))
    tasks = {row["id"]: row for row in current}
    stopped = [row for row in rows if row["recall"] in STOPS]
    rest = [row for row in rows if row["recall"] not in STOPS]
    known = await definitions.get(connection, [(row["id"], row["version"]) for row in current])
    again = [row for row in rest if _still_counts(row, tasks.get(row["task_id"]), known)]
    kept = {row["id"] for row in again}
    dropped = [row for row in rest if row["id"] not in kept]
    ended = await _end(connection, [(row, _cancelled(row)) for row in stopped], now)
    ended += await _drop(connection, definitions, dropped, tasks, now)
    await put_back(connection, [(row, _to_run(row, tasks.get(row["task_id"]), known)) for row in again], now)
    await release(connection, ended, now)
    return TakeBackResponse(returned=len(again), ended=len(stopped) + len(dropped))


async def _drop(
    connection: Connection,
    definitions: Definitions,
    rows: Sequence[asyncpg.Record],
    tasks: Mapping[UUID, asyncpg.Record],
    now: datetime,
) -> list[asyncpg.Record]:
    """Ticks that no longer count leave nothing, unless they counted when they were due."""
    owed = await _owed(connection, definitions, [row for row in rows if row["scheduled_at"] <= now])
    ends = [(row, _unrun(owed[row["id"]], tasks[row["task_id"]])) for row in rows if row["id"] in owed]
    ended = await _end(connection, ends, now)
    return ended + await connection.fetch(sql("delete_runs"), [row["id"] for row in rows if row["id"] not in owed])


async def _owed(
    connection: Connection, definitions: Definitions, rows: Sequence[asyncpg.Record]
) -> dict[UUID, asyncpg.Record]:
    """Of ticks that passed, those that the version of their instant has, and that no stretch will tell of any more.

    The ledger is settled beyond them, and was written beside their rows.
    """
    if not rows:
        return {}
    columns = [row["id"] for row in rows], [row["task_id"] for row in rows], [row["scheduled_at"] for row in rows]
    found = await connection.fetch(sql("in_force"), *columns)
    known = await definitions.get(connection, [(row["task_id"], row["version"]) for row in found])
    return {
        row["id"]: row
        for row in found
        if (definition := known.get((row["task_id"], row["version"]))) is not None
        and has_tick(definition, row["scheduled_at"])
    }


def _unrun(owed: asyncpg.Record, task: asyncpg.Record) -> End:
    """What became of a tick that counted when it was due, and does not any more."""
    if owed["paused"] or not task["enabled"]:
        return RunState.SKIPPED, Reason.SKIPPED_PAUSED, "the task was paused"
    if task["deleted_at"] is not None:
        return RunState.CANCELLED, Reason.CANCELLED, "the task was deleted"
    return RunState.SKIPPED, Reason.MISSED, "its node gave it back, and the task was changed since its time"


def _cancelled(row: asyncpg.Record) -> End:
    reason = Reason.CANCELLED if row["recall"] == "cancel" else Reason.REPLACED
    return RunState.CANCELLED, reason, "it was stopped before it started"


async def _end(
    connection: Connection, ends: Sequence[tuple[asyncpg.Record, End]], now: datetime
) -> list[asyncpg.Record]:
    if not ends:
        return []
    return await connection.fetch(
        sql("end_on_node"),
        [row["id"] for row, _ in ends],
        [word(state) for _, (state, _, _) in ends],
        [word(reason) for _, (_, reason, _) in ends],
        [message for _, (_, _, message) in ends],
        now,
    )


def _still_counts(
    row: asyncpg.Record, task: asyncpg.Record | None, known: Mapping[tuple[UUID, int], Definition]
) -> bool:
    """Whether a tick that was withdrawn is also one of the task's current schedule."""
    if row["recall"] != "withdraw" or row["trigger"] != "schedule":
        return True
    if task is None or not task["enabled"] or task["deleted_at"] is not None:
        return False
    definition = known.get((task["id"], task["version"]))
    return definition is not None and has_tick(definition, row["scheduled_at"])


def has_tick(definition: Definition, scheduled_at: datetime) -> bool:
    """Whether an instant is one of the ticks of a version."""
    if definition.schedule is None:
        return False
    tick = definition.schedule.last_before(scheduled_at, after=scheduled_at - MICROSECOND)
    return tick is not None and not tick.excluded


def _to_run(
    row: asyncpg.Record, task: asyncpg.Record | None, known: Mapping[tuple[UUID, int], Definition]
) -> Definition | None:
    """The current version for a withdrawn tick; None: anything else runs the one that it was made for."""
    return known.get((task["id"], task["version"])) if task is not None and row["recall"] == "withdraw" else None


async def put_back(
    connection: Connection, rows: Sequence[tuple[asyncpg.Record, Definition | None]], now: datetime
) -> None:
    """Makes runs that never started pending again: as their row says, or as another version of their task does."""
    if rows:
        columns = zip(*(_put_back(row, definition) for row, definition in rows), strict=True)
        await connection.fetch(sql("put_back"), now, *map(list, columns))


def _put_back(row: asyncpg.Record, definition: Definition | None) -> tuple[object, ...]:
    """Its id, and what follows from a version: which, weightless, serial, group, start deadline."""
    if definition is None:
        kept = ("id", "task_version", "weightless", "serial", "group_name", "start_within")
        return tuple(row[name] for name in kept)
    weightless, group = definition.need.weightless, definition.policies.group or None
    return row["id"], definition.version, weightless, definition.serial, group, definition.policies.start_deadline
