"""All of dts behind a PgBouncer in transaction mode: polling alone, and every instant once."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from dts.pb.dts.v1 import CreateTaskRequest, Interval, Kind, ProcessKind, Rule, Schedule, TaskSpec
from support.polling import eventually
from support.pooler import pgbouncer
from support.postgres import open_directory
from support.system import System, five

SECOND = timedelta(seconds=1)
TASKS = [f"pulse-{n}" for n in range(8)]
ROWS = """
SELECT t.name, h.state::text, h.scheduled_at FROM run_history h JOIN task t ON t.id = h.task_id
WHERE NOT EXISTS (SELECT FROM run r WHERE r.scheduled_at <= h.scheduled_at AND r.state <> 'pending')
ORDER BY t.name, h.scheduled_at
"""


@pytest.fixture
async def system(database_dsn: str) -> AsyncIterator[System]:
    # Fewer sessions than a database role has connections.
    with open_directory() as data, pgbouncer(database_dsn, sessions=3) as dsn:
        environment = {"DTS_DSN": dsn, "DTS_DSN_POOLING": "transaction"}
        async with five(data, environment=environment) as running:
            yield running


async def test_every_instant_runs_once_behind_a_pooler_that_lends_sessions(system: System, database_dsn: str):
    with open_directory() as folder:
        folder.chmod(0o777)
        command = ["sh", "-c", f'echo "$DTS_SCHEDULED_AT" >> {folder}/$DTS_TASK']
        schedule = Schedule(rules=[Rule(every=Interval(period=SECOND))])
        async with system.calls() as calls:
            for name in TASKS:
                spec = TaskSpec(name=name, schedule=schedule, kind=Kind(process=ProcessKind(command=command)))
                await calls.tasks.create_task(CreateTaskRequest(spec=spec))
        await eventually(lambda: all(len(written(folder, name)) >= 4 for name in TASKS), within=20)
        ran = {name: written(folder, name) for name in TASKS}
        assert all(len(set(instants)) == len(instants) for instants in ran.values()), ran
        await eventually(lambda: are_the_same(database_dsn, ran))


async def are_the_same(dsn: str, ran: dict[str, list[str]]) -> bool:
    """Whether what ran is what the ledger says, without an instant between that has no row."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(ROWS)
    finally:
        await connection.close()
    for name, found in itertools.groupby(rows, key=lambda row: row["name"]):
        mine = list(found)
        gaps = [other["scheduled_at"] - one["scheduled_at"] for one, other in itertools.pairwise(mine)]
        assert set(gaps) <= {SECOND}, (name, gaps)
        assert {row["state"] for row in mine} <= {"succeeded", "skipped"}, name
        assert set(ran[name][:3]) <= {f"{row['scheduled_at']:%Y-%m-%dT%H:%M:%SZ}" for row in mine}, name
    return {row["name"] for row in rows} == set(TASKS)


def written(folder: Path, name: str) -> list[str]:
    path = folder / name
    return path.read_text().split() if path.exists() else []
