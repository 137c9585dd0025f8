"""What dts costs while nothing is due."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import asyncpg

from bench.figures import Figure, compared
from bench.samples import cpu_seconds, resident_bytes
from dts.pb.dts.v1 import ApplyTasksRequest, Interval, Kind, NoopKind, Rule, Schedule, TaskSpec
from support.postgres import TestServer, open_directory
from support.system import System, dev

COUNTS = (0, 10_000, 100_000)
SECONDS = 20.0
MOST_CPU = 2.0

COPY = """
WITH pattern AS (SELECT * FROM task WHERE name = 'pattern'), made AS (
    INSERT INTO task (id, name, version, spec, labels, created_at, updated_at)
    SELECT gen_random_uuid(), 'rest-' || n, version, spec, labels, created_at, updated_at
    FROM pattern, generate_series(1, $1) n RETURNING id, version, spec
), versions AS (
    INSERT INTO task_version (task_id, version, spec, change, actor, note, created_at)
    SELECT id, version, spec, 'create', 'bench', '', now() FROM made
)
INSERT INTO task_cursor (task_id, version, upto, next_due_at, visit_at)
SELECT id, version, now(), now() + interval '1 day', now() + interval '1 day' FROM made
"""


async def figures(server: TestServer) -> list[Figure]:
    """Processor and memory of the whole process with more and more tasks, against none."""
    measured = [await _cost(server, count) for count in COUNTS]
    (idle_cpu, idle_memory), *_ = measured
    rows: list[Figure] = []
    for count, (cpu, memory) in zip(COUNTS, measured, strict=True):
        nothing = Figure("with no task", idle_cpu, "%")
        rows.append(
            compared(
                f"CPU at rest, {count:,} tasks not due",
                cpu,
                "% of a core",
                nothing,
                mark=f"≤ {MOST_CPU:g} %, flat" if count == max(COUNTS) else "",
                meets=(lambda value, _: value <= MOST_CPU) if count == max(COUNTS) else None,
            )
        )
        rows.append(
            compared(
                f"memory at rest, {count:,} tasks not due", memory, "MiB", Figure("with no task", idle_memory, "MiB")
            )
        )
    return rows


async def _cost(server: TestServer, count: int) -> tuple[float, float]:
    dsn = await server.create()
    with open_directory() as data:
        async with dev(data, environment={"DTS_DSN": dsn, "DTS_LOG_LEVEL": "WARNING"}) as system:
            await _fill(system, dsn, count)
            pid = system.programs["dev"].process.pid
            await asyncio.sleep(5)
            begun = cpu_seconds(pid)
            await asyncio.sleep(SECONDS)
            cost = (cpu_seconds(pid) - begun) / SECONDS * 100, resident_bytes(pid) / 2**20
    await server.drop(dsn)
    return cost


async def _fill(system: System, dsn: str, count: int) -> None:
    """One task as people make it, and copies of it."""
    schedule = Schedule(rules=[Rule(every=Interval(period=timedelta(days=30)))])
    pattern = TaskSpec(name="pattern", schedule=schedule, kind=Kind(noop=NoopKind()))
    async with system.calls() as calls:
        await calls.tasks.apply_tasks(ApplyTasksRequest(specs=[pattern]))
    connection = await asyncpg.connect(dsn)
    await connection.execute(COPY, count)
    await connection.execute("ANALYZE")
    await connection.close()
