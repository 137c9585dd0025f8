"""Writing the ledger: one pass over the cursors whose time has come."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from dts.domain.definition import Definition
from dts.domain.ids import EPOCH
from dts.domain.ledger import Cursor, Page, plan_page
from dts.pb.dts.v1 import MaterialiseRequest, MaterialiseResponse
from dts.store.definitions import Definitions
from dts.store.pages import write_pages
from dts.store.pool import Connection
from dts.store.queries import sql
from dts.store.tallies import tally
from dts.store.transactions import in_transaction

log = logging.getLogger(__name__)

RUNS_PER_PASS = 5000
"""How many runs a pass writes at most: less than a second's work, where a statement may take five."""

PLAN_SECONDS = 1.0
"""How long a pass plans at most before it writes: ticks of many months take their time to be counted."""

ANEW_EVERY = timedelta(milliseconds=5)
"""How long after one another tasks are looked at anew: two hundred in a second leave room for what is due."""

ANEW_BATCH = 5000

UNREADABLE_AGAIN = timedelta(hours=1)
"""When a task whose definition cannot be read any more is looked at again."""


class LedgerStore:
    """Moves cursors and writes the ticks they pass, in one transaction."""

    def __init__(self, pool: asyncpg.Pool, definitions: Definitions, monotonic: Callable[[], float]) -> None:
        self._pool = pool
        self._definitions = definitions
        self._monotonic = monotonic

    async def materialise(self, request: MaterialiseRequest) -> MaterialiseResponse:
        """One pass: at most `limit` tasks. Safe to run anywhere, any number at once."""
        return await in_transaction(self._pool, lambda connection: self._pass(connection, request))

    async def look_anew(self) -> int:
        """Lets the coming passes find out again when each task is due; answers of how many.

        For the start of a process: the zones that it ships with may be newer than those by which it was found out. One
        after the other, the soonest first: all at once would stand in front of what is due meanwhile.
        """
        seen = 0
        last = (EPOCH, UUID(int=0))
        while rows := await self._look_anew_after(last, seen):
            seen += len(rows)
            last = max((row["visit_at"], row["task_id"]) for row in rows)
        return seen

    async def _look_anew_after(self, last: tuple[datetime, UUID], seen: int) -> list[asyncpg.Record]:
        return await in_transaction(
            self._pool, lambda connection: connection.fetch(sql("look_anew"), *last, seen, ANEW_EVERY, ANEW_BATCH)
        )

    async def _pass(self, connection: Connection, request: MaterialiseRequest) -> MaterialiseResponse:
        rows = await connection.fetch(sql("lock_due_cursors"), request.now, request.limit)
        if not rows:
            return MaterialiseResponse()
        now: datetime = rows[0]["now"]
        known = await self._definitions.get(connection, [(row["task_id"], row["version"]) for row in rows])
        pages = self._plan_in_time(rows, known, now)
        found = [(known.get((row["task_id"], row["version"])), page) for row, page in pages]
        written, ended = await write_pages(connection, [(d, page) for d, page in found if d is not None], now)
        await advance(connection, [(row["task_id"], page) for row, page in pages])
        more = len(pages) < len(rows) or any(page.visit_at is not None and page.visit_at <= now for _, page in pages)
        return MaterialiseResponse(tasks=len(rows), runs=written, ended=tally(ended), more=more)

    def _plan_in_time(
        self, rows: Sequence[asyncpg.Record], known: Mapping[tuple[UUID, int], Definition], now: datetime
    ) -> list[tuple[asyncpg.Record, Page]]:
        """The pages of as many tasks as the time is enough for, of one at least; the others are due as before.

        What may be written is shared by all, so that a long backlog of some holds up nobody.
        """
        limit = max(1, RUNS_PER_PASS // len(rows))
        until = self._monotonic() + PLAN_SECONDS
        pages: list[tuple[asyncpg.Record, Page]] = []
        for row in rows:
            pages.append((row, _plan(known.get((row["task_id"], row["version"])), row, now, limit)))
            if self._monotonic() > until:
                break
        return pages


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


def _plan(definition: Definition | None, row: asyncpg.Record, now: datetime, limit: int) -> Page:
    cursor = Cursor(row["upto"], row["runs_left"])
    if definition is None:
        log.error("the definition of task %s version %s cannot be read", row["task_id"], row["version"])
        return Page((), (), cursor, None, now + UNREADABLE_AGAIN)
    if definition.schedule is None:
        return Page((), (), cursor, None, None)
    return plan_page(definition.schedule, definition.policies, cursor, now=now, limit=limit)
