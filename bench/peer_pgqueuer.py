"""PgQueuer draining no-op jobs, in a process of its own: given DSN and count it prints jobs a second."""

from __future__ import annotations

import sys
import time
from datetime import timedelta

import asyncpg
import uvloop
from pgqueuer import AsyncpgPoolDriver, PgQueuer, Queries
from pgqueuer.models import Job
from pgqueuer.types import QueueExecutionMode

BATCH = 500


async def drain(dsn: str, count: int) -> float:
    """Queues the jobs, then drains them as fast as it can."""
    pool = await asyncpg.create_pool(dsn, min_size=2, max_size=4)
    driver = AsyncpgPoolDriver(pool)
    queries = Queries(driver)
    await queries.install()
    for begin in range(0, count, 5000):
        size = min(5000, count - begin)
        await queries.enqueue(["noop"] * size, [b""] * size, [0] * size)
    queuer = PgQueuer(driver)

    @queuer.entrypoint("noop")
    async def noop(job: Job) -> None:
        del job

    begun = time.perf_counter()
    await queuer.run(dequeue_timeout=timedelta(seconds=1), batch_size=BATCH, mode=QueueExecutionMode.drain)
    seconds = time.perf_counter() - begun
    await queries.uninstall()
    await pool.close()
    return count / seconds


if __name__ == "__main__":
    print(uvloop.run(drain(sys.argv[1], int(sys.argv[2]))))
