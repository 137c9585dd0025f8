"""A PostgreSQL for one test, which may kill and freeze it."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from dts.store.embedded import EmbeddedPostgres
from dts.store.migrate import migrate
from support.polling import eventually
from support.postgres import configured_binaries


@dataclass(slots=True)
class OwnPostgres:
    """A server with a migrated database, and what may happen to it."""

    embedded: EmbeddedPostgres

    @property
    def dsn(self) -> str:
        """The address of the database."""
        return self.embedded.dsn()

    async def kill(self) -> None:
        """kill -9 of the server and all its sessions."""
        pids = self._pids()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await eventually(lambda: not any(_lives(pid) for pid in pids))

    async def restart(self) -> None:
        """After a kill."""
        server = self.embedded._server
        await eventually(lambda: server is None or not server.alive())  # reaps it
        await self.embedded._bring_up()  # what its keeper does, when the test says so

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """SIGSTOP of the server and all its sessions, and SIGCONT in the end."""
        pids = self._pids()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def _pids(self) -> list[int]:
        """The server first: it starts none while it is frozen."""
        server = self.embedded.pid
        assert server is not None
        children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
        return [server, *map(int, children)]


@asynccontextmanager
async def own_postgres(data: Path) -> AsyncIterator[OwnPostgres]:
    """Starts it and stops it."""
    settings = {"fsync": "off"}
    async with EmbeddedPostgres(data_dir=data / "pg", binaries=configured_binaries(), settings=settings) as embedded:
        connection = await asyncpg.connect(embedded.dsn())
        try:
            await migrate(connection)
        finally:
            await connection.close()
        yield OwnPostgres(embedded)


def _lives(pid: int) -> bool:
    """Whether it is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
