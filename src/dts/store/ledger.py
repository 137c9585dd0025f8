"""Writing the ledger: one pass over the cursors whose time has come."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from dts.domain.definition import Definition
from dts.domain.ledger import Cursor, Page, plan_page
from dts.pb.dts.v1 import MaterialiseRequest, MaterialiseResponse
from dts.store.definitions import Definitions
from dts.store.pages import write_pages
from dts.store.pool import Connection
from dts.store.queries import sql
from dts.store.tallies import tally
from dts.store.transactions import in_transaction

log = logging.getLogger(__name__)

UNREADABLE_AGAIN = timedelta(hours=1)
"""When a task whose definition cannot be read any more is looked at again."""


class LedgerStore:
    """Moves cursors and writes the ticks they pass, in one transaction."""

    def __init__(self, pool: asyncpg.Pool, definitions: Definitions) -> None:
        self._pool = pool
        self._definitions = definitions

    async def materialise(self, request: MaterialiseRequest) -> MaterialiseResponse:
        """One pass: at most `limit` tasks. Safe to run anywhere, any number at once."""
        return await in_transaction(self._pool, lambda connection: self._pass(connection, request))

    async def look_anew(self) -> int:
        """Lets the next passes find out again when each task is due; answers of how many.

        For the start of a process: the zones that it ships with may be newer than those by which it was found out.
        """
        return len(await in_transaction(self._pool, lambda connection: connection.fetch(sql("look_anew"))))

    async def _pass(self, connection: Connection, request: MaterialiseRequest) -> MaterialiseResponse:
        rows = await connection.fetch(sql("lock_due_cursors"), request.now, request.limit)
        if not rows:
            return MaterialiseResponse()
        now: datetime = rows[0]["now"]
        known = await self._definitions.get(connection, [(row["task_id"], row["version"]) for row in rows])
        definitions = [known.get((row["task_id"], row["version"])) for row in rows]
        pages = [_plan(definition, row, now) for definition, row in zip(definitions, rows, strict=True)]
        written, ended = await write_pages(
            connection, [(d, page) for d, page in zip(definitions, pages, strict=True) if d is not None], now
        )
        await advance(connection, [(row["task_id"], page) for row, page in zip(rows, pages, strict=True)])
        return MaterialiseResponse(tasks=len(rows), runs=written, ended=tally(ended))


async def advance(connection: Connection, pages: Sequence[tuple[UUID, Page]]) -> None:
    """Moves the cursors of tasks to where their pages end."""
    await connection.execute(
        sql("advance_cursors"),
        [task_id for task_id, _ in pages],
        [page.cursor.upto for _, page in pages],
        [page.next_due_at for _, page in pages],
        [page.visit_at for _, page in pages],
        [page.cursor.runs_left for _, page in pages],
    )


def _plan(definition: Definition | None, row: asyncpg.Record, now: datetime) -> Page:
    cursor = Cursor(row["upto"], row["runs_left"])
    if definition is None:
        log.error("the definition of task %s version %s cannot be read", row["task_id"], row["version"])
        return Page((), (), cursor, None, now + UNREADABLE_AGAIN)
    if definition.schedule is None:
        return Page((), (), cursor, None, None)
    return plan_page(definition.schedule, definition.policies, cursor, now=now)
