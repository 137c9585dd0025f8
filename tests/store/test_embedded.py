"""The embedded PostgreSQL: kept, adopted, recovered, alone, and for an ordinary user as well as for root."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import textwrap
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from dts.domain.errors import FailedPrecondition
from dts.store.embedded import EmbeddedPostgres
from support.polling import eventually
from support.postgres import configured_binaries, open_directory

NOBODY = 65534
SYSTEM_PYTHON = "/usr/bin/python3"
FAST = {"fsync": "off"}


@pytest.fixture
def home() -> Iterator[Path]:
    with open_directory() as directory:
        yield directory


def server_over(home: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(data_dir=home / "postgres", binaries=configured_binaries(), settings=FAST)


async def execute(dsn: str, statement: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_what_was_stored_is_there_after_a_restart(home):
    async with server_over(home) as server:
        await execute(server.dsn(), "CREATE TABLE kept AS SELECT 7 AS n")
    async with server_over(home) as server:
        assert await execute(server.dsn(), "SELECT n FROM kept") == 7
        assert not server.adopted


async def test_after_a_kill_of_the_server_it_recovers(home):
    async with server_over(home) as server:
        await execute(server.dsn(), "CREATE TABLE kept AS SELECT 7 AS n")
        os.kill(server.pid, signal.SIGKILL)
        await eventually(lambda: not alive(server.pid))
    async with server_over(home) as server:
        assert await execute(server.dsn(), "SELECT n FROM kept") == 7


OWNER = """
import asyncio, pathlib, sys
sys.path[:0] = {path!r}
from dts.store.embedded import EmbeddedPostgres

async def main():
    server = EmbeddedPostgres(data_dir=pathlib.Path(sys.argv[1]), settings={{"fsync": "off"}})
    await server.start()
    print(server.pid, server.dsn(), flush=True)
    if sys.argv[2:] == ["stop"]:
        await server.stop()
    else:
        await asyncio.Event().wait()

asyncio.run(main())
"""


def owner(home: Path, *arguments: str, python: str = sys.executable, **options) -> subprocess.Popen[str]:
    """Another process that starts a server over the directory."""
    source = Path(__file__).resolve().parents[2] / "src"
    program = textwrap.dedent(OWNER).format(path=[str(source), sysconfig.get_path("purelib")])
    command = [python, "-c", program, str(home / "postgres"), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


async def test_a_server_whose_owner_was_killed_is_adopted_as_it_runs(home):
    with owner(home) as first:
        pid = int(first.stdout.readline().split()[0])
        first.kill()
    async with server_over(home) as server:
        assert server.adopted
        assert server.pid == pid
        assert await execute(server.dsn(), "SELECT 1") == 1
    assert not alive(pid)


async def test_two_over_the_same_directory_is_one_too_many(home):
    with owner(home) as first:
        first.stdout.readline()
        with pytest.raises(FailedPrecondition, match="another dts"):
            await server_over(home).start()
        first.send_signal(signal.SIGKILL)
    async with server_over(home):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="the tests run as an ordinary user already: all of them show it")
async def test_an_ordinary_user_runs_it_too(home):
    python = next((path for path in (sys.executable, SYSTEM_PYTHON) if usable_by_all(path)), None)
    if python is None:
        pytest.skip("no interpreter of our version is open to other users")
    own = home / "own"
    own.mkdir()
    os.chown(own, NOBODY, NOBODY)
    environment = {"HOME": str(own), "PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(own)}
    done = owner(own, "stop", python=python, user=NOBODY, group=NOBODY, extra_groups=[], env=environment, cwd="/")
    out, err = done.communicate(timeout=60)
    assert done.returncode == 0, err
    assert "host=" in out
    assert {path.stat().st_uid for path in own.iterdir()} == {NOBODY}


def usable_by_all(python: str) -> bool:
    """Whether a user that is nobody can run an interpreter of our version, and read what it needs."""
    places = [Path(python), Path(python).resolve(), Path(__file__).resolve(), Path(sysconfig.get_path("purelib"))]
    if not all(place.exists() and parent.stat().st_mode & 0o001 for place in places for parent in place.parents):
        return False
    said = subprocess.run([python, "-V"], capture_output=True, text=True, check=True).stdout
    return said.startswith(f"Python {sys.version_info.major}.{sys.version_info.minor}.")


def alive(pid: int | None) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
