"""What every test can ask for."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest
from hypothesis import settings

from dts.store.pool import open_pool
from support.postgres import TestServer, memory, running_server

# A gate says the same of the same commit. `pytest --hypothesis-profile=default` looks for what is new.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")


@pytest.fixture(scope="session", autouse=True)
def _inherited_signals() -> None:
    """What the shell ignores for us (nohup, `&`) must not be ignored by the programs that the tests start."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres() -> Iterator[TestServer]:
    """The PostgreSQL server of this test run."""
    with running_server(within=memory()) as server:
        yield server


@pytest.fixture
async def database_dsn(postgres: TestServer) -> AsyncIterator[str]:
    """The address of a fresh database with dts's schema."""
    dsn = await postgres.create()
    yield dsn
    await postgres.drop(dsn)


@pytest.fixture
async def empty_database_dsn(postgres: TestServer) -> AsyncIterator[str]:
    """The address of a fresh database with nothing in it."""
    dsn = await postgres.create(migrated=False)
    yield dsn
    await postgres.drop(dsn)


@pytest.fixture
async def database(database_dsn: str) -> AsyncIterator[asyncpg.Pool]:
    """A pool on a fresh database with dts's schema."""
    pool = await open_pool(database_dsn, size=10)
    yield pool
    pool.terminate()
