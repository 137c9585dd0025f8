"""Rounds of dts against rounds of what it is compared with, in turn: a machine that slows down slows both."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg

from bench.samples import cpu_seconds
from dts.pb.dts.v1 import (
    ApplyTasksRequest,
    BackfillTaskRequest,
    Interval,
    Kind,
    Overlap,
    Policies,
    Rule,
    Schedule,
    TaskSpec,
)
from support.postgres import TestServer, open_directory
from support.system import Calls, dev

TASK = "bench"
DAY = timedelta(days=1)
DONE = "SELECT count(*) FROM run_history WHERE state = 'succeeded' AND trigger = 'backfill'"
LIVE = "SELECT count(*) FROM run"
POLL_SECONDS = 0.05

Round = Callable[[int], Awaitable[float]]


@dataclass(frozen=True, slots=True)
class Medians:
    """Runs a second of both, and what one run costs all of dts in its own processor time, in seconds."""

    dts: float
    bare: float
    cpu: float


async def interleaved(dts: Backlog, bare: Round, *, rounds: int, size: int) -> Medians:
    """The medians of rounds in turn, each time the other way round, after one of each that does not count."""
    await dts.round(size)
    await bare(size)
    ours: list[float] = []
    theirs: list[float] = []
    begun = cpu_seconds(dts.pid)
    for number in range(rounds):
        pair = [(ours, dts.round), (theirs, bare)]
        for taken, measure in pair if number % 2 else reversed(pair):
            taken.append(await measure(size))
    cpu = (cpu_seconds(dts.pid) - begun) / (rounds * size)
    return Medians(statistics.median(ours), statistics.median(theirs), cpu)


@dataclass(slots=True)
class Backlog:
    """A running dts with one task, whose past ticks are asked for by the round."""

    calls: Calls
    connection: asyncpg.Connection
    pid: int
    done: int = 0

    async def round(self, size: int) -> float:
        """Asks for so many runs at once; runs a second until the last is stored."""
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        request = BackfillTaskRequest(task=TASK, since=today - size * DAY, until=today, overlap=Overlap.ALLOW)
        begun = time.perf_counter()
        answer = await self.calls.scheduler.backfill_task(request)
        self.done += answer.ticks
        while await self.connection.fetchval(DONE) < self.done:
            await self._check()
            await asyncio.sleep(POLL_SECONDS)
        return answer.ticks / (time.perf_counter() - begun)

    async def _check(self) -> None:
        """A run that failed would be waited for in vain."""
        if not await self.connection.fetchval(LIVE) and await self.connection.fetchval(DONE) < self.done:
            raise RuntimeError("a run of the benchmark did not succeed")


@asynccontextmanager
async def backlog(server: TestServer, kind: Kind, environment: Mapping[str, str]) -> AsyncIterator[Backlog]:
    """All of dts in one process, with the task."""
    dsn = await server.create()
    connection = await asyncpg.connect(dsn)
    with open_directory() as data:
        settings = {"DTS_DSN": dsn, "DTS_LOG_LEVEL": "WARNING", **environment}
        async with dev(data, environment=settings) as system, system.calls() as calls:
            schedule = Schedule(rules=[Rule(every=Interval(period=DAY))])
            policies = Policies(overlap=Overlap.ALLOW, max_parallel=1000)
            spec = TaskSpec(name=TASK, schedule=schedule, kind=kind, policies=policies)
            await calls.tasks.apply_tasks(ApplyTasksRequest(specs=[spec]))
            yield Backlog(calls, connection, system.programs["dev"].process.pid)
    await connection.close()
    await server.drop(dsn)
