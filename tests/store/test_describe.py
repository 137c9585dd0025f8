"""What the database says of itself."""

from __future__ import annotations

from datetime import timedelta

import asyncpg

from support.ledger import Ledger


async def test_a_snapshot_that_somebody_holds_is_seen_and_our_own_is_not(database, database_dsn):
    store = Ledger.on(database).store
    assert (await store.upkeep.describe()).oldest_snapshot is None
    foreign = await asyncpg.connect(database_dsn)
    async with foreign.transaction(isolation="repeatable_read"):
        await foreign.fetchval("SELECT count(*) FROM run")
        described = await store.upkeep.describe()
        assert described.oldest_snapshot > timedelta(0)
    await foreign.close()
    assert (await store.upkeep.describe()).oldest_snapshot is None
    assert 0 < described.transaction_age < 1_000_000
