"""`dts dev` with its embedded PostgreSQL: what is kept, what is refused, and that nothing stays behind."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

import pytest

from support.postgres import configured_binaries, open_directory
from support.system import TOKEN, System, run_dts, start

DEV = ("dev", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")


def settings(data: Path) -> dict[str, str]:
    binaries = configured_binaries()
    return {"DTS_TOKEN": TOKEN, "DTS_DATA": str(data)} | ({"DTS_PG_BIN": str(binaries)} if binaries else {})


@asynccontextmanager
async def running(data: Path) -> AsyncIterator[System]:
    environment = settings(data)
    program = await start(*DEV, environment=environment, log=data / "dts.log")
    try:
        yield System(program.grpc, program.http, data, {**environment, "DTS_SERVER": program.grpc}, {"dev": program})
    finally:
        await program.stop()


@pytest.fixture
def data() -> Iterator[Path]:
    with open_directory() as directory:
        yield directory


def postmaster(data: Path) -> int:
    return int((data / "postgres" / "cluster" / "postmaster.pid").read_text().split()[0])


def gone(pid: int) -> bool:
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


async def has_run(system: System) -> None:
    await system.dts("task", "create", "keep", "--noop")
    done = await system.dts("task", "trigger", "keep", "--wait")
    assert done.code == 0, done


async def runs(system: System) -> list[str]:
    return [run["id"] for run in json.loads((await system.dts("run", "list", "-o", "json")).out)]


@pytest.mark.parametrize("end", ["SIGTERM", "SIGINT", "SIGKILL", "SIGKILL of both"])
async def test_tasks_and_history_are_kept(data, end):
    async with running(data) as system:
        await has_run(system)
        before = await runs(system)
        server, program = postmaster(data), system.programs["dev"]
        if end == "SIGKILL of both":
            os.kill(server, signal.SIGKILL)
        program.process.send_signal(signal.Signals[end.split()[0]])
        code = await program.process.wait()
        if "KILL" not in end:
            assert code == 0
            assert gone(server)
    async with running(data) as system:
        assert await runs(system) == before
        assert "keep" in (await system.dts("task", "list")).out
        await has_run(system)
    assert not (data / "postgres" / "cluster" / "postmaster.pid").exists()


async def test_a_second_one_over_the_same_directory_is_refused(data):
    async with running(data) as system:
        second = await run_dts(*DEV, environment=settings(data))
        assert second.code == 1
        assert second.err.strip().splitlines()[-1].startswith(f"error: another dts uses {data}")
        assert second.out == ""
        assert (await system.dts("status")).code == 0


@contextmanager
def taken() -> Iterator[int]:
    with closing(socket.socket()) as door:
        door.bind(("127.0.0.1", 0))
        door.listen()
        yield door.getsockname()[1]


@pytest.mark.parametrize("option", ["--grpc", "--http"])
async def test_a_port_that_is_taken_is_named_and_nothing_stays_behind(data, option):
    with taken() as port:
        other = {"--grpc": "--http", "--http": "--grpc"}[option]
        address = f"127.0.0.1:{port}"
        done = await run_dts("dev", option, address, other, "127.0.0.1:0", environment=settings(data))
    assert done.code == 1
    assert f"error: cannot listen on {address}: Address already in use; another dts may be running" in done.err
    assert "Traceback" not in done.err
    assert not (data / "postgres" / "cluster" / "postmaster.pid").exists()


async def test_a_directory_that_cannot_be_had_is_named(data):
    blocked = data / "file"
    blocked.write_text("")
    done = await run_dts(*DEV, environment=settings(blocked))
    assert done.code == 1
    assert done.err.splitlines()[-1].startswith(f"error: cannot use {blocked}")
    assert "Traceback" not in done.err
    assert "bug" not in done.err
