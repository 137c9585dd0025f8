"""What the command line does with a database itself: migrate it, say how it is, dump it."""

from __future__ import annotations

import asyncio
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from dts.app import credentials
from dts.domain.errors import FailedPrecondition, InvalidArgument
from dts.settings import Settings
from dts.store.embedded_home import find_binaries
from dts.store.migrate import check_version, current_version, load, migrate
from dts.store.pool import open_pool
from dts.store.restored import Restored, settle_restored


@dataclass(frozen=True, slots=True)
class DatabaseStatus:
    """version: of the schema that is there. known: what this binary needs."""

    version: int
    known: int


def db_migrate(settings: Settings) -> list[str]:
    """Brings the database to the schema of this binary; returns the files that ran.

    Raises:
        DtsError: it cannot be reached, is newer, or a migration failed.
    """
    return asyncio.run(migrate_database(_dsn(settings), lent=settings.dsn_lent))


def db_status(settings: Settings) -> DatabaseStatus:
    """Compares the schema with what this binary needs.

    Raises:
        DtsError: it cannot be reached.
    """
    return asyncio.run(_status(_dsn(settings), lent=settings.dsn_lent))


def db_restored(settings: Settings) -> Restored:
    """Closes what may have run since the backup that the database was restored from.

    Raises:
        DtsError: it cannot be reached, has another version, or dts works with it already.
    """
    return asyncio.run(_restored(_dsn(settings)))


def db_dump(settings: Settings, output: Path) -> int:
    """Writes a consistent dump as SQL, whole or not at all; returns its size in bytes.

    Raises:
        FailedPrecondition: pg_dump is missing or failed; the text carries its last line.
    """
    dump = find_binaries(settings.postgres_binaries) / "pg_dump"
    if not dump.exists():
        raise FailedPrecondition(f"{dump.name} is not beside PostgreSQL's other programs", code="dump.missing")
    dsn, environment = _without_password(_dsn(settings))
    output.parent.mkdir(parents=True, exist_ok=True)
    draft = output.with_name(output.name + ".new")
    command = [str(dump), "--no-owner", "--no-privileges", f"--file={draft}", f"--dbname={dsn}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - our own binary, no shell
    if done.returncode != 0:
        draft.unlink(missing_ok=True)
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise FailedPrecondition(f"pg_dump failed: {last}", code="dump.failed")
    draft.replace(output)
    return output.stat().st_size


async def migrate_database(dsn: str, *, lent: bool = False) -> list[str]:
    """As `db_migrate`, on the running loop."""
    pool = await open_pool(dsn, size=1, name="dts migrate", lent=lent)
    try:
        async with pool.acquire() as connection:
            return [migration.file for migration in await migrate(connection)]
    finally:
        await pool.close()


async def check_database(dsn: str, settings: Settings) -> None:
    """Goes in and out once.

    Raises:
        Unavailable: it does not answer, or does not let us in.
        InvalidArgument: the address cannot be read.
    """
    password = settings.dsn_password if settings.dsn_password_file else None
    pool = await open_pool(dsn, size=1, name="dts check", lent=settings.dsn_lent, password=password)
    await pool.close()


async def _status(dsn: str, *, lent: bool) -> DatabaseStatus:
    pool = await open_pool(dsn, size=1, name="dts status", lent=lent)
    try:
        async with pool.acquire() as connection:
            return DatabaseStatus(await current_version(connection), len(load()))
    finally:
        await pool.close()


async def _restored(dsn: str) -> Restored:
    pool = await open_pool(dsn, size=1, name="dts restored")
    try:
        async with pool.acquire() as connection:
            await check_version(connection)
        return await settle_restored(pool)
    finally:
        await pool.close()


def _dsn(settings: Settings) -> str:
    """DTS_DSN, or the database of the `dts dev` over the same data directory."""
    known = credentials.read(settings.data_dir)
    dsn = settings.dsn or (known.dsn if known else None)
    if not dsn:
        why = f"is not set, and no `dts dev` has run over {settings.data_dir}"
        raise InvalidArgument.of("DTS_DSN", "settings.missing", why)
    return dsn


def _without_password(dsn: str) -> tuple[str, dict[str, str]]:
    """The address for an argument list that everybody can read, and an environment with the password."""
    parts = urlsplit(dsn)
    options = parse_qsl(parts.query, keep_blank_values=True)
    found = [value for name, value in options if name == "password"]
    if found:
        rest = urlencode([(name, value) for name, value in options if name != "password"], quote_via=quote)
        dsn = dsn.replace(f"?{parts.query}", f"?{rest}" if rest else "", 1)
    if parts.password is not None:
        found.append(unquote(parts.password))
        user, _, host = parts.netloc.rpartition("@")
        dsn = dsn.replace(f"//{parts.netloc}", f"//{user.partition(':')[0]}@{host}", 1)
    return dsn, {**os.environ, **({"PGPASSWORD": found[0]} if found else {})}
