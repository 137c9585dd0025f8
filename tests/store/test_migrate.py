from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from dts.domain.errors import FailedPrecondition, Internal, Unavailable
from dts.store.migrate import Migration, check_version, current_version, load, migrate


def folder(path: Path, *texts: str, names: tuple[str, ...] = ()) -> tuple[Migration, ...]:
    path.mkdir(exist_ok=True)
    for number, text in enumerate(texts, start=1):
        (path / f"{number:04}_step.sql").write_text(text)
    for name in names:
        (path / name).write_text("SELECT 1")
    return load(path)


@pytest.fixture
async def connection(empty_database_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(empty_database_dsn)
    yield connection
    await connection.close()


async def test_the_migrations_of_dts_bring_an_empty_database_to_the_version_of_this_binary(
    connection: asyncpg.Connection,
) -> None:
    with pytest.raises(FailedPrecondition, match=r"at version 0.*run `dts db migrate`"):
        await check_version(connection)
    assert await migrate(connection) == list(load())
    await check_version(connection)
    assert await current_version(connection) == len(load())
    assert await migrate(connection) == []


async def test_many_runners_at_once_apply_each_migration_once(empty_database_dsn: str, tmp_path: Path) -> None:
    steps = folder(tmp_path, "CREATE TABLE a ()", "CREATE TABLE b ()", "SELECT pg_sleep(0.2)")

    async def run() -> list[int]:
        connection = await asyncpg.connect(empty_database_dsn)
        try:
            return [migration.version for migration in await migrate(connection, steps)]
        finally:
            await connection.close()

    assert sorted(await asyncio.gather(*(run() for _ in range(6)))) == [[], [], [], [], [], [1, 2, 3]]


async def test_a_runner_that_waits_too_long_says_so(
    connection: asyncpg.Connection, empty_database_dsn: str, tmp_path: Path
) -> None:
    holder = await asyncpg.connect(empty_database_dsn)
    await holder.execute(f"SELECT pg_advisory_lock({int.from_bytes(b'dts-migr')})")
    with pytest.raises(Unavailable, match="another process"):
        await migrate(connection, folder(tmp_path, "SELECT 1"), wait=0.2)
    await holder.close()


async def test_a_file_that_was_edited_after_it_ran_is_refused(connection: asyncpg.Connection, tmp_path: Path) -> None:
    await migrate(connection, folder(tmp_path, "CREATE TABLE a ()"))
    edited = folder(tmp_path, "CREATE TABLE a (b int)")
    for refused in (migrate(connection, edited), check_version(connection, edited)):
        with pytest.raises(FailedPrecondition, match=r"0001_step\.sql.*changed"):
            await refused


async def test_line_ends_of_another_system_are_no_edit(connection: asyncpg.Connection, tmp_path: Path) -> None:
    await migrate(connection, folder(tmp_path, "CREATE TABLE a (\nb int\n)"))
    (tmp_path / "0001_step.sql").write_bytes(b"CREATE TABLE a (\r\nb int\r\n)")
    await check_version(connection, load(tmp_path))


async def test_a_database_newer_than_the_binary_is_refused(connection: asyncpg.Connection, tmp_path: Path) -> None:
    both = folder(tmp_path, "CREATE TABLE a ()", "CREATE TABLE b ()")
    await migrate(connection, both)
    for refused in (migrate(connection, both[:1]), check_version(connection, both[:1])):
        with pytest.raises(FailedPrecondition, match="version 2, this dts knows only 1"):
            await refused


async def test_a_migration_that_fails_names_file_and_line_and_leaves_nothing(
    connection: asyncpg.Connection, tmp_path: Path
) -> None:
    steps = folder(tmp_path, "CREATE TABLE a ()", "CREATE TABLE b ();\n\nCREATE TABLE\n  a.b.c.d ();")
    with pytest.raises(Internal, match=r"0002_step\.sql line 4: "):
        await migrate(connection, steps)
    assert await current_version(connection) == 1
    assert await connection.fetchval("SELECT to_regclass('b')") is None


async def test_an_error_without_a_place_in_the_text_still_names_the_file(
    connection: asyncpg.Connection, tmp_path: Path
) -> None:
    with pytest.raises(Internal, match=r"0001_step\.sql: division by zero"):
        await migrate(connection, folder(tmp_path, "CREATE TABLE a ();\nSELECT 1 / count(*) FROM a"))
    assert await connection.fetchval("SELECT to_regclass('a')") is None


async def test_an_index_can_be_built_concurrently_while_another_runner_waits(
    connection: asyncpg.Connection, empty_database_dsn: str, tmp_path: Path
) -> None:
    steps = folder(
        tmp_path,
        "CREATE TABLE a AS SELECT n FROM generate_series(1, 200000) AS n",
        "-- dts: no-transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS a_n ON a (n)",
    )
    other = await asyncpg.connect(empty_database_dsn)
    applied = await asyncio.gather(migrate(connection, steps), migrate(other, steps))
    assert sorted(map(len, applied)) == [0, 2]
    await other.close()


async def test_a_table_locked_by_another_session_is_waited_for(
    connection: asyncpg.Connection, empty_database_dsn: str, tmp_path: Path
) -> None:
    await migrate(connection, folder(tmp_path, "CREATE TABLE a ()"))
    holder = await asyncpg.connect(empty_database_dsn)
    transaction = holder.transaction()
    await transaction.start()
    await holder.execute("LOCK TABLE a")
    migrating = asyncio.create_task(
        migrate(connection, folder(tmp_path, "CREATE TABLE a ()", "ALTER TABLE a ADD b int"))
    )
    done, _ = await asyncio.wait([migrating], timeout=2.3)  # longer than one try waits
    assert not done
    await transaction.rollback()
    assert [migration.version for migration in await migrating] == [2]
    await holder.close()


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("0002_second.sql",), "expected number 0001, found 0002_second.sql"),
        (("0001_a.sql", "0001_b.sql"), "expected number 0002, found 0001_b.sql"),
        (("0001_a.sql", "0003_c.sql"), "expected number 0002, found 0003_c.sql"),
        (("1_a.sql",), "1_a.sql is not named like"),
        (("0001_A.sql",), "0001_A.sql is not named like"),
    ],
)
def test_wrong_names_and_gaps_are_refused(tmp_path: Path, names: tuple[str, ...], said: str) -> None:
    with pytest.raises(Internal, match=said):
        folder(tmp_path, names=names)


def test_other_files_and_the_dump_of_the_schema_are_no_migrations(tmp_path: Path) -> None:
    assert folder(tmp_path, names=("schema.sql", "README.md")) == ()


async def test_channels_of_before_there_were_seals_are_kept(connection: asyncpg.Connection) -> None:
    await migrate(connection, load()[:8])
    await connection.execute("""
        INSERT INTO channel (id, name, kind, events, tasks, labels, late_after, stuck_after, remind_every, target,
            shown, signing_key, created_at, created_by)
        VALUES (gen_random_uuid(), 'ops', 1, 1, '{}', '{}', '1 min', '1 h', '4 h', 'https://example.com/zürich',
            'https://example.com', repeat('k', 32)::bytea, now(), 'me')
    """)
    await migrate(connection)
    sealed = await connection.fetchval("SELECT sealed FROM channel")
    assert sealed == b"\x00" + b"k" * 32 + "https://example.com/zürich".encode()
