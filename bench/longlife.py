"""What age costs: a million finished runs in history."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID

import asyncpg

from bench.figures import Figure, compared
from dts.pb.dts.v1 import ListRunsRequest, MaintainRequest
from dts.store.pool import open_pool
from support.ledger import NOOP, Ledger, every
from support.postgres import TestServer

FINISHED = 1_000_000
DAYS = 7
ROUNDS = 60
WARM = 10

FILL = """
INSERT INTO run_history (
    id, task_id, task_version, trigger, scheduled_at, created_at, not_before, state, reason, attempt, node_id,
    assigned_at, started_at, finished_at, exit_code
)
SELECT gen_random_uuid(), $1, 1, 'schedule', at, at, at, 'succeeded', 'ok', 1, 'alpha', at, at, at, 0
FROM (SELECT now() - n * $3::interval AS at FROM generate_series(1, $2) n) AS ticks
"""


async def figures(server: TestServer) -> list[Figure]:
    """Claims and lists with history and without."""
    dsn = await server.create()
    pool = await open_pool(dsn, size=4)
    ledger = Ledger.on(pool)
    await ledger.node()
    task = await ledger.task("pulse", every(1), kind=NOOP)
    young = await _median(lambda: _lifecycle(ledger, task))
    await ledger.store.upkeep.maintain(MaintainRequest())
    other = await ledger.task("old", kind=NOOP)
    period = timedelta(days=DAYS) / FINISHED
    await _fill(dsn, UUID(other), period)
    old = await _median(lambda: _lifecycle(ledger, task))
    everything = await _median(lambda: _list(ledger, ListRunsRequest(page_size=100)))
    one = await _median(lambda: _list(ledger, ListRunsRequest(task=other, page_size=100)))
    await pool.close()
    await server.drop(dsn)
    nothing = Figure("with an empty history", young, "ms")
    return [
        compared(
            f"claim and finish one run, {FINISHED:,} finished",
            old,
            "ms",
            nothing,
            mark="≤ 1.1 ×",
            meets=lambda _, ratio: ratio <= 1.1,
        ),
        Figure("run list at the server, all tasks", everything, "ms", mark="≤ 50 ms", met=everything <= 50),
        Figure("run list at the server, one task", one, "ms", mark="≤ 50 ms", met=one <= 50),
    ]


async def _fill(dsn: str, task: UUID, period: timedelta) -> None:
    """On a connection of its own: those of the pool give a statement half a minute."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(FILL, task, FINISHED, period)
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()


async def _lifecycle(ledger: Ledger, task: str) -> None:
    """One run: asked for, claimed, finished."""
    await ledger.trigger(task)
    await ledger.report(await ledger.claim())


async def _list(ledger: Ledger, request: ListRunsRequest) -> None:
    await ledger.store.runs.page(request)


async def _median(measure: Callable[[], Awaitable[None]]) -> float:
    """Milliseconds."""
    taken: list[float] = []
    for number in range(WARM + ROUNDS):
        begun = time.perf_counter()
        await measure()
        if number >= WARM:
            taken.append((time.perf_counter() - begun) * 1000)
    return statistics.median(taken)
