"""What the pages of the dashboard cost at their servers, with ten thousand tasks and a million runs behind them."""

from __future__ import annotations

import asyncio
import re
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import aiohttp

from bench.figures import Figure
from dts.domain.ids import uuid7
from dts.pb.dts.v1 import Cron, Kind, MaintainRequest, NoopKind, Rule, Schedule, TaskAction, TaskChange, TaskSpec
from dts.store.pool import open_pool
from support.ledger import Ledger
from support.polling import eventually
from support.postgres import TestServer, open_directory
from support.system import TOKEN, System, dev

TASKS = 10_000
BATCH = 50
EACH_HOUR = 500
"""So many of them run each hour, the others each day."""

RUNS = 1_000_000
DAYS = 30
ROUNDS = 40
WARM = 3
AT_MOST_MS = 150
AT_MOST_KIB = 100

FILL = """
INSERT INTO run_history (
    id, task_id, task_version, trigger, scheduled_at, created_at, not_before, state, reason, attempt, node_id,
    assigned_at, started_at, finished_at, exit_code
)
SELECT gen_random_uuid(), task.id, 1, 'schedule', at, at, at,
    CASE WHEN n % 50 = 0 THEN 'failed' ELSE 'succeeded' END::run_state,
    CASE WHEN n % 50 = 0 THEN 'exit_code' ELSE 'ok' END, 1, 'n' || n % 8, at, at + interval '5 ms',
    at + interval '1 ms' * (100 + n % 9000), CASE WHEN n % 50 = 0 THEN 1 ELSE 0 END
FROM (SELECT n, now() - n * $2::interval AS at FROM generate_series(1, $1) n) AS ticks
JOIN (SELECT id, row_number() OVER (ORDER BY name) - 1 AS number FROM task) AS task ON task.number = n % $3
"""

PAGES = {
    "now": "/",
    "tasks": "/tasks",
    "tasks, searched": "/tasks?q=42",
    "task": "/tasks/task-00042",
    "runs": "/runs",
    "runs that failed": "/runs?state=failed,timed_out,skipped&since=24h",
    "run": "/runs/{run}",
    "schedule, day": "/schedule",
    "schedule, week": "/schedule?span=week",
    "nodes": "/nodes",
    "edit": "/tasks/task-00042/edit",
}


async def figures(server: TestServer) -> list[Figure]:
    """The 95th of a hundred answers of each page, and the size of the first."""
    dsn = await server.create()
    await _fill(dsn)
    with open_directory() as data:
        environment = {"DTS_DSN": dsn, "DTS_LOG_LEVEL": "WARNING"}
        async with dev(data, environment=environment) as system, _signed_in(system) as http:
            await eventually(lambda: _is_counted(http), within=600)
            rows = [await _page(http, name, path) for name, path in PAGES.items()]
            rows.append(await _weight(http))
    await server.drop(dsn)
    return rows


def _spec(number: int) -> TaskSpec:
    cron = Cron(expression="H * * * *" if number < EACH_HOUR else "H H * * *")
    schedule = Schedule(rules=[Rule(cron=cron)], timezone="Europe/Zurich")
    kind = Kind(noop=NoopKind())
    return TaskSpec(name=f"task-{number:05}", description="one of many", schedule=schedule, kind=kind)


def _new(number: int) -> TaskChange:
    task_id = str(uuid7(datetime.now(UTC), number))
    return TaskChange(action=TaskAction.CREATE, task_id=task_id, spec=_spec(number))


async def _fill(dsn: str) -> None:
    pool = await open_pool(dsn, size=2)
    ledger = Ledger.on(pool)
    for begin in range(0, TASKS, BATCH):
        await ledger.change(*(_new(number) for number in range(begin, begin + BATCH)))
    for day in range(DAYS + 1):
        past = datetime.now(UTC) - timedelta(days=day)
        await ledger.store.upkeep.maintain(MaintainRequest(keep=timedelta(days=2 * DAYS), now=past))
    async with pool.acquire() as connection:
        await connection.execute("SET statement_timeout = 0")
        await connection.execute(FILL, RUNS, timedelta(days=DAYS) / RUNS, TASKS, timeout=900)
        await connection.execute("VACUUM ANALYZE", timeout=900)
    await pool.close()


@asynccontextmanager
async def _signed_in(system: System) -> AsyncIterator[aiohttp.ClientSession]:
    jar = aiohttp.CookieJar(unsafe=True)  # of an address without a name
    async with aiohttp.ClientSession(f"http://{system.http}", cookie_jar=jar, auto_decompress=False) as http:
        async with http.post("/sign-in", data={"token": TOKEN}, headers={"Sec-Fetch-Site": "same-origin"}) as answer:
            assert answer.status == 200, await answer.text()
        yield http


async def _is_counted(http: aiohttp.ClientSession) -> bool:
    """Whether the coming ticks are: until then pages say that they are being counted."""
    counted = []
    for path in ("/schedule", "/schedule?span=week"):
        async with http.get(path, headers={"Accept-Encoding": "identity"}) as answer:
            counted.append("tasks so far" not in await answer.text())
    await asyncio.sleep(1)
    return all(counted)


async def _page(http: aiohttp.ClientSession, name: str, path: str) -> Figure:
    if "{run}" in path:
        async with http.get("/runs", headers={"Accept-Encoding": "identity"}) as answer:
            found = re.search(r'/runs/([0-9a-f-]{36})"', await answer.text())
        assert found is not None
        path = path.format(run=found[1])
    took = []
    for number in range(WARM + ROUNDS):
        async with http.get(path) as answer:
            assert answer.status == 200, path
            await answer.read()
            if number >= WARM:
                took.append(float(answer.headers["Server-Timing"].partition("dur=")[2]))
    p95 = statistics.quantiles(took, n=20)[-1]
    mark = f"≤ {AT_MOST_MS} ms"
    return Figure(f"page {name}, p95 at the server", p95, "ms", mark=mark, met=p95 <= AT_MOST_MS)


async def _weight(http: aiohttp.ClientSession) -> Figure:
    """What the first page brings over the wire, without what a browser keeps."""
    async with http.get("/", headers={"Accept-Encoding": "gzip"}) as answer:
        kib = len(await answer.read()) / 1024
    return Figure("first page over the wire", kib, "KiB", mark=f"≤ {AT_MOST_KIB} KiB", met=kib <= AT_MOST_KIB)
