"""The password of the database is another one some day: nobody starts anything again over that."""

from __future__ import annotations

import asyncpg
import pytest

from dts.domain.errors import Unavailable
from dts.settings import Settings
from dts.store.embedded import ADMIN, USER
from dts.store.pool import errors, open_pool
from support.own_postgres import own_postgres
from support.postgres import open_directory


@pytest.fixture
async def server():
    """One that lets people in by their password."""
    with open_directory() as data:
        async with own_postgres(data) as running:
            rules = running.embedded.home.cluster / "pg_hba.conf"
            rules.write_text(f"local all {USER} scram-sha-256\n{rules.read_text()}")
            await asked(running, "SELECT pg_reload_conf()")
            yield running


async def asked(server, *statements: str) -> None:
    connection = await asyncpg.connect(server.embedded.dsn(database="postgres", user=ADMIN))
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def become(server, password: str) -> None:
    """It has another password, and everybody is thrown out."""
    await asked(
        server,
        f"ALTER ROLE {USER} PASSWORD '{password}'",
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{USER}'",
    )


async def test_another_password_in_the_file_counts_from_the_next_connection_on(server, tmp_path):
    file = tmp_path / "password"
    file.write_text("first\n")
    settings = Settings.from_env({"DTS_DSN": server.dsn, "DTS_DSN_PASSWORD_FILE": str(file)})
    await become(server, "first")
    pool = await open_pool(settings.dsn, size=2, password=settings.dsn_password)
    await become(server, "second")
    for _ in range(3):  # the first one meets the session that was ended
        with pytest.raises(Unavailable) as caught, errors():
            await pool.fetchval("SELECT 1")
    assert "password authentication failed" in str(caught.value)
    file.write_text("second\n")
    assert await pool.fetchval("SELECT 1") == 1
    pool.terminate()
