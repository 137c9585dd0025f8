"""Processes a second of `true`, eight at a time, through dts against nothing but starting them and waiting."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator

from bench.backlog import backlog, interleaved
from bench.figures import Figure, compared
from dts.pb.dts.v1 import Kind, ProcessKind
from support.postgres import TestServer

AT_ONCE = 8
ROUNDS = 12
SIZE = 400
MARK = 0.5


async def figures(server: TestServer) -> list[Figure]:
    """Rounds of dts and of bare processes."""
    kind = Kind(process=ProcessKind(command=["true"]))
    async with backlog(server, kind, {"DTS_SLOTS": str(AT_ONCE)}) as dts:
        medians = await interleaved(dts, _bare, rounds=ROUNDS, size=SIZE)
    return [
        compared(
            f"processes, {AT_ONCE} at once",
            medians.dts,
            "processes/s",
            Figure("Popen and wait", medians.bare, "processes/s"),
            mark=f"≥ {MARK:g} × bare",
            meets=lambda _, ratio: ratio >= MARK,
        ),
        Figure("dts's own CPU for a process", medians.cpu * 1000, "ms"),
    ]


async def _bare(size: int) -> float:
    left = iter(range(size))
    begun = time.perf_counter()
    await asyncio.gather(*(_one_after_another(left) for _ in range(AT_ONCE)))
    return size / (time.perf_counter() - begun)


async def _one_after_another(left: Iterator[int]) -> None:
    for _ in left:
        process = subprocess.Popen(["true"])  # noqa: ASYNC220, S607 - it is what is measured
        await _end_of(process)
        process.wait()


async def _end_of(process: subprocess.Popen[bytes]) -> None:
    """Waits as dts does: on a descriptor of the process."""
    descriptor = os.pidfd_open(process.pid)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
