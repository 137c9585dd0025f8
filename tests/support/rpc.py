"""Calls a service both ways: the object itself, and a stub over a real socket.

@both_transports
async def test_a_task_can_be_read_back(transport):
    async with reach(transport, Service(...), TaskDefinitionServiceStub) as tasks:
        await tasks.get_task(GetTaskRequest(task="backup"))
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal, TypeVar, cast

import pytest
from betterproto2.grpclib import ServiceStub

from dts.rpc.address import HostPort
from dts.rpc.channel import Channel, connect
from dts.rpc.direct import in_process
from dts.rpc.gate import Gate, OpenGate
from dts.rpc.server import RpcServer, Service
from dts.rpc.stubs import stub

Transport = Literal["direct", "wire"]
S = TypeVar("S", bound=ServiceStub)

TOKEN = "a-token-for-tests"
LOOPBACK = "127.0.0.1"

both_transports = pytest.mark.parametrize("transport", ["direct", "wire"])
"""Runs a test twice: against the object itself and over a socket."""


@asynccontextmanager
async def reach(
    transport: Transport,
    service: Service,
    cls: type[S],
    *,
    timeout: float | None = 10.0,  # noqa: ASYNC109 - of calls
) -> AsyncIterator[S]:
    """What a role would be given to call the service with.

    Args:
        transport: how to reach it.
        service: the object.
        cls: its generated stub.
        timeout: default deadline of its unary calls, in seconds.
    """
    if transport == "direct":
        yield cast("S", in_process(service, timeout=timeout))
        return
    async with serving(service) as channel:
        yield stub(cls, channel, timeout=timeout)


@asynccontextmanager
async def serving(*services: Service, **options: Any) -> AsyncIterator[Channel]:
    """A channel to a server of these services on a port of its own; both end with the block."""
    async with listening(*services, **options) as (_, port):
        channel = connect([HostPort(LOOPBACK, port)], token=options.get("token", TOKEN))
        try:
            yield channel
        finally:
            channel.close()


@asynccontextmanager
async def listening(*services: Service, **options: Any) -> AsyncIterator[tuple[RpcServer, int]]:
    """A server of these services and its port."""
    token = options.pop("token", TOKEN)
    gate = options.pop("gate", None) or (OpenGate() if token is None else Gate(token))
    server = RpcServer(services, gate=gate, **options)
    port = await server.start(LOOPBACK, 0)
    try:
        yield server, port
    finally:
        await server.stop(0)


@asynccontextmanager
async def serving_tls(service: Service, *, gate: Gate, tls: ssl.SSLContext | None) -> AsyncIterator[int]:
    """The port of a server that meets its callers with these certificates."""
    server = RpcServer([service], gate=gate)
    port = await server.start(LOOPBACK, 0, tls)
    try:
        yield port
    finally:
        await server.stop(0)


@contextmanager
def connect_to(port: int, *, token: str = TOKEN) -> Iterator[Channel]:
    """A channel to a port of this machine."""
    channel = connect([HostPort(LOOPBACK, port)], token=token)
    try:
        yield channel
    finally:
        channel.close()
