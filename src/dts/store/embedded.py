"""PostgreSQL as part of dts: started, adopted and stopped by it.

The server is a child in a session of its own. A Ctrl-C in the terminal does not reach it, and it survives a kill -9
of dts; the next start finds it by the data directory and goes on with it. It listens on a socket in a directory that
is closed to other users, and on nothing else.

The data directory is locked as long as it is in use, so two dts never share one.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import asyncpg

from dts.domain.errors import FailedPrecondition, Internal
from dts.store.embedded_home import Home, prepare_home, prepare_socket_dir
from dts.store.embedded_server import Life, Note, Server, life_of, run_tool

DATABASE = "dts"
USER = "dts"
ADMIN = "postgres"

LOCK_SECONDS = 10.0
"""How long to wait for another dts to let go of the data directory."""

LEFTOVER_SECONDS = 20.0
"""How long the remains of a killed server may stand in the way: a zombie nobody reaps, processes that still end."""

RECOVERY_SECONDS = 300.0
"""How long a server may replay its log before it takes connections."""

WATCH_SECONDS = 0.5
"""How often is looked whether the server still lives."""

SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "huge_pages": "off",
    "fsync": "on",
    "wal_compression": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
    "log_checkpoints": "off",
    "cluster_name": "dts",
}
"""Settings of the server; autovacuum and durability stay as PostgreSQL ships them."""

_LEFTOVERS = ("lock file", "pre-existing shared memory block")
_BUILTIN_COLLATION_SINCE = 17


class EmbeddedPostgres:
    """A PostgreSQL server over a data directory; `async with` starts and stops it.

    Args:
        data_dir: everything of the server lies in here; made if missing. When dts runs as root, the directories
            above it must be open (mode o+x) to the user the server runs as.
        binaries: the `bin` folder of a PostgreSQL, instead of the one that is found.
        settings: settings of the server, over the usual ones.
    """

    def __init__(self, *, data_dir: Path, binaries: Path | None = None, settings: dict[str, str] | None = None) -> None:
        self._data_dir = data_dir.absolute()
        self._configured = binaries
        self._settings = {**SETTINGS, **(settings or {})}
        self._lock: int | None = None
        self._home: Home | None = None
        self._socket_dir: Path | None = None
        self._server: Server | None = None
        self.adopted = False
        """Whether the server was found running."""

    @property
    def home(self) -> Home:
        """Where it lives: account, binaries, log. Known once it was started."""
        if self._home is None:
            raise Internal("the embedded PostgreSQL was not started")
        return self._home

    @property
    def pid(self) -> int | None:
        """The process of the server, while there is one."""
        return self._server.pid if self._server else None

    def dsn(self, *, database: str = DATABASE, user: str = USER) -> str:
        """The address for asyncpg and libpq. It holds no password: only our own user can reach the socket."""
        return f"postgresql://{user}@/{database}?host={quote(str(self._socket_dir), safe='/')}"

    async def start(self) -> str:
        """Start the server, or adopt the one that runs, and return the DSN of the database `dts`.

        Raises:
            FailedPrecondition: something on this machine is in the way; the text says what to do.
            Internal: the server does not start; the text carries its last words.
        """
        self._home = await asyncio.to_thread(prepare_home, self._data_dir, self._configured)
        self._lock = await _lock(self._data_dir)
        try:
            await self._bring_up()
        except BaseException:  # also when cancelled: without us nobody stops the server or opens the lock
            await self.stop()
            raise
        return self.dsn()

    async def stop(self) -> None:
        """Stop the server, whoever started it; a clean stop, so the next start needs no recovery."""
        server, self._server = self._server, None
        try:
            if server is not None:
                await server.stop()
                self._leave_socket_dir()
        finally:
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    async def keep_running(self) -> None:
        """Start the server again whenever it ends unasked; runs until cancelled, or until it was stopped.

        Raises:
            Internal: it does not start any more.
        """
        while self._server is not None:
            if not self._server.alive():
                await self._bring_up()
            await asyncio.sleep(WATCH_SECONDS)

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop, also when the block was cancelled."""
        await self.stop()

    def _leave_socket_dir(self) -> None:
        with suppress(OSError):  # not empty, or gone: either way nothing to tidy
            if self._socket_dir is not None:
                self._socket_dir.rmdir()

    async def _bring_up(self) -> None:
        await self._ensure_cluster()
        self._server = await self._adopt()
        self.adopted = self._server is not None
        if self._server is None:
            self._server = await self._launch_over_leftovers()
        await self._ensure_database()

    async def _ensure_cluster(self) -> None:
        version = await _major_version(self.home)
        if not self.home.cluster.exists():
            await _make_cluster(self.home, version)
        found = (self.home.cluster / "PG_VERSION").read_text().strip()
        if found != str(version):
            raise FailedPrecondition(
                f"{self.home.cluster} was made by PostgreSQL {found}, and {self.home.binaries} is {version}: "
                "set DTS_PG_BIN to the older one, or dump with it and restore into a new data directory"
            )

    async def _adopt(self) -> Server | None:
        note = Note.read(self.home.cluster)
        if note is None:
            return None
        match life_of(note.pid, self.home.cluster):
            case Life.OURS:
                self._socket_dir = note.socket_dir
                server = Server(note.pid, self.home.cluster)
                return server if await self._answers(server) else None
            case Life.FOREIGN:
                # After a restart of the machine or container the number may be anybody's, and PostgreSQL would refuse
                # to start for ever. Should a server live after all, its shared memory still keeps a second one away.
                (self.home.cluster / "postmaster.pid").unlink(missing_ok=True)
        return None

    async def _launch_over_leftovers(self) -> Server:
        clock = asyncio.get_running_loop().time
        until = clock() + LEFTOVER_SECONDS
        while True:
            begin = _size(self.home.log_file)
            server = await self._launch()
            if server is not None:
                return server
            words = _last_words(self.home.log_file, begin)
            if clock() > until or not any(leftover in words for leftover in _LEFTOVERS):
                raise Internal(f"the embedded PostgreSQL did not start: {words} (see {self.home.log_file})")
            await asyncio.sleep(0.25)

    async def _launch(self) -> Server | None:
        """A server that takes connections, or None if it ended instead."""
        # The second time it stays where it was: our clients keep their address.
        if self._socket_dir is None or not self._socket_dir.is_dir():
            self._socket_dir = prepare_socket_dir(self._data_dir, self.home.account)
        settings = {**self._settings, "unix_socket_directories": str(self._socket_dir)}
        server = Server.launch(self.home, settings)
        try:
            return server if await self._answers(server) else None
        except BaseException:  # also when cancelled: nobody else knows of this process
            await server.stop()
            raise

    async def _answers(self, server: Server) -> bool:
        """Wait until the server takes connections; False if it ends instead."""
        try:
            async with asyncio.timeout(RECOVERY_SECONDS):
                while server.alive():
                    with suppress(OSError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError):
                        connection = await asyncpg.connect(self.dsn(database="postgres", user=ADMIN), timeout=5)
                        await connection.close()
                        return True
                    await asyncio.sleep(0.03)
        except TimeoutError as exc:
            raise Internal(f"the embedded PostgreSQL takes no connections (see {self.home.log_file})") from exc
        return False

    async def _ensure_database(self) -> None:
        connection = await asyncpg.connect(self.dsn(database="postgres", user=ADMIN), timeout=10)
        try:
            if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", USER):
                await connection.execute(f"CREATE ROLE {USER} LOGIN")
            if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
                await connection.execute(f"CREATE DATABASE {DATABASE} OWNER {USER}")
        finally:
            await connection.close()


async def _lock(directory: Path) -> int:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        async with asyncio.timeout(LOCK_SECONDS):
            while not _locked(handle):  # noqa: ASYNC110 - it is another process that lets go
                await asyncio.sleep(0.1)
    except BaseException as exc:
        os.close(handle)
        if isinstance(exc, TimeoutError):
            raise FailedPrecondition(f"another dts uses {directory}: stop it, or choose another directory") from exc
        raise
    return handle


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _major_version(home: Home) -> int:
    said = await run_tool(home, "postgres", "--version")
    match = re.search(r"\d+", said)
    if match is None:
        raise Internal(f"{home.binaries}/postgres --version said {said[:64]!r}")
    return int(match[0])


async def _make_cluster(home: Home, version: int) -> None:
    # Made beside its place and moved when complete: a kill -9 in between leaves nothing that looks like data.
    unfinished = home.data_dir / "cluster.new"
    await asyncio.to_thread(shutil.rmtree, unfinished, ignore_errors=True)
    # PostgreSQL's own collation does not change with the C library of the machine.
    builtin = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")
    await run_tool(
        home,
        "initdb",
        f"--pgdata={unfinished}",
        f"--username={ADMIN}",
        "--auth-local=trust",
        "--auth-host=reject",
        "--encoding=UTF8",
        *(builtin if version >= _BUILTIN_COLLATION_SINCE else ("--locale=C.UTF-8",)),
        "--data-checksums",
        "--no-instructions",
    )
    unfinished.rename(home.cluster)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _last_words(log_file: Path, begin: int) -> str:
    with log_file.open("rb") as log:
        log.seek(begin)
        lines = log.read().decode(errors="replace").splitlines()
    fatal = [line.partition("FATAL:")[2].strip() for line in lines if "FATAL:" in line]
    return (fatal or lines or ["it said nothing"])[-1]
