"""A real PostgreSQL for the tests: one server for all of them, a fresh database for each.

The databases are clones of one that was migrated once, in memory where there is some: a fresh one costs twenty
milliseconds, and ten times that on a disk.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import asyncpg

from dts.store.embedded import ADMIN, USER, EmbeddedPostgres
from dts.store.migrate import migrate

TEMPLATE = "dts_template"

SHARED_MEMORY = Path("/dev/shm")
ROOM = 4 << 30
"""Bytes that the databases of a test run have room in."""

# The machine may lose power during a test: then the test is lost too.
_FASTER: dict[str, str] = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "on",
    "max_connections": "200",
}


@contextmanager
def open_directory(prefix: str = "dts-test-", *, within: Path | None = None) -> Iterator[Path]:
    """A temporary directory that the user PostgreSQL runs as can pass through; pytest's own is closed to it."""
    path = Path(tempfile.mkdtemp(prefix=prefix, dir=within))
    path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def memory() -> Path | None:
    """A directory that is memory and has room for a test run, if there is one."""
    try:
        return SHARED_MEMORY if shutil.disk_usage(SHARED_MEMORY).free >= ROOM else None
    except OSError:
        return None


def configured_binaries() -> Path | None:
    """What DTS_PG_BIN names."""
    name = os.environ.get("DTS_PG_BIN")
    return Path(name) if name else None


@dataclass
class TestServer:
    """The server of a test run."""

    __test__ = False  # not a test class, whatever its name

    embedded: EmbeddedPostgres
    _numbers: Iterator[int] = field(default_factory=count)

    def admin_dsn(self, database: str = "postgres") -> str:
        """The address for a superuser."""
        return self.embedded.dsn(database=database, user=ADMIN)

    async def create(self, *, migrated: bool = True) -> str:
        """A new database, with dts's schema or without, and its DSN."""
        name = f"t{next(self._numbers)}"
        template = TEMPLATE if migrated else "template0"
        await self.admin(f"CREATE DATABASE {name} OWNER {USER} TEMPLATE {template} STRATEGY file_copy")
        return self.embedded.dsn(database=name)

    async def drop(self, dsn: str) -> None:
        """Remove a database, whoever is connected."""
        await self.admin(f"DROP DATABASE IF EXISTS {database_of(dsn)} WITH (FORCE)")

    async def admin(self, statement: str) -> None:
        """Run a statement as superuser."""
        connection = await asyncpg.connect(self.admin_dsn())
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


def database_of(dsn: str) -> str:
    """The name of the database in an address of `EmbeddedPostgres.dsn`."""
    return dsn.partition("@/")[2].partition("?")[0]


@contextmanager
def running_server(settings: dict[str, str] = _FASTER, *, within: Path | None = None) -> Iterator[TestServer]:
    """Start a server in a temporary directory, migrate the template, and stop it in the end.

    Plain, not async: it outlives the event loop of each test.
    """
    with open_directory("dts-pg-", within=within) as directory:
        embedded = EmbeddedPostgres(data_dir=directory / "postgres", binaries=configured_binaries(), settings=settings)
        asyncio.run(embedded.start())
        try:
            server = TestServer(embedded)
            asyncio.run(_make_template(server))
            yield server
        finally:
            asyncio.run(embedded.stop())


async def _make_template(server: TestServer) -> None:
    await server.admin(f"CREATE DATABASE {TEMPLATE} OWNER {USER} TEMPLATE template0")
    connection = await asyncpg.connect(server.embedded.dsn(database=TEMPLATE))
    try:
        await migrate(connection)
    finally:
        await connection.close()
