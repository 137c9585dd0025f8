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
    return [(row["name"], row["gone"]) for row in await connection.fetch(sql("drop_beyond"), at, MOST_WAITING)]


async def notice_late(connection: Connection, now: datetime | None) -> None:
    """Makes news of runs that are late or stuck, each once. One replica at a time does."""
    if not await connection.fetchval(sql("try_lock_late")):
        return
    at: datetime = now or await connection.fetchval("SELECT now()")
    wanted: int = await connection.fetchval(sql("wanted_events"))
    for event, statement in ((TaskEvent.LATE, "notice_late"), (TaskEvent.STUCK, "notice_stuck")):
        if wanted >> event & 1:
            await connection.execute(sql(statement), at, BATCH)
