"""The PostgreSQL of a fault run: killed, frozen, stopped, made read-only, filled up, crowded."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from dts.store.embedded import ADMIN, EmbeddedPostgres
from dts.store.embedded_server import run_tool
from dts.store.migrate import migrate
from support.own_postgres import OwnPostgres
from support.postgres import configured_binaries

DISK = "600m"
"""Of a file system of its own, so that it can be filled."""

SETTINGS = {"fsync": "off", "max_wal_size": "128MB", "min_wal_size": "32MB"}


@dataclass(slots=True)
class Server(OwnPostgres):
    """A server with a migrated database. disk: where its file system can be filled; None if it has none of its own."""

    disk: Path | None = None

    @property
    def socket(self) -> str:
        """The path of its socket."""
        return self.dsn.partition("host=")[2] + "/.s.PGSQL.5432"

    async def stop_now(self) -> None:
        """`pg_ctl stop -m immediate`: no checkpoint, sessions are thrown out."""
        home = self.embedded.home
        await run_tool(home, "pg_ctl", "stop", "-m", "immediate", "-D", str(home.cluster))

    async def restart_if_down(self) -> None:
        """It may have ended over what was done to it, or may be about to."""
        server = self.embedded._server
        if server is None or not server.alive() or not await self._answers():
            await self.restart()

    async def _answers(self) -> bool:
        try:
            await self.admin("CHECKPOINT")
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        return True

    async def admin(self, *statements: str) -> None:
        """Runs statements one by one as superuser, also while the server takes no writes."""
        connection = await asyncpg.connect(self.embedded.dsn(database="postgres", user=ADMIN), timeout=10)
        try:
            await connection.execute("SET default_transaction_read_only = off")
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    async def read_only(self, *, on: bool) -> None:
        """From now on, or not any more, for sessions that are open, too."""
        change = "SET default_transaction_read_only = on" if on else "RESET default_transaction_read_only"
        await self.admin(f"ALTER SYSTEM {change}", "SELECT pg_reload_conf()")

    async def throw_out(self) -> None:
        """Ends every session of dts."""
        await self.admin("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'dts'")

    def fill(self) -> None:
        """Not a byte more can be written."""
        assert self.disk is not None
        with (self.disk / "ballast").open("wb", buffering=0) as file, _until_full():
            while True:
                file.write(b"\0" * 1_000_000)

    def empty(self) -> None:
        """There is room again."""
        assert self.disk is not None
        (self.disk / "ballast").unlink(missing_ok=True)

    @asynccontextmanager
    async def crowded(self) -> AsyncIterator[None]:
        """All connections are taken."""
        taken: list[asyncpg.Connection] = []
        try:
            with _until_refused():
                while True:
                    taken.append(await asyncpg.connect(self.embedded.dsn(database="postgres", user=ADMIN), timeout=5))
            yield
        finally:
            for connection in taken:
                connection.terminate()

    @asynccontextmanager
    async def remembering(self) -> AsyncIterator[None]:
        """Somebody holds a snapshot open, and nothing that dies after it can be cleared away."""
        connection = await asyncpg.connect(self.embedded.dsn(user=ADMIN), timeout=10)
        try:
            await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            await connection.execute("SELECT count(*) FROM run")
            yield
        finally:
            await connection.close()


@contextmanager
def _until_full() -> Iterator[None]:
    """The end of the disk is where writing ends."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


@contextmanager
def _until_refused() -> Iterator[None]:
    try:
        yield
    except asyncpg.TooManyConnectionsError:
        return


@contextmanager
def own_disk(path: Path) -> Iterator[Path | None]:
    """A small file system at the path, where root asks for it."""
    path.mkdir()
    if os.geteuid() != 0:
        yield None
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0711", "tmpfs", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@asynccontextmanager
async def server(data: Path) -> AsyncIterator[Server]:
    """Starts one and stops it."""
    with ExitStack() as stack:
        disk = stack.enter_context(own_disk(data / "disk"))
        directory = data / "disk" / "pg"
        async with EmbeddedPostgres(data_dir=directory, binaries=configured_binaries(), settings=SETTINGS) as embedded:
            connection = await asyncpg.connect(embedded.dsn())
            try:
                await migrate(connection)
            finally:
                await connection.close()
            made = Server(embedded, disk)
            yield made
