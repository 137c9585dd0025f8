"""APScheduler 3 with jobs due in one instant, in a process of its own: prints lateness p50 p99 max in seconds."""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from bench.samples import percentiles


async def lateness(count: int) -> list[float]:
    """Starts of so many no-op jobs that are due together."""
    scheduler = AsyncIOScheduler(timezone=UTC)
    late: list[float] = []
    instant = datetime.now(UTC) + timedelta(seconds=3 + count / 5000)

    async def job() -> None:
        late.append(time.time() - instant.timestamp())

    for _ in range(count):
        scheduler.add_job(job, "date", run_date=instant, misfire_grace_time=60)
    scheduler.start()
    while len(late) < count:
        await asyncio.sleep(0.05)
    scheduler.shutdown()
    return late


if __name__ == "__main__":
    print(*percentiles(asyncio.run(lateness(int(sys.argv[1])))))
