"""Behind a PgBouncer in transaction mode: no session is ours, and nothing that is kept in one can be relied on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import asyncpg
import pytest

from dts.domain.errors import FailedPrecondition, Unavailable
from dts.store.migrate import migrate
from dts.store.pool import open_pool
from support.ledger import NOOP, Ledger, every
from support.polling import eventually
from support.pooler import pgbouncer

SESSIONS = 2
"""Fewer than there are callers at once, so that each of them meets what another one left behind."""


@pytest.fixture
def through(database_dsn: str) -> Iterator[str]:
    """The address of a fresh database through a pooler."""
    with pgbouncer(database_dsn, sessions=SESSIONS) as dsn:
        yield dsn


@pytest.fixture
async def pooled(through: str):
    async def opened() -> asyncpg.Pool | None:
        with suppress(Unavailable):  # it has just been started
            return await open_pool(through, size=8, lent=True)
        return None

    pool = await eventually(opened)
    yield pool
    pool.terminate()


async def test_many_at_once_share_few_sessions_and_every_run_is_done_once(pooled):
    ledger = Ledger.on(pooled)
    tasks = await asyncio.gather(*(ledger.task(f"pulse-{n}", every(1), kind=NOOP) for n in range(20)))
    await ledger.node()
    await asyncio.gather(*(ledger.materialise() for _ in range(8)))
    now = await ledger.now()
    claimed = [key for keys in await asyncio.gather(*(ledger.claim(now=now) for _ in range(8))) for key in keys]
    assert len({run_id for run_id, _ in claimed}) == len(claimed) >= len(tasks)
    settled = await asyncio.gather(*(ledger.report([key]) for key in claimed))
    assert len(settled) == len(claimed)
    stored = await pooled.fetchval("SELECT count(*) FROM run_history WHERE state = 'succeeded'")
    assert stored == len(claimed)


async def test_a_transaction_has_its_limits_and_leaves_none_behind_for_strangers(pooled):
    async with pooled.acquire() as connection, connection.transaction():
        assert await connection.fetchval("SHOW statement_timeout") == "5s"
        assert await connection.fetchval("SHOW lock_timeout") == "2s"
        assert await connection.fetchval("SHOW idle_in_transaction_session_timeout") == "5s"
    left = await asyncio.gather(*(pooled.fetchval("SHOW statement_timeout") for _ in range(8)))
    assert set(left) == {"0"}


async def test_hints_reach_those_within_and_are_not_kept_for_those_without(pooled):
    wakeups = Ledger.on(pooled).store.wakeups
    running = asyncio.create_task(wakeups.run())
    watching = wakeups.watch()
    first = asyncio.ensure_future(anext(watching))
    await asyncio.sleep(0)
    wakeups.wake("runs")
    assert (await first).topic == "runs"
    await eventually(lambda: wakeups.waiting == 0)
    running.cancel()
    assert await pooled.fetchval("SELECT count(*) FROM pg_stat_activity WHERE query ILIKE 'LISTEN%'") == 0


async def test_migrations_want_a_session_of_their_own(pooled):
    async with pooled.acquire() as connection:
        with pytest.raises(FailedPrecondition, match="straight to PostgreSQL"):
            await migrate(connection)
