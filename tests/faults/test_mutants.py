"""Each promise has a build of dts that breaks it, and the checker finds that; the build that is whole has none."""

from __future__ import annotations

import asyncio
import secrets
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from faults import mutants
from faults.checker import check
from faults.load import every, second
from faults.model import Definition, Fault, Observed, Overlap
from faults.parts import DTS, alone
from faults.run import FaultRun, started
from support.postgres import TestServer, database_of, open_directory

pytestmark = pytest.mark.timeout(180)

BEFORE, AFTER = 6.0, 6.0
"""Seconds for which each build is watched, before the fault and after it."""

LONG_AFTER = 14.0
"""Where it is the recovery that is broken."""


def tasks() -> dict[str, Definition]:
    """A few of each kind, so that every mutant has something to spoil."""
    allow, skip = Overlap.ALLOW, Overlap.SKIP
    found = {f"noop-{n}": every(1, overlap=allow, witnessed=False) for n in range(3)}
    found |= {f"quick-{n}": every(1, overlap=allow, lines=5) for n in range(3)}
    found |= {"crowding": every(2, overlap=skip, lasts=second(3))}
    found |= {"failing": every(3, overlap=allow, lasts=second(3), code=3, retries=1)}
    return found


async def watched(data: Path, postgres: TestServer, dsn: str, *command: str, after: float = AFTER) -> Observed:
    """A short run in which the database lets nobody in for a moment."""
    token = secrets.token_urlsafe(32)
    async with alone(data, dsn=dsn, token=token, command=command) as installed:
        run = started(installed, seed=1, token=token, dsn=dsn)
        wanted = tasks()
        await run.define(wanted)
        async with run.judged():
            await asyncio.sleep(BEFORE)
            await lock_out(run, postgres, dsn)
            await asyncio.sleep(after)
        await run.settle()
        return await run.observed()


async def lock_out(run: FaultRun, postgres: TestServer, dsn: str) -> None:
    begun = datetime.now(UTC)
    name = database_of(dsn)
    await postgres.admin(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    await postgres.admin(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    await asyncio.sleep(1)
    await postgres.admin(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    run.faults.append(Fault("nobody is let in", name, begun, datetime.now(UTC), timedelta(seconds=5)))


async def test_a_build_that_is_whole_keeps_every_promise(postgres: TestServer, database_dsn: str):
    with open_directory() as data:
        observed = await watched(data, postgres, database_dsn, *DTS)
    assert check(observed) == []


@pytest.mark.parametrize("promise", mutants.MUTANTS)
async def test_a_build_that_breaks_a_promise_is_found_out(promise: str, postgres: TestServer, database_dsn: str):
    with open_directory() as data:
        command = (sys.executable, str(Path(mutants.__file__)), promise)
        after = LONG_AFTER if promise == "P5" else AFTER
        observed = await watched(data, postgres, database_dsn, *command, after=after)
    broken = {violation.promise for violation in check(observed)}
    assert promise in broken, sorted(broken)
