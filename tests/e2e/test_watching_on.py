"""Whoever waits for a run at a terminal or in a script outlasts a restart of what it talks to."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from dts.pb.dts.v1 import ListRunsRequest, Trigger
from support.cables import cable
from support.polling import eventually
from support.postgres import TestServer, open_directory
from support.system import DTS, Calls, System, dev, start

pytestmark = pytest.mark.asyncio(loop_scope="module")

LINES = "echo one; echo two; while ! test -e {gate}; do sleep 0.05; done; echo three; echo four; exit {code}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(postgres: TestServer) -> AsyncIterator[System]:
    dsn = await postgres.create()
    with open_directory() as data:
        async with dev(data, environment={"DTS_DSN": dsn}) as running:
            yield running
            await running.programs["dev"].stop()
    await postgres.drop(dsn)


async def begun(system: System, *arguments: str, at: str = "") -> asyncio.subprocess.Process:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DTS_")}
    server = {"DTS_SERVER": at or system.grpc}
    return await asyncio.create_subprocess_exec(
        *DTS,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=clean | dict(system.environment) | server,
    )


async def gated(system: System, name: str, gate: Path, *, code: int = 0) -> None:
    """A task whose runs say two lines, wait for the gate, and say two more."""
    script = LINES.format(gate=gate, code=code)
    done = await system.dts("task", "create", name, "--process", "--", "sh", "-c", script)
    assert done.code == 0, done


async def line_of(stream: asyncio.StreamReader | None) -> bytes:
    assert stream is not None
    return await asyncio.wait_for(stream.readline(), 60)


async def started_again(system: System, *, gently: bool = False) -> None:
    """kill -9, or a stop as in an update; then a new process at the same addresses."""
    before = system.programs["dev"]
    await (before.stop() if gently else before.kill())
    system.programs["dev"] = await start(
        *("dev", "--grpc", before.grpc, "--http", before.http), environment=system.environment, log=before.log
    )


async def runs_of(calls: Calls, task: str, trigger: Trigger) -> list[str]:
    page = await calls.scheduler.list_runs(ListRunsRequest(task=task))
    return [run.id for run in page.runs if run.trigger is trigger]


@pytest.mark.parametrize("gently", [False, True], ids=["killed", "stopped"])
async def test_following_goes_on_where_it_was_and_ends_as_the_run_does(system, tmp_path, gently):
    name = "stopped" if gently else "killed"
    await gated(system, name, tmp_path / "go", code=3)
    follower = await begun(system, "task", "trigger", name, "--follow")
    assert [await line_of(follower.stdout) for _ in range(2)] == [b"one\n", b"two\n"]
    await started_again(system, gently=gently)
    (tmp_path / "go").touch()
    out, err = await asyncio.wait_for(follower.communicate(), 60)
    assert (out, follower.returncode) == (b"three\nfour\n", 1), err
    assert b"failed" in err.splitlines()[-1]


async def test_waiting_for_runs_outlasts_a_restart(system, tmp_path):
    await gated(system, "awaited", tmp_path / "go")
    waiter = await begun(system, "task", "trigger", "awaited", "--wait")
    run = (await line_of(waiter.stderr)).decode().split()[1]
    reader = await begun(system, "run", "logs", run[:12], "-f")
    assert [await line_of(reader.stdout) for _ in range(2)] == [b"one\n", b"two\n"]
    await started_again(system)
    (tmp_path / "go").touch()
    out, err = await asyncio.wait_for(waiter.communicate(), 60)
    assert (waiter.returncode, b"awaited succeeded" in err) == (0, True), err
    out, err = await asyncio.wait_for(reader.communicate(), 60)
    assert (out, reader.returncode) == (b"three\nfour\n", 0)
    assert err == b"" or err.startswith(b"waiting for dts")  # only where the new process took its time


@pytest.mark.parametrize("asking", [Trigger.MANUAL, Trigger.RETRY, Trigger.BACKFILL])
async def test_what_is_asked_for_again_after_a_lost_answer_is_done_once(system, asking):
    name = f"lost-{asking.name.lower()}"
    await system.dts("task", "create", name, "--cron", "0 3 * * *", "--noop")
    over = (await system.dts("task", "trigger", name, "--wait")).err.split()[1]
    span = ("--since", "2026-01-01T00:00:00Z", "--until", "2026-01-04T00:00:00Z")
    words = {
        Trigger.MANUAL: ("task", "trigger", name),
        Trigger.RETRY: ("run", "retry", over),
        Trigger.BACKFILL: ("task", "backfill", name, *span, "--wait"),
    }[asking]

    async with system.calls() as calls, cable(system.grpc) as wire:

        async def made() -> list[str]:
            return [run for run in await runs_of(calls, name, asking) if run != over]

        wire.answer_until(made)
        asker = await begun(system, *words, at=wire.at)
        await eventually(made, within=60)
        wire.cut()
        wire.mend()
        out, err = await asyncio.wait_for(asker.communicate(), 60)
        runs = await made()
    assert (asker.returncode, err) == (0, b"")
    several = asking is Trigger.BACKFILL
    assert len(runs) == (3 if several else 1)
    assert out == (b"3 ticks, 3 runs made\n3 succeeded, 0 did not\n" if several else f"{runs[0]}\n".encode())
