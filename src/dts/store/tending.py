"""What is looked at now and then in the outbox, apart from sending: a look that takes long holds up no message."""

from __future__ import annotations

from datetime import datetime

from dts.domain.deliveries import MOST_WAITING
from dts.pb.dts.v1 import TaskEvent
from dts.store.pool import Connection
from dts.store.queries import sql

BATCH = 10_000
"""So many runs are read at most, of each kind of waiting and of each node: whoever has more that is late knows."""


async def drop_beyond(connection: Connection, now: datetime | None) -> list[tuple[str, int]]:
    """Gives up what is too much for a channel; answers with names of channels, and how much of theirs is gone."""
    at: datetime = now or await connection.fetchval("SELECT now()")
    crowded = [row["id"] for row in await connection.fetch(sql("lock_crowded"), MOST_WAITING)]
    if not crowded:
        return []
    rows = await connection.fetch(sql("drop_beyond"), at, MOST_WAITING, crowded)
    return [(row["name"], row["gone"]) for row in rows]


async def notice_late(connection: Connection, now: datetime | None) -> None:
    """Makes news of runs that are late, each once. One replica at a time does."""
    await _notice(connection, TaskEvent.LATE, "notice_late", now)


async def notice_stuck(connection: Connection, now: datetime | None) -> None:
    """The same of runs that go on for too long."""
    await _notice(connection, TaskEvent.STUCK, "notice_stuck", now)


async def _notice(connection: Connection, event: TaskEvent, statement: str, now: datetime | None) -> None:
    if not await connection.fetchval(sql("try_lock_late")):
        return
    at: datetime = now or await connection.fetchval("SELECT now()")
    wanted: int = await connection.fetchval(sql("wanted_events"))
    if wanted >> event & 1:
        await connection.execute(sql(statement), at, BATCH)
