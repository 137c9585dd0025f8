"""After a restore: the ledger does not know what happened since its backup, and must not do it again.

Between the backup and now every tick may have run. None of them runs again: each gets its row, as missed, and what the
backup holds as not yet run is closed. Work that still runs says so itself when its node attaches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

import asyncpg

from dts.domain.definition import Definition
from dts.domain.errors import FailedPrecondition
from dts.domain.ledger import Cursor, Page, first_page, missed
from dts.pb.dts.v1 import Reason, RunState
from dts.store.definitions import Definitions
from dts.store.ledger import advance
from dts.store.pages import write_gaps
from dts.store.pool import Connection
from dts.store.queries import sql
from dts.store.rows import word
from dts.store.transactions import in_transaction

UNKNOWN = "the database was restored from a backup: whether it ran after that is not known"
BATCH = 1000


@dataclass(frozen=True, slots=True)
class Restored:
    """What was closed. ticks: that were not in the backup. runs: that it held as not over."""

    ticks: int
    runs: int


async def settle_restored(pool: asyncpg.Pool) -> Restored:
    """Closes what may have run since the backup, all or nothing.

    Raises:
        FailedPrecondition: dts works with this database already.
    """
    return await in_transaction(pool, _settle)


async def _settle(connection: Connection) -> Restored:
    now: datetime = await connection.fetchval("SELECT now()")
    await _refuse_while_it_works(connection)
    runs = await _close_runs(connection, now)
    return Restored(await _close_ticks(connection, now), runs)


async def _refuse_while_it_works(connection: Connection) -> None:
    if await connection.fetchval(sql("sessions")):
        why = "dts works with this database already: stop it, restore, and call this before it starts again"
        raise FailedPrecondition(why, code="restore.late")


async def _close_runs(connection: Connection, now: datetime) -> int:
    """Ends what the backup holds as due and not over, but for what ran: its node tells how that ended."""
    rows = await connection.fetch(sql("due_and_not_running"), now)
    tried = [row["attempt"] > 0 for row in rows]
    await connection.fetch(
        sql("end_on_node"),
        [row["id"] for row in rows],
        [word(RunState.FAILED if some else RunState.SKIPPED) for some in tried],
        [word(Reason.NODE_LOST if some else Reason.MISSED) for some in tried],
        [UNKNOWN] * len(rows),
        now,
    )
    return len(rows)


async def _close_ticks(connection: Connection, now: datetime) -> int:
    """One row for each stretch of ticks that passed since the backup, and the cursors after them."""
    cursors = iter(await connection.fetch(sql("lock_due_cursors"), now, None))
    definitions = Definitions()
    ticks = 0
    while batch := list(islice(cursors, BATCH)):
        known = await definitions.get(connection, [(row["task_id"], row["version"]) for row in batch])
        found = [
            (row, known[row["task_id"], row["version"]]) for row in batch if (row["task_id"], row["version"]) in known
        ]
        ticks += await _skip_to(connection, found, now)
    return ticks


async def _skip_to(connection: Connection, found: Sequence[tuple[asyncpg.Record, Definition]], now: datetime) -> int:
    gaps = [
        (definition, gap)
        for row, definition in found
        if definition.schedule is not None
        for gap in missed(definition.schedule, after=row["upto"], until=now)
    ]
    await write_gaps(connection, gaps, now, message=UNKNOWN)
    await advance(connection, [(row["task_id"], _page_after(row, definition, now)) for row, definition in found])
    return sum(gap.ticks for _, gap in gaps)


def _page_after(row: asyncpg.Record, definition: Definition, now: datetime) -> Page:
    return first_page(definition.schedule, Cursor(max(row["upto"], now), row["runs_left"]), now=now)
