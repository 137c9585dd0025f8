from __future__ import annotations

import asyncio
import traceback

import asyncpg
import pytest

from dts.domain.errors import DeadlineExceeded, DtsError, InvalidArgument, Unavailable
from dts.store.pool import errors, open_pool
from support.postgres import TestServer, database_of


async def test_json_goes_in_and_out_as_python_values(database: asyncpg.Pool) -> None:
    value = {"a": [1, None, "ü"]}
    assert await database.fetchval("SELECT $1::jsonb", value) == value
    assert await database.fetchval("SELECT $1::json", value) == value


async def test_every_session_has_the_limits_that_notice_a_dead_peer(database: asyncpg.Pool) -> None:
    wanted = {
        "statement_timeout": "5s",
        "lock_timeout": "2s",
        "idle_in_transaction_session_timeout": "5s",
        "client_connection_check_interval": "2s",
        "TimeZone": "UTC",
        "application_name": "dts",
    }
    rows = await database.fetch(
        "SELECT name, current_setting(name) AS value FROM unnest($1::text[]) AS name", [*wanted]
    )
    assert {row["name"]: row["value"] for row in rows} == wanted


async def test_a_wrong_address_is_refused_by_name() -> None:
    with pytest.raises(InvalidArgument) as caught:
        await open_pool("mysql://somewhere/x", size=1)
    assert caught.value.violations[0].field == "dsn"


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        await open_pool("postgresql://dts@127.0.0.1:1/dts", size=1)


async def test_an_unknown_database_or_user_is_unavailable_and_says_so(postgres: TestServer) -> None:
    with pytest.raises(Unavailable, match='database "nowhere" does not exist'):
        await open_pool(postgres.embedded.dsn(database="nowhere"), size=1)
    with pytest.raises(Unavailable, match='role "nobody_here" does not exist'):
        await open_pool(postgres.embedded.dsn(user="nobody_here"), size=1)


async def test_a_database_that_lets_nobody_in_for_a_while_is_unavailable(postgres: TestServer, database_dsn: str):
    """As it is while it is restored."""
    await postgres.admin(f"ALTER DATABASE {database_of(database_dsn)} ALLOW_CONNECTIONS false")
    with pytest.raises(Unavailable, match="not currently accepting connections"):
        await open_pool(database_dsn, size=1)


async def test_a_statement_that_takes_too_long_exceeds_its_deadline(database: asyncpg.Pool) -> None:
    with pytest.raises(DeadlineExceeded), errors():
        await database.execute("SET LOCAL statement_timeout = '50ms'; SELECT pg_sleep(10)")


async def test_no_answer_at_all_exceeds_the_deadline_of_the_client(database_dsn: str) -> None:
    pool = await open_pool(database_dsn, size=1, command_seconds=0.2)
    with pytest.raises(DeadlineExceeded), errors():
        await pool.execute("SELECT pg_sleep(3)")
    await pool.close()


async def test_a_row_locked_by_another_session_is_unavailable(database: asyncpg.Pool) -> None:
    await database.execute("CREATE TABLE one AS SELECT 1 AS n")
    async with database.acquire() as holder, holder.transaction():
        await holder.execute("SELECT * FROM one FOR UPDATE")
        with pytest.raises(Unavailable, match="locked"), errors():
            await database.execute("SET LOCAL lock_timeout = '50ms'; SELECT * FROM one FOR UPDATE")


async def test_a_session_that_is_ended_by_the_server_is_unavailable_and_the_pool_recovers(
    postgres: TestServer, database: asyncpg.Pool, database_dsn: str
) -> None:
    async with database.acquire() as connection:
        await postgres.admin(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database_of(database_dsn)}'"
        )
        with pytest.raises(Unavailable), errors():
            await connection.fetchval("SELECT 1")
        with pytest.raises(Unavailable), errors():
            await connection.fetchval("SELECT 1")
    assert await database.fetchval("SELECT 1") == 1


async def test_a_closed_pool_is_unavailable(database_dsn: str) -> None:
    pool = await open_pool(database_dsn, size=1)
    await pool.close()
    with pytest.raises(Unavailable), errors():
        await pool.fetchval("SELECT 1")


async def test_constraints_deadlocks_and_wrong_sql_are_left_to_the_caller(database: asyncpg.Pool) -> None:
    await database.execute("CREATE TABLE one (n int UNIQUE); INSERT INTO one VALUES (1)")
    with pytest.raises(asyncpg.UniqueViolationError), errors():
        await database.execute("INSERT INTO one VALUES (1)")
    with pytest.raises(asyncpg.PostgresSyntaxError), errors():
        await database.execute("SELEC 1")
    with pytest.raises(asyncpg.DataError), errors():
        await database.execute("SELECT $1::int", "one")


async def test_a_transaction_that_was_cancelled_leaves_nothing_behind_in_its_connection(database_dsn: str) -> None:
    pool = await open_pool(database_dsn, size=1)

    begun = asyncio.Event()

    async def work() -> None:
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("CREATE TABLE left_behind ()")
            begun.set()
            await connection.execute("SELECT pg_sleep(10)")

    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await pool.fetchval("SELECT to_regclass('left_behind')") is None
    await pool.close()


@pytest.mark.parametrize("password", ["hunter2#x", "hunter2?x", "hunter2/x", "x@hunter2", "hunter2%zz", "[hunter2"])
async def test_a_password_that_breaks_its_address_is_not_told(password):
    with pytest.raises(DtsError) as refused:
        await open_pool(f"postgresql://u:{password}@127.0.0.1:1/db", size=1)
    told = "".join(traceback.format_exception(refused.value))
    assert "hunter2" not in told
