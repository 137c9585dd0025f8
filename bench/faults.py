"""What faults cost: a backlog after an outage (F2), and a snapshot that somebody forgot (F28)."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import asyncpg

from bench.backlog import backlog
from bench.figures import Figure
from bench.samples import percentiles
from dts.pb.dts.v1 import (
    ApplyTasksRequest,
    Catchup,
    Interval,
    Kind,
    NoopKind,
    Overlap,
    Policies,
    Rule,
    Schedule,
    TaskSpec,
)
from support.postgres import TestServer, open_directory
from support.system import dev

TASKS = 100
MISSED = 600
MINUTE = timedelta(minutes=1)
REWIND = "UPDATE task_cursor SET upto = $1, next_due_at = now(), visit_at = now()"
CAUGHT_UP = """
SELECT extract(epoch FROM started_at - $2)::float8 FROM run_history WHERE state = 'succeeded' AND scheduled_at <= $1
"""
SNAPSHOT_SECONDS = 60.0
ROUND = 2000


async def figures(server: TestServer) -> list[Figure]:
    """Both."""
    first, last = await _caught_up(server)
    rate, slowest = await _with_a_snapshot(server)
    return [
        _figure("first start after an outage, 60,000 missed", first, "s", "≤ 3 s", met=first <= 3),
        _figure("all 60,000 missed ticks caught up", last, "s", "≤ 60 s", met=last <= 60),
        _figure("runs a second, snapshot open for 60 s", rate, "runs/s", "≥ 500 runs/s", met=rate >= 500),
        _figure("the slowest round of 2,000 of them", slowest, "runs/s", "≥ 500 runs/s", met=slowest >= 500),
    ]


def _figure(name: str, value: float, unit: str, mark: str, *, met: bool) -> Figure:
    return Figure(name, value, unit, mark=mark, met=met)


async def _caught_up(server: TestServer) -> tuple[float, float]:
    """Seconds to the first and to the last start, from when every cursor is ten hours behind."""
    dsn = await server.create()
    connection = await asyncpg.connect(dsn)
    with open_directory() as data:
        async with (
            dev(data, environment={"DTS_DSN": dsn, "DTS_LOG_LEVEL": "WARNING"}) as system,
            system.calls() as calls,
        ):
            await calls.tasks.apply_tasks(ApplyTasksRequest(specs=[_minutely(number) for number in range(TASKS)]))
            now = await connection.fetchval("SELECT now()")
            await connection.execute(REWIND, now - MISSED * MINUTE)
            while len(late := [row[0] for row in await connection.fetch(CAUGHT_UP, now, now)]) < TASKS * (MISSED - 1):
                await asyncio.sleep(0.2)
    await connection.close()
    await server.drop(dsn)
    _, _, last = percentiles(late)
    return min(late), last


def _minutely(number: int) -> TaskSpec:
    schedule = Schedule(rules=[Rule(every=Interval(period=MINUTE))])
    window = timedelta(hours=24)
    policies = Policies(catchup=Catchup.ALL, catchup_window=window, catchup_max=1000, overlap=Overlap.ALLOW)
    return TaskSpec(name=f"minutely-{number}", schedule=schedule, kind=Kind(noop=NoopKind()), policies=policies)


async def _with_a_snapshot(server: TestServer) -> tuple[float, float]:
    """Runs a second over a minute in which nothing that dies can be cleared away, and in its slowest round."""
    async with backlog(server, Kind(noop=NoopKind()), {}) as dts:
        stranger = await asyncpg.connect(server.admin_dsn(await dts.connection.fetchval("SELECT current_database()")))
        await stranger.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await stranger.execute("SELECT count(*) FROM run")
        begun = time.perf_counter()
        rates: list[float] = []
        while time.perf_counter() - begun < SNAPSHOT_SECONDS:
            rates.append(await dts.round(ROUND))
        seconds = time.perf_counter() - begun
        await stranger.close()
    return len(rates) * ROUND / seconds, min(rates)
