"""A database role that is started while PostgreSQL is away (F27)."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from support.own_postgres import own_postgres
from support.polling import eventually
from support.postgres import open_directory
from support.system import DTS, TOKEN, start

SERVE = ("serve", "--role", "database", "--grpc", "127.0.0.1:0", "--migrate")


def environment(home: Path, dsn: str) -> dict[str, str]:
    return {"DTS_TOKEN": TOKEN, "DTS_DATA": str(home), "DTS_DSN": dsn}


async def test_a_database_role_waits_for_postgresql_and_serves_when_it_is_there():
    with open_directory() as data:
        async with own_postgres(data) as server:
            await server.kill()
            log = data / "database.log"
            starting = asyncio.create_task(start(*SERVE, environment=environment(data, server.dsn), log=log))
            await eventually(lambda: log.exists() and "waiting for the database" in log.read_text(), within=20)
            await server.restart()
            program = await asyncio.wait_for(starting, 30)
            assert await program.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_database_role_that_waits_ends_when_it_is_asked_to(tmp_path, number):
    nobody = environment(tmp_path, "postgresql://dts@127.0.0.1:1/dts")
    process = await asyncio.create_subprocess_exec(*DTS, *SERVE, env=nobody, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    async with asyncio.timeout(20):
        while b"waiting for the database" not in (line := await process.stderr.readline()):
            assert line, "it has ended"
    process.send_signal(number)
    assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_an_address_that_cannot_be_read_is_not_waited_for(tmp_path):
    process = await asyncio.create_subprocess_exec(
        *DTS, *SERVE, env=environment(tmp_path, "mysql://somewhere/x"), stderr=asyncio.subprocess.PIPE
    )
    _, said = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode
    assert b"is not a PostgreSQL address" in said
