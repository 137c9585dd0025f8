"""How long the command line takes, against an interpreter that does nothing."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Mapping

from bench.figures import Figure, compared
from support.postgres import TestServer, open_directory
from support.system import DTS, dev

ROUNDS = 9
MARKS = {"--help": 200, "run list": 600}


async def figures(server: TestServer) -> list[Figure]:
    """Medians of wall times."""
    dsn = await server.create()
    with open_directory() as data:
        async with dev(data, environment={"DTS_DSN": dsn, "DTS_LOG_LEVEL": "WARNING"}) as system:
            bare = Figure("python -c pass", await _wall(system.environment, sys.executable, "-c", "pass"), "ms")
            rows = [bare]
            for command, mark in MARKS.items():
                took = await _wall(system.environment, *DTS, *command.split())
                rows.append(_figure(command, took, bare, mark))
    await server.drop(dsn)
    return rows


def _figure(command: str, took: float, bare: Figure, mark: int) -> Figure:
    return compared(f"dts {command}", took, "ms", bare, mark=f"≤ {mark} ms", meets=lambda value, _: value <= mark)


async def _wall(environment: Mapping[str, str], *command: str) -> float:
    samples = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *command,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin", **environment},
        )
        await process.wait()
        samples.append((time.perf_counter() - begun) * 1000)
    return statistics.median(samples)
