"""Bring a database to the schema of this binary: numbered SQL files, forward only.

A migration is a file `NNNN_name.sql`, numbered from 1 without gaps, and runs once in a transaction of its own. Its
checksum is stored, so a file that was edited after it ran is found. A file whose first line is
`-- dts: no-transaction` holds exactly one statement that cannot run in a transaction (`CREATE INDEX CONCURRENTLY`)
and must bear being run again, because a crash between the statement and its record repeats it.

`dts serve` only checks the version; `dts db migrate` and `dts dev` migrate.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources.abc import Traversable

import asyncpg

from dts.domain.errors import FailedPrecondition, Internal, Unavailable
from dts.store.pool import Connection, lends
from dts.store.resources import data_dir

_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_NO_TRANSACTION = "-- dts: no-transaction"
_LOCK_KEY = int.from_bytes(b"dts-migr")
_LOCK_POLL = 0.1
# A migration may rewrite a table, so it is given an hour where a statement of the service is given seconds.
_STATEMENT_TIMEOUT = 3600.0
# Waiting for a table lock blocks everybody behind us in the queue: give up soon and come back.
_TABLE_LOCK_TRIES = 30

_CREATE = """
CREATE TABLE IF NOT EXISTS schema_migration (
    version     int PRIMARY KEY,
    name        text NOT NULL,
    checksum    text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now(),
    duration_ms int NOT NULL
)"""
_RECORD = "INSERT INTO schema_migration (version, name, checksum, duration_ms) VALUES ($1, $2, $3, $4)"


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its number, its name, its text with LF line ends, and the SHA-256 of that text."""

    version: int
    name: str
    sql: str
    checksum: str

    @property
    def transactional(self) -> bool:
        """Whether it runs in a transaction."""
        return not self.sql.lstrip().startswith(_NO_TRANSACTION)

    @property
    def file(self) -> str:
        """The name of the file it came from."""
        return f"{self.version:04}_{self.name}.sql"


def load(folder: Traversable | None = None) -> tuple[Migration, ...]:
    """The migrations this binary knows, in order; from `folder`, or from where dts ships them.

    Raises:
        Internal: a file has a wrong name, or a number is missing or stands twice.
    """
    entries = (folder or data_dir("migrations")).iterdir()
    # schema.sql lies beside the migrations: it is what they lead to, for people to read.
    found = sorted(
        (_read(entry) for entry in entries if entry.name.endswith(".sql") and entry.name != "schema.sql"),
        key=lambda migration: migration.version,
    )
    for expected, migration in enumerate(found, start=1):
        if migration.version != expected:
            raise Internal(f"migrations: expected number {expected:04}, found {migration.file}")
    return tuple(found)


def _read(entry: Traversable) -> Migration:
    match = _NAME.fullmatch(entry.name)
    if match is None:
        raise Internal(f"migrations: {entry.name} is not named like 0001_what_it_does.sql")
    # A checkout on another system may have CRLF line ends; that is no change.
    text = entry.read_text("utf-8").replace("\r\n", "\n")
    return Migration(int(match[1]), match[2], text, hashlib.sha256(text.encode()).hexdigest())


async def current_version(connection: Connection) -> int:
    """The number of the last migration that ran in this database; 0 if none did."""
    return max(await _applied(connection), default=0)


async def check_version(connection: Connection, migrations: Sequence[Migration] | None = None) -> None:
    """Refuse a database whose schema is not the one of this binary.

    Raises:
        FailedPrecondition: it is older or newer, or was made by other migrations; the text says what to do.
    """
    known = load() if migrations is None else migrations
    applied = await _applied(connection)
    _refuse_foreign(applied, known)
    if len(applied) < len(known):
        raise FailedPrecondition(
            f"the database is at version {len(applied)}, this dts needs version {len(known)}: run `dts db migrate`",
            code="database.too_old",
        )


async def migrate(
    connection: Connection, migrations: Sequence[Migration] | None = None, *, wait: float = 60.0
) -> list[Migration]:
    """Run what has not run yet and return it; safe to call by many at once.

    Args:
        connection: outside a transaction; must be a session of its own, not one shared by a pooler.
        migrations: instead of those dts ships.
        wait: seconds to wait for another runner to finish.

    Raises:
        FailedPrecondition: the database is newer than this binary, or was made by other migrations; or the session is
            a pooler's.
        Internal: a migration failed; the text names file and line.
        Unavailable: another runner, or another session's lock on a table, is in the way.
    """
    if lends(connection):
        why = "migrations need a session of their own: set DTS_DSN to lead straight to PostgreSQL, without a pooler"
        raise FailedPrecondition(why, code="database.pooled")
    known = load() if migrations is None else migrations
    async with _only_runner(connection, wait):
        await connection.execute(_CREATE)
        applied = await _applied(connection)
        _refuse_foreign(applied, known)
        pending = [migration for migration in known if migration.version not in applied]
        for migration in pending:
            await _apply(connection, migration)
        return pending


@asynccontextmanager
async def _only_runner(connection: Connection, wait: float) -> AsyncIterator[None]:
    # Polling, never a blocking pg_advisory_lock(): a SELECT that is blocked keeps a snapshot and would deadlock with
    # a CREATE INDEX CONCURRENTLY run by the holder of the lock.
    try:
        async with asyncio.timeout(wait):
            while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK_KEY):  # noqa: ASYNC110 - nobody here could set an event
                await asyncio.sleep(_LOCK_POLL)
    except TimeoutError as exc:
        raise Unavailable(f"another process has been migrating this database for {wait:g} s") from exc
    try:
        yield
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK_KEY)


async def _applied(connection: Connection) -> dict[int, str]:
    """Checksum by version of what ran in this database."""
    if await connection.fetchval("SELECT to_regclass('schema_migration')") is None:
        return {}
    rows = await connection.fetch("SELECT version, checksum FROM schema_migration ORDER BY version")
    return {row["version"]: row["checksum"] for row in rows}


def _refuse_foreign(applied: dict[int, str], known: Iterable[Migration]) -> None:
    by_version = {migration.version: migration for migration in known}
    for version, checksum in applied.items():
        migration = by_version.get(version)
        if migration is None:
            raise FailedPrecondition(
                f"the database is at version {max(applied)}, this dts knows only {len(by_version)}: use a newer dts",
                code="database.too_new",
            )
        if migration.checksum != checksum:
            raise FailedPrecondition(
                f"{migration.file} is not the file that ran in this database: its text was changed afterwards, "
                "or the database belongs to another build of dts",
                code="database.changed_migration",
            )


async def _apply(connection: Connection, migration: Migration) -> None:
    for _ in range(_TABLE_LOCK_TRIES):
        try:
            await _apply_once(connection, migration)
        except asyncpg.LockNotAvailableError:
            await asyncio.sleep(1.0)
        except asyncpg.PostgresError as exc:
            raise Internal(f"{migration.file}{_line(migration, exc)}: {exc}", code="database.migration_failed") from exc
        else:
            return
    raise Unavailable(f"{migration.file}: another session keeps a lock on a table that must be changed")


async def _apply_once(connection: Connection, migration: Migration) -> None:
    if not migration.transactional:
        await _execute_and_record(connection, migration)
        return
    async with connection.transaction():
        await connection.execute("SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = 0")
        await _execute_and_record(connection, migration)


async def _execute_and_record(connection: Connection, migration: Migration) -> None:
    clock = asyncio.get_running_loop().time
    begun = clock()
    await connection.execute(migration.sql, timeout=_STATEMENT_TIMEOUT)
    took = round((clock() - begun) * 1000)
    await connection.execute(_RECORD, migration.version, migration.name, migration.checksum, took)


def _line(migration: Migration, error: asyncpg.PostgresError) -> str:
    position = getattr(error, "position", None)
    return f" line {migration.sql[: int(position) - 1].count(chr(10)) + 1}" if position else ""
