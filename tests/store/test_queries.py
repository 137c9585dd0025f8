from __future__ import annotations

import asyncpg
import pytest

from dts.store.queries import Query, parse, queries

# keep_some names a partition that the caller puts in; any partition has its shape.
TEXTS = {name: query.text.replace("partition_name", "run_history_rest") for name, query in queries().items()}


def test_a_section_is_a_name_its_parameters_and_a_statement() -> None:
    text = "-- About the file.\n\n-- name: one (a, b)\n-- Why.\nSELECT $1, $2;\n\n-- name: two ()\nSELECT 1;\n"
    assert parse("file", text) == {
        "one": Query("file", "one", "-- Why.\nSELECT $1, $2", ("a", "b")),
        "two": Query("file", "two", "SELECT 1", ()),
    }


@pytest.mark.parametrize("name", sorted(queries()))
async def test_every_statement_prepares_against_the_migrated_database(name: str, database: asyncpg.Pool) -> None:
    async with database.acquire() as connection:
        statement = await connection.prepare(TEXTS[name])
        assert len(statement.get_parameters()) == len(queries()[name].parameters)
