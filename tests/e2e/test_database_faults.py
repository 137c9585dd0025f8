"""PostgreSQL killed and frozen under load: every instant has one row, nothing runs twice, and firing goes on soon."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from dts.pb.dts.v1 import (
    CreateTaskRequest,
    Interval,
    Kind,
    NoopKind,
    Overlap,
    Policies,
    ProcessKind,
    Rule,
    Schedule,
    TaskSpec,
)
from support.own_postgres import OwnPostgres, own_postgres
from support.polling import eventually
from support.postgres import open_directory
from support.system import System, five

SECOND = timedelta(seconds=1)
SOON = 5 * SECOND
PATIENCE = 10 * SECOND
"""For a busy machine, beside what is promised."""

ROWS = """
SELECT t.name, h.state::text, h.reason, h.scheduled_at AS first, coalesce(h.last_scheduled_at, h.scheduled_at) AS last,
    h.ticks, h.started_at
FROM run_history h JOIN task t ON t.id = h.task_id
WHERE h.scheduled_at <= $1
ORDER BY t.name, first
"""
OPEN = """
SELECT t.name, r.state::text, r.scheduled_at, r.attempt, r.node_id
FROM run r JOIN task t ON t.id = r.task_id WHERE r.scheduled_at <= $1
"""


@pytest.fixture
async def data() -> AsyncIterator[Path]:
    with open_directory() as directory:
        yield directory


@pytest.fixture
def folder(data: Path) -> Path:
    """Where the witnesses write."""
    path = data / "witness"
    path.mkdir()
    path.chmod(0o777)
    return path


@pytest.fixture
async def server(data: Path) -> AsyncIterator[OwnPostgres]:
    async with own_postgres(data) as running:
        yield running


@pytest.fixture
async def system(data: Path, server: OwnPostgres) -> AsyncIterator[System]:
    async with five(data, environment={"DTS_DSN": server.dsn}) as running:
        yield running


async def define(system: System, folder: Path) -> None:
    """Fifteen no-ops and three that write down each instant that they really ran for, every second."""
    witness = ["sh", "-c", f'echo "$DTS_SCHEDULED_AT" >> {folder}/$DTS_TASK']
    kinds = {f"noop-{n}": Kind(noop=NoopKind()) for n in range(15)}
    kinds |= {f"witness-{n}": Kind(process=ProcessKind(command=witness)) for n in range(3)}
    schedule = Schedule(rules=[Rule(every=Interval(period=SECOND))])
    # Half of them hold a place: one that is never given back would stop them for ever.
    policies = itertools.cycle([Policies(overlap=Overlap.ALLOW), Policies(overlap=Overlap.QUEUE_ONE)])
    async with system.calls() as calls:
        for name, kind in kinds.items():
            spec = TaskSpec(name=name, schedule=schedule, kind=kind, policies=next(policies))
            await calls.tasks.create_task(CreateTaskRequest(spec=spec))


async def asked(server: OwnPostgres, statement: str, *arguments: object) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(server.dsn)
    try:
        return await connection.fetch(statement, *arguments)
    finally:
        await connection.close()


async def clock(server: OwnPostgres) -> datetime:
    return (await asked(server, "SELECT now() AS now"))[0]["now"]


def written(folder: Path, name: str) -> list[str]:
    path = folder / name
    return path.read_text().split() if path.exists() else []


async def all_run_again(server: OwnPostgres, since: datetime) -> bool:
    """Whether each task has had an instant after `since`."""
    statement = """SELECT name FROM task WHERE NOT EXISTS (
        SELECT FROM run_history h WHERE h.task_id = task.id AND h.state = 'succeeded' AND h.scheduled_at > $1)"""
    missing = await asked(server, statement, since)
    assert not missing, [row["name"] for row in missing]
    return True


async def first_starts(server: OwnPostgres, since: datetime) -> dict[str, datetime]:
    """When each task first started again."""
    statement = """SELECT t.name, min(h.started_at) AS at FROM run_history h JOIN task t ON t.id = h.task_id
        WHERE h.started_at > $1 GROUP BY t.name"""
    return {row["name"]: row["at"] for row in await asked(server, statement, since)}


async def nothing_is_open(server: OwnPostgres, until: datetime) -> bool:
    rows = await asked(server, OPEN, until)
    assert not rows, [tuple(row.values()) for row in rows[:10]]
    return True


async def check(server: OwnPostgres, folder: Path, until: datetime) -> None:
    """No instant is missing or twice, and what really ran is what the ledger says."""
    rows = await asked(server, ROWS, until)
    for name, found in itertools.groupby(rows, key=lambda row: row["name"]):
        mine = list(found)
        for one, other in itertools.pairwise(mine):
            assert other["first"] - one["last"] == SECOND, (name, dict(one), dict(other))
            assert one["last"] - one["first"] == (one["ticks"] - 1) * SECOND
        if name.startswith("witness"):
            ran = written(folder, name)
            assert len(set(ran)) == len(ran), name
            stamps = {text[:19] for text in ran}
            succeeded = {f"{row['first']:%Y-%m-%dT%H:%M:%S}" for row in mine if row["state"] == "succeeded"}
            others = {f"{row['first']:%Y-%m-%dT%H:%M:%S}" for row in mine if row["state"] == "skipped"}
            assert succeeded <= stamps, (name, sorted(succeeded - stamps))
            assert not others & stamps, (name, sorted(others & stamps))
            assert {row["state"] for row in mine} <= {"succeeded", "skipped"}, name


@pytest.mark.parametrize("away", [0, 8])
async def test_a_kill_of_the_database_under_load_loses_no_instant_and_firing_goes_on_soon(
    server: OwnPostgres, system: System, folder: Path, away: int
):
    await define(system, folder)
    await eventually(lambda: len(written(folder, "witness-2")) > 2, within=30)
    for _ in range(2 if away == 0 else 1):
        await server.kill()
        until = datetime.now(UTC) + timedelta(seconds=away)
        await eventually(lambda moment=until: datetime.now(UTC) >= moment, within=20)
        await server.restart()
        back = await clock(server)
        await eventually(lambda since=back: all_run_again(server, since), within=30)
        late = {name: at - back for name, at in (await first_starts(server, back)).items() if at - back > SOON}
        assert max(late.values(), default=SOON) <= PATIENCE, late
    end = await clock(server)
    await eventually(lambda: nothing_is_open(server, end), within=20)
    await check(server, folder, end)


async def test_a_database_that_freezes_for_longer_than_a_lease_loses_no_instant(
    server: OwnPostgres, system: System, folder: Path
):
    await define(system, folder)
    await eventually(lambda: len(written(folder, "witness-2")) > 2, within=30)
    begun = await clock(server)
    with server.frozen():
        await eventually(lambda: datetime.now(begun.tzinfo) - begun > timedelta(seconds=10), within=20)
    back = await clock(server)
    await eventually(lambda: all_run_again(server, back), within=30)
    late = {name: at - back for name, at in (await first_starts(server, back)).items() if at - back > SOON}
    assert max(late.values(), default=SOON) <= PATIENCE, late
    end = await clock(server)
    await eventually(lambda: nothing_is_open(server, end), within=20)
    await check(server, folder, end)
