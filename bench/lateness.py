"""How late no-ops start when many tasks are due in the same instant."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta

import asyncpg

from bench.figures import Figure, compared
from bench.samples import percentiles
from dts.pb.dts.v1 import ApplyTasksRequest, Kind, NoopKind, OneShot, Rule, Schedule, TaskSpec
from support.postgres import TestServer, open_directory
from support.system import dev

COUNTS = (1, 1_000, 10_000)
MARKS = {1_000: 0.1, 10_000: 0.75}
BATCH = 500
LATE = """
SELECT extract(epoch FROM started_at - scheduled_at)::float8 FROM run_history
WHERE scheduled_at = $1 AND state = 'succeeded'
"""


async def figures(server: TestServer) -> list[Figure]:
    """Each count, dts beside APScheduler 3 with its jobs in memory."""
    rows: list[Figure] = []
    for count in COUNTS:
        dsn = await server.create()
        ours = await _ours(dsn, count)
        theirs = await _theirs(count)
        await server.drop(dsn)
        rows += [_figure(name, count, *pair) for name, *pair in zip(("p50", "p99", "max"), ours, theirs, strict=True)]
    return rows


def _figure(name: str, count: int, ours: float, theirs: float) -> Figure:
    mark = MARKS.get(count) if name == "p99" else None
    peer = Figure("APScheduler 3, memory", theirs * 1000, "ms")
    return compared(
        f"lateness {name}, {count:,} tasks in one instant",
        ours * 1000,
        "ms",
        peer,
        mark=f"≤ {mark * 1000:g} ms" if mark else "",
        meets=(lambda value, _: value <= mark * 1000) if mark else None,
    )


async def _ours(dsn: str, count: int) -> tuple[float, float, float]:
    connection = await asyncpg.connect(dsn)
    with open_directory() as data:
        async with dev(data, environment={"DTS_DSN": dsn, "DTS_LOG_LEVEL": "WARNING"}) as system:
            instant = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=15 + count / 500)
            async with system.calls() as calls:
                for begin in range(0, count, BATCH):
                    numbers = range(begin, min(begin + BATCH, count))
                    await calls.tasks.apply_tasks(ApplyTasksRequest(specs=[_spec(n, instant) for n in numbers]))
            while len(late := [row[0] for row in await connection.fetch(LATE, instant)]) < count:
                await asyncio.sleep(0.1)
    await connection.close()
    return percentiles(late)


def _spec(number: int, instant: datetime) -> TaskSpec:
    schedule = Schedule(rules=[Rule(at=OneShot(time=instant.isoformat()))])
    return TaskSpec(name=f"late-{number}", schedule=schedule, kind=Kind(noop=NoopKind()))


async def _theirs(count: int) -> tuple[float, float, float]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.peer_apscheduler", str(count), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    median, high, largest = (float(text) for text in out.split())
    return median, high, largest
