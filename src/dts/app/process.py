"""The life of a process: start what was built, say that it is ready, end in good order."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

from aiohttp import web

from dts.app import figures, readiness
from dts.app.dashboard import dashboard
from dts.app.house import House, build
from dts.app.node import Job
from dts.app.wiring import Wiring
from dts.domain.errors import DtsError, FailedPrecondition
from dts.pb.dts.v1 import PartStatus
from dts.roles.gateway.connect import ConnectApi
from dts.rpc.address import HostPort
from dts.rpc.http import HttpServer
from dts.rpc.rebinding import asked_of_this_machine
from dts.rpc.server import RpcServer
from dts.runtime.exposition import Exposition
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
    rpc = RpcServer(house.services, gate=house.gate)
    figures.of_rpc(house.metrics, rpc)
    async with AsyncExitStack() as stack:
        http = await _http(house, wiring, rpc, stack) if wiring.http is not None else None
        stack.push_async_callback(rpc.stop, GRACE_SECONDS)  # before HTTP, by which calls come too
        yield Doors(
            HostPort(wiring.grpc.host, await _listening(partial(rpc.start, tls=_facing(wiring)), wiring.grpc)), http
        )


async def _http(house: House, wiring: Wiring, rpc: RpcServer, stack: AsyncExitStack) -> HostPort:
    assert wiring.http is not None
    figures.of_build(house.metrics, version=version("dts"), roles=wiring.roles)
    figures.of_loops(house.metrics, house.loops)
    server = HttpServer(
        status=lambda: _parts(house, wiring, rpc),
        figures=Exposition(house.metrics).text,
        admit=_admission(house, wiring),
        routes=_public(house, wiring, rpc) if wiring.hosts("gateway") else (),
    )
    figures.of_http(house.metrics, server)
    stack.push_async_callback(server.stop)
    return HostPort(wiring.http.host, await _listening(partial(server.start, tls=_facing_web(wiring)), wiring.http))


def _public(house: House, wiring: Wiring, rpc: RpcServer) -> list[web.RouteDef]:
    """What the gateway serves over HTTP: the API as JSON, and the dashboard."""
    return [*ConnectApi(rpc.desk).routes(), *dashboard(house, wiring, stopping=lambda: rpc.desk.stopping)]


def _admission(house: House, wiring: Wiring) -> Callable[[Mapping[str, str]], Awaitable[object]] | None:
    """Who may see figures: on this machine its people, at the gateway's port who has a token, whatever it allows.

    Elsewhere the other roles are reached by nobody but the inside of the Swarm.
    """
    assert wiring.http is not None
    if wiring.http.is_loopback:
        return asked_of_this_machine
    return (lambda headers: house.gate.identify(headers, None)) if wiring.hosts("gateway") else None


async def _parts(house: House, wiring: Wiring, rpc: RpcServer) -> list[PartStatus]:
    if rpc.desk.stopping:
        return [PartStatus(part="process", well=False, detail="is stopping")]
    return await readiness.parts(house, wiring.roles)


def _facing(wiring: Wiring) -> ssl.SSLContext | None:
    """How callers are met. People have no certificate and come to the gateway only."""
    return None if wiring.tls is None else wiring.tls.server(strangers=wiring.hosts("gateway"))


def _facing_web(wiring: Wiring) -> ssl.SSLContext | None:
    """On this machine HTTP is in the clear: for health checks and proxies."""
    if wiring.tls is None or wiring.http is None or wiring.http.is_loopback:
        return None
    return wiring.tls.server(strangers=True, protocol="http/1.1")


async def _listening(start: Callable[[str, int], Awaitable[int]], address: HostPort) -> int:
    try:
        return await start(address.host, address.port)
    except OSError as error:
        # asyncio's own words repeat the address.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        why = f"cannot listen on {address}: {reason or error}; another dts may be running"
        raise FailedPrecondition(why, code="address.taken") from error
