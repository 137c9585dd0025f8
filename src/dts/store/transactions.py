"""One transaction, tried again where PostgreSQL says that only the moment was wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

from dts.domain.errors import Unavailable
from dts.store.pool import Connection, errors

T = TypeVar("T")

TRIES = 5
"""How often a transaction that lost to another one is tried."""

PAUSE_SECONDS = 0.01
"""Before the second try; doubles with each."""


async def in_transaction(pool: asyncpg.Pool, work: Callable[[Connection], Awaitable[T]]) -> T:
    """Runs `work` in a transaction; a deadlock or serialisation failure runs it again from the start.

    Raises:
        Unavailable: the database cannot be reached, or the transaction kept losing.
    """
    for attempt in range(TRIES):
        try:
            with errors():
                async with pool.acquire() as connection, connection.transaction():
                    return await work(connection)
        except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError, asyncpg.UniqueViolationError):
            await asyncio.sleep(PAUSE_SECONDS * 2**attempt)
    raise Unavailable(f"the transaction lost to others {TRIES} times; try again")
