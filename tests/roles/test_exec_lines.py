"""What commands in containers print, on its way to the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from uuid import UUID

from dts.docker.execs import ExecState
from dts.pb.dts.v1 import LogStream
from dts.roles.executor.exec import work as exec_work
from dts.roles.executor.exec.work import LINE_BYTES, Command, ExecWork, Lines


class Output:
    """Many pieces at once."""

    def __init__(self, count: int) -> None:
        self.count = count

    async def pieces(self) -> AsyncGenerator[tuple[int, bytes]]:
        for _ in range(self.count):
            yield 1, b"x" * 1000

    def close(self) -> None:
        """Nothing is open."""


class Ended:
    """An engine whose command has ended already."""

    def __init__(self, count: int) -> None:
        self.count = count

    async def start(self, _exec_id: str) -> Output:
        return Output(self.count)

    async def look(self, _exec_id: str) -> ExecState:
        return ExecState(running=False, exit_code=0)


async def test_a_line_that_never_ends_is_handed_on_in_parts():
    heard = bytearray()

    async def emit(_stream, content):
        heard.extend(content)

    lines = Lines(emit, "db")
    for _ in range(100):
        await lines.take(LogStream.STDOUT, b"x" * 16_000)
        assert sum(map(len, lines._rest.values())) < LINE_BYTES
    await lines.finish()
    assert heard.count(b"x") == 1_600_000
    assert all(line.startswith(b"db| x") for line in heard.splitlines())


async def test_a_slow_log_costs_nothing_of_what_was_printed(monkeypatch):
    monkeypatch.setattr(exec_work, "IDLE_SECONDS", 0.02)
    heard = bytearray()

    async def emit(_stream, content):
        await asyncio.sleep(0.1)  # more than the silence after which output is given up
        heard.extend(content)

    work = ExecWork(Ended(5), [Command("db", "c", "e")], key=(UUID(int=1), 1), discarded=lambda: None)
    await work.start()
    assert (await work.wait(emit)).exit_code == 0
    assert len(heard) == 5000


async def test_output_that_goes_on_makes_no_end_later(monkeypatch):
    """A process that the command left behind holds it open; a log store may be slow."""
    monkeypatch.setattr(exec_work, "IDLE_SECONDS", 0.3)

    async def emit(_stream, _content):
        await asyncio.sleep(0.3)

    command = Command("db", "c1", "e1")
    work = ExecWork(Ended(2), [command], key=(UUID(int=1), 1), discarded=lambda: None)
    await work.start()
    end = await work.wait(emit)
    assert end.ago.total_seconds() >= 0.3
