"""The life of a process: start what was built, say that it is ready, end in good order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from dts.app.house import House, Job, build
from dts.app.wiring import Wiring
from dts.domain.errors import DtsError, FailedPrecondition
from dts.pb.dts.v1 import GetStatusRequest, GetStatusResponse
from dts.roles.gateway.http import HttpServer
from dts.rpc.address import HostPort
from dts.rpc.server import RpcServer
from dts.runtime.loop import watch

log = logging.getLogger(__name__)

DRAIN_SECONDS = 5.0
"""How long an executor that stops waits for its last reports to be acknowledged. Work itself goes on without it."""

GRACE_SECONDS = 5.0
"""How long calls that are under way get."""


@dataclass(frozen=True, slots=True)
class Doors:
    """Where a process listens."""

    grpc: HostPort
    http: HostPort | None


Ready = Callable[[House, Doors], Awaitable[None]]


async def run(wiring: Wiring, *, stop: asyncio.Event, ready: Ready) -> None:
    """Hosts the roles until `stop` is set, or until something cannot go on.

    Args:
        wiring: what to host and where.
        stop: ends it in good order.
        ready: called once calls are taken.

    Raises:
        DtsError: what ended it, if it was not `stop`.
    """
    async with AsyncExitStack() as stack:
        house = await build(wiring, stack)
        try:
            async with asyncio.TaskGroup() as group:
                await _live(group, house, wiring, stop=stop, ready=ready)
        except* DtsError as errors:
            raise errors.exceptions[0] from None


async def _live(group: asyncio.TaskGroup, house: House, wiring: Wiring, *, stop: asyncio.Event, ready: Ready) -> None:
    async with _servers(house, wiring) as doors:
        jobs = [group.create_task(_run(job), name=name) for name, job in house.jobs.items()]
        jobs.append(group.create_task(watch(house.loops), name="watch"))
        await ready(house, doors)
        await stop.wait()
        log.info("stopping")
        if house.executor is not None:
            await house.executor.drain(DRAIN_SECONDS)
        if house.hub is not None:
            house.hub.close()
    for job in jobs:
        job.cancel()


async def _run(job: Job) -> None:
    await job()


@asynccontextmanager
async def _servers(house: House, wiring: Wiring) -> AsyncIterator[Doors]:
    """Listens; at the end lets calls finish."""
    rpc = RpcServer(house.services, token=wiring.token)
    http = HttpServer(status=_status(house)) if wiring.hosts("gateway") else None
    try:
        port = await _listening(rpc.start, wiring.grpc)
        http_port = await _listening(http.start, wiring.http) if http else 0
        yield Doors(HostPort(wiring.grpc.host, port), HostPort(wiring.http.host, http_port) if http else None)
    finally:
        if http is not None:
            await http.stop()
        await rpc.stop(GRACE_SECONDS)


async def _listening(start: Callable[[str, int], Awaitable[int]], address: HostPort) -> int:
    try:
        return await start(address.host, address.port)
    except OSError as error:
        why = f"cannot listen on {address}: {error.strerror or error}; another dts may be running"
        raise FailedPrecondition(why, code="address.taken") from error


def _status(house: House) -> Callable[[], Awaitable[GetStatusResponse]]:
    async def status() -> GetStatusResponse:
        assert house.scheduler is not None
        return await house.scheduler.get_status(GetStatusRequest())

    return status
