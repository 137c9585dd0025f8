"""The limit: create, claim and finish rows of a bare table in batches, with nothing of dts around it."""

from __future__ import annotations

import asyncio
import time

import asyncpg

BATCH = 500
CONNECTIONS = 2

TABLE = """
DROP TABLE IF EXISTS raw_job, raw_done;
CREATE TABLE raw_job (id bigserial PRIMARY KEY, due timestamptz NOT NULL, state text NOT NULL, payload text NOT NULL);
CREATE INDEX ON raw_job (due, id) WHERE state = 'pending';
CREATE TABLE raw_done (
    id bigint PRIMARY KEY, due timestamptz NOT NULL, state text NOT NULL, finished timestamptz NOT NULL
)
"""
CREATE = "INSERT INTO raw_job (due, state, payload) SELECT now(), 'pending', 'x' FROM generate_series(1, $1)"
CLAIM = """
UPDATE raw_job SET state = 'running' WHERE id IN (
    SELECT id FROM raw_job WHERE state = 'pending' AND due <= now() ORDER BY due, id LIMIT $1 FOR UPDATE SKIP LOCKED
) RETURNING id
"""
FINISH = """
WITH gone AS (DELETE FROM raw_job WHERE id = ANY($1::bigint[]) RETURNING id, due)
INSERT INTO raw_done SELECT id, due, 'succeeded', now() FROM gone
"""


async def lifecycles_per_second(dsn: str, count: int) -> float:
    """Runs so many rows through their life; how many a second."""
    pool = await asyncpg.create_pool(dsn, min_size=CONNECTIONS, max_size=CONNECTIONS)
    try:
        await pool.execute(TABLE)
        begun = time.perf_counter()
        await asyncio.gather(*(_work(pool, count // BATCH // CONNECTIONS) for _ in range(CONNECTIONS)))
        return count / (time.perf_counter() - begun)
    finally:
        await pool.execute("DROP TABLE raw_job, raw_done")
        await pool.close()


async def _work(pool: asyncpg.Pool, batches: int) -> None:
    async with pool.acquire() as connection:
        for _ in range(batches):
            await connection.execute(CREATE, BATCH)
            rows = await connection.fetch(CLAIM, BATCH)
            await connection.execute(FINISH, [row["id"] for row in rows])
