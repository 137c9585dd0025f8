"""Runs a second through the whole pipeline: from cursors that are behind to stored results of no-ops."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta

import asyncpg

from bench.figures import Figure, compared
from bench.raw import lifecycles_per_second
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
from support.system import System, dev, five

TASKS = 400
TICKS = 100
RUNS = TASKS * TICKS
ENDS_IN = timedelta(seconds=4)
PEER_SECONDS = 120

REWIND = """
UPDATE task_cursor
SET upto = $1::timestamptz - make_interval(secs => $2), next_due_at = now(), visit_at = now()
"""
DONE = "SELECT count(*) FROM run_history WHERE state = 'succeeded' AND scheduled_at BETWEEN $1 AND $2"

STANDSTILL_SECONDS = 30
EVERY_STATE = """
SELECT state, reason, message, count(*) AS runs, min(scheduled_at) AS first
FROM (
    SELECT state::text, reason, message, scheduled_at FROM run
    UNION ALL
    SELECT state::text, reason, message, scheduled_at FROM run_history
) AS every
GROUP BY state, reason, message
"""
CURSORS = "SELECT min(upto) AS least, max(upto) AS most, min(visit_at) AS visited, count(*) FROM task_cursor"

Start = Callable[..., AbstractAsyncContextManager[System]]


async def figures(server: TestServer) -> list[Figure]:
    """The limit, the peer, and dts in one process and in five."""
    raw = Figure(
        "raw batched lifecycle", await _on_fresh(server, lambda dsn: lifecycles_per_second(dsn, RUNS)), "rows/s"
    )
    peer = Figure("PgQueuer, batch 500, uvloop", await _on_fresh(server, _pgqueuer), "jobs/s")
    one = await _on_fresh(server, lambda dsn: runs_per_second(dsn, dev))
    many = await _on_fresh(server, lambda dsn: runs_per_second(dsn, five))
    return [
        raw,
        peer,
        compared("pipeline, one process", one, "runs/s", raw),
        compared(
            "pipeline, one process",
            one,
            "runs/s",
            peer,
            mark="≥ 5,000 runs/s, ≥ 0.3 × PgQueuer",
            meets=lambda value, ratio: value >= 5000 and ratio >= 0.3,
        ),
        compared("pipeline, five processes over gRPC", many, "runs/s", raw),
        compared(
            "pipeline, five processes over gRPC",
            many,
            "runs/s",
            peer,
            mark="≥ 2,000 runs/s",
            meets=lambda value, _: value >= 2000,
        ),
    ]


async def runs_per_second(dsn: str, start: Start) -> float:
    """Starts dts, lets its ledger fall behind by `RUNS` ticks, and times until all of them are stored."""
    connection = await asyncpg.connect(dsn)
    with open_directory() as data:
        async with start(data, environment={"DTS_DSN": dsn, "DTS_LOG_LEVEL": "WARNING"}) as system:
            end = datetime.now(UTC).replace(microsecond=0) + ENDS_IN
            async with system.calls() as calls:
                await calls.tasks.apply_tasks(ApplyTasksRequest(specs=[_spec(n, end) for n in range(TASKS)]))
            # The ticks until the end run as ever; then nothing is due any more.
            await asyncio.sleep((end - datetime.now(UTC)).total_seconds() + 2)
            first = end - timedelta(seconds=TICKS + 60)
            until = first + timedelta(seconds=TICKS)
            begun = time.perf_counter()
            await connection.execute(REWIND, until, TICKS)
            await _all_done(connection, first, until)
            seconds = time.perf_counter() - begun
    await connection.close()
    return RUNS / seconds


async def _all_done(connection: asyncpg.Connection, first: datetime, until: datetime) -> None:
    """Waits for the runs; a pipeline that stands still is a finding, and is told with what is in the ledger."""
    done, moved_at = 0, time.perf_counter()
    while (now_done := await connection.fetchval(DONE, first, until)) < RUNS:
        if now_done > done:
            done, moved_at = now_done, time.perf_counter()
        elif time.perf_counter() - moved_at > STANDSTILL_SECONDS:
            states = [dict(row) for row in await connection.fetch(EVERY_STATE)]
            cursors = [dict(row) for row in await connection.fetch(CURSORS)]
            raise RuntimeError(f"{done:,} of {RUNS:,} runs are done, and no more: {states}, cursors {cursors}")
        await asyncio.sleep(0.05)


def _spec(number: int, end: datetime) -> TaskSpec:
    schedule = Schedule(rules=[Rule(every=Interval(period=timedelta(seconds=1)))], ends_at=end)
    policies = Policies(catchup=Catchup.ALL, catchup_window=timedelta(hours=1), catchup_max=1000, overlap=Overlap.ALLOW)
    return TaskSpec(name=f"bench-{number}", schedule=schedule, kind=Kind(noop=NoopKind()), policies=policies)


async def _pgqueuer(dsn: str) -> float:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.peer_pgqueuer", dsn, str(RUNS), stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(PEER_SECONDS):
            out, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        raise RuntimeError(f"PgQueuer has not drained its jobs in {PEER_SECONDS} s") from None
    return float(out)


async def _on_fresh(server: TestServer, measure: Callable[[str], object]) -> float:
    dsn = await server.create()
    try:
        return await measure(dsn)  # type: ignore[misc, no-any-return]  # each is a coroutine of a float
    finally:
        await server.drop(dsn)
