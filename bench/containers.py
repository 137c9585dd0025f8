"""Containers a second of `true`, four at a time, through dts against the bare engine."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator

from aiodocker import Docker
from aiodocker.types import JSONValue

from bench.backlog import backlog, interleaved
from bench.figures import Figure, compared
from dts.pb.dts.v1 import ContainerKind, Kind, PullPolicy
from support.engine import IMAGE, NoEngine, running_engine
from support.postgres import TestServer

AT_ONCE = 4
ROUNDS = 4
SIZE = 96
MARK = 0.9

CONFIG: dict[str, JSONValue] = {
    "Image": IMAGE,
    "Cmd": ["true"],
    # As dts asks for them: what an init process and a log cost is the engine's, not dts's.
    "HostConfig": {"Init": True, "LogConfig": {"Type": "local", "Config": {"max-size": "20m", "max-file": "3"}}},
}


async def figures(server: TestServer) -> list[Figure]:
    """Rounds of dts and of the bare engine; nothing where no engine can be had."""
    try:
        with running_engine() as host:
            return await _figures(server, host)
    except NoEngine as error:
        print(f"  containers are left out: {error}", file=sys.stderr)
        return []


async def _figures(server: TestServer, host: str) -> list[Figure]:
    kind = Kind(container=ContainerKind(image=IMAGE, command=["true"], pull=PullPolicy.NEVER))
    environment = {"DOCKER_HOST": host, "DTS_SLOTS": str(AT_ONCE)}
    async with Docker(host) as docker, backlog(server, kind, environment) as dts:

        async def bare(size: int) -> float:
            return await _bare(docker, size)

        medians = await interleaved(dts, bare, rounds=ROUNDS, size=SIZE)
    return [
        compared(
            f"containers, {AT_ONCE} at once",
            medians.dts,
            "containers/s",
            Figure("bare engine", medians.bare, "containers/s"),
            mark=f"≥ {MARK:g} × the bare engine",
            meets=lambda _, ratio: ratio >= MARK,
        ),
        Figure("dts's own CPU for a container", medians.cpu * 1000, "ms"),
    ]


async def _bare(docker: Docker, size: int) -> float:
    left = iter(range(size))
    begun = time.perf_counter()
    await asyncio.gather(*(_one_after_another(docker, left) for _ in range(AT_ONCE)))
    return size / (time.perf_counter() - begun)


async def _one_after_another(docker: Docker, left: Iterator[int]) -> None:
    for _ in left:
        container = await docker.containers.create(CONFIG)
        await container.start()
        await container.wait()
        await container.log(stdout=True, stderr=True)
        await container.delete()
