"""A running `dts dev` with some months of history, and a real Chromium before it."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright
from world import History, people, tasks

from dts.pb.dts.v1 import ApplyTasksRequest
from support.postgres import TestServer, open_directory
from support.system import System, dev

CHROMIUMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
PICTURES = Path("build/browser")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser of this machine: none is downloaded."""
    found = next((path for name in CHROMIUMS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(
            f"no Chromium is installed (looked for {', '.join(CHROMIUMS)}): apt-get install chromium-headless-shell"
        )
    return found


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def system(postgres: TestServer, chromium: str) -> AsyncIterator[System]:  # noqa: ARG001 - not without a browser
    """All roles in one process, eight tasks, and what became of their runs since summer."""
    dsn = await postgres.create()
    with open_directory() as data:
        environment = {"DTS_DSN": dsn, "DTS_NODE_NAME": "swarm-1", "DTS_SLOTS": "12"}
        async with dev(data, environment=environment) as running:
            async with running.calls() as calls:
                await calls.tasks.apply_tasks(ApplyTasksRequest(specs=tasks()))
            pool = await asyncpg.create_pool(dsn, min_size=1, max_size=2)
            await History(pool).write()
            await pool.close()
            yield running
    await postgres.drop(dsn)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def tokens(system: System) -> dict[str, str]:
    """An access token for each scope."""
    return await people(system)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """Chromium, without a window."""
    # Its sandbox needs rights that root in a container has not.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        found = await playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield found
        await found.close()


@pytest.fixture(scope="session")
def pictures() -> Path:
    """Where pictures of the pages are put, for people to look at."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    return PICTURES
