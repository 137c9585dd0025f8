"""Backup, loss, restore: what ran after the backup does not run again, and the ledger says that it does not know."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import asyncpg

from dts.pb.dts.v1 import (
    CreateTaskRequest,
    Interval,
    Kind,
    Overlap,
    Policies,
    ProcessKind,
    Rule,
    Schedule,
    TaskSpec,
)
from dts.store.embedded_home import find_binaries
from support.polling import eventually
from support.postgres import TestServer, configured_binaries, open_directory
from support.system import TOKEN, dev, run_dts

SECOND = timedelta(seconds=1)


def restore(dump: Path, dsn: str) -> None:
    """As docs/operations.md says."""
    psql = find_binaries(configured_binaries()) / "psql"
    command = [str(psql), "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction", f"--file={dump}", dsn]
    subprocess.run(command, check=True, capture_output=True, env=dict(os.environ))


def witness(folder: Path) -> TaskSpec:
    """Writes down each instant that it really ran for."""
    command = ["sh", "-c", f'echo "$DTS_SCHEDULED_AT" >> {folder}/ran']
    return TaskSpec(
        name="witness",
        schedule=Schedule(rules=[Rule(every=Interval(period=SECOND))]),
        kind=Kind(process=ProcessKind(command=command)),
        policies=Policies(overlap=Overlap.ALLOW),
    )


def ran(folder: Path) -> list[str]:
    path = folder / "ran"
    return path.read_text().split() if path.exists() else []


async def test_what_ran_after_the_backup_does_not_run_again(postgres: TestServer):
    dsn, again = await postgres.create(), await postgres.create(migrated=False)
    with open_directory() as data:
        before, after = data / "before", data / "after"
        for home in (before, after):
            home.mkdir()
        environment = {"DTS_TOKEN": TOKEN, "DTS_DSN": dsn}
        async with dev(before, environment=environment) as system:
            async with system.calls() as calls:
                await calls.tasks.create_task(CreateTaskRequest(spec=witness(data)))
            await eventually(lambda: len(ran(data)) > 2, within=30)
            assert (await system.dts("db", "dump", "--output", str(data / "backup.sql"))).code == 0
            at_backup = len(ran(data))
            await eventually(lambda: len(ran(data)) > at_backup + 3, within=30)
        lost = ran(data)
        await postgres.drop(dsn)
        restore(data / "backup.sql", again)
        environment["DTS_DSN"] = again
        settled = await run_dts("db", "restored", environment={**environment, "DTS_DATA": str(after)})
        assert settled.code == 0, settled
        assert "ticks since the backup" in settled.out
        async with dev(after, environment=environment):
            await eventually(lambda: len(ran(data)) > len(lost) + 2, within=30)
            refused = await run_dts("db", "restored", environment={**environment, "DTS_DATA": str(after)})
    assert refused.code == 1
    assert "dts works with this database already" in refused.err
    assert len(set(ran(data))) == len(ran(data))
    await holds_every_second(again)
    await postgres.drop(again)


async def holds_every_second(dsn: str) -> None:
    """Each instant is one row, or part of one; what is not known says so."""
    connection = await asyncpg.connect(dsn)
    rows: list[Mapping[str, object]] = await connection.fetch(
        "SELECT scheduled_at AS first, coalesce(last_scheduled_at, scheduled_at) AS last, message"
        " FROM run_history ORDER BY 1"
    )
    await connection.close()
    for one, other in itertools.pairwise(rows):
        assert other["first"] - one["last"] == SECOND, (dict(one), dict(other))  # type: ignore[operator]
    assert any("restored from a backup" in str(row["message"]) for row in rows)
