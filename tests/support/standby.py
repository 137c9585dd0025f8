"""A second PostgreSQL that follows a first one, and may take its place."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from dts.store.embedded import ADMIN
from dts.store.embedded_home import Home, prepare_home, prepare_socket_dir
from dts.store.embedded_server import Server, run_tool
from support.own_postgres import OwnPostgres
from support.polling import eventually
from support.postgres import configured_binaries


@dataclass(slots=True)
class Standby:
    """It follows. sockets: where it listens."""

    home: Home
    sockets: Path

    async def promote(self) -> None:
        """It is the first one now."""
        await run_tool(self.home, "pg_ctl", "promote", "-w", "-D", str(self.home.cluster))


@asynccontextmanager
async def standby(primary: OwnPostgres, data: Path) -> AsyncIterator[Standby]:
    """One that the primary waits for before it says that something is stored."""
    home = prepare_home(data / "standby", configured_binaries())
    sockets = prepare_socket_dir(home.data_dir, home.account)
    first = primary.dsn.partition("host=")[2].partition("&")[0]
    source = f"host={first} user={ADMIN} application_name=standby"
    copy = ("--checkpoint=fast", "--no-sync", "--write-recovery-conf", "--wal-method=stream")
    await run_tool(home, "pg_basebackup", "-d", source, "-D", str(home.cluster), *copy)
    settings = {"unix_socket_directories": str(sockets), "listen_addresses": "", "fsync": "off"}
    server = Server.launch(home, settings)

    async def follows() -> bool:
        return await _follows(primary)

    try:
        following: bool = await eventually(follows, within=20)
        assert following
        await _asked(
            primary,
            "ALTER SYSTEM SET synchronous_standby_names = 'standby'",
            "ALTER SYSTEM SET synchronous_commit = 'remote_apply'",
            "SELECT pg_reload_conf()",
        )
        yield Standby(home, sockets)
    finally:
        await server.stop()


async def _follows(primary: OwnPostgres) -> bool:
    connection = await asyncpg.connect(primary.embedded.dsn(user=ADMIN))
    try:
        return bool(await connection.fetchval("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"))
    finally:
        await connection.close()


async def _asked(primary: OwnPostgres, *statements: str) -> None:
    connection = await asyncpg.connect(primary.embedded.dsn(user=ADMIN))
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()
