"""The system under test, both ways it can run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import pytest
import pytest_asyncio

from support.postgres import TestServer, open_directory
from support.system import Calls, System, dev, five


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["dev", "five"])
async def system(request: pytest.FixtureRequest, postgres: TestServer) -> AsyncIterator[System]:
    """One process with all roles; then five with one each, which know each other by certificates, as in a Swarm."""
    dsn = await postgres.create()
    with open_directory() as data:
        start = dev if request.param == "dev" else partial(five, secure=True)
        async with start(data, environment={"DTS_DSN": dsn}) as running:
            yield running
    await postgres.drop(dsn)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def calls(system: System) -> AsyncIterator[Calls]:
    """The public services of the system."""
    async with system.calls() as services:
        yield services
