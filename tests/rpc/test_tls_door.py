"""Strangers that connect and shake no hands are bounded, as those are that say nothing afterwards."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime

import aiohttp
import pytest

from dts.app.pki import CA, issue, make_ca
from dts.pb.dts.v1 import SchedulerServiceBase
from dts.rpc.gate import Gate
from dts.rpc.http import HttpServer
from dts.rpc.http_bounds import HttpLimits
from dts.rpc.limits import Limits
from dts.rpc.server import RpcServer
from dts.rpc.tls import Tls, TlsFiles
from support.polling import eventually
from support.rpc import LOOPBACK, TOKEN

SECONDS = 5.0
ROOM = 3


@pytest.fixture
def tls(tmp_path) -> Tls:
    now = datetime.now(UTC)
    make_ca(tmp_path, now=now)
    issue(tmp_path, ["gateway"], now=now)
    return Tls(TlsFiles(tmp_path / CA, tmp_path / "gateway.pem"))


@asynccontextmanager
async def http(tls):
    async def well():
        return []

    server = HttpServer(status=well, limits=HttpLimits(connections=ROOM))
    port = await server.start(LOOPBACK, 0, tls=tls.server(strangers=True, protocol="http/1.1"))
    try:
        yield port
    finally:
        await server.stop()


@asynccontextmanager
async def rpc(tls):
    server = RpcServer([SchedulerServiceBase()], gate=Gate(TOKEN), limits=Limits(connections=ROOM))
    port = await server.start(LOOPBACK, 0, tls=tls.server(strangers=True))
    try:
        yield port
    finally:
        await server.stop(0)


@asynccontextmanager
async def silent(port, number):
    """Connections that say nothing, and which of them are open still."""
    async with AsyncExitStack() as stack:
        opened = []
        for _ in range(number):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            stack.callback(writer.close)
            opened.append(reader)
        yield opened


async def shaken(port):
    """Whether somebody gets in who does shake hands."""
    careless = ssl.create_default_context()
    careless.check_hostname, careless.verify_mode = False, ssl.CERT_NONE
    careless.set_alpn_protocols(["h2", "http/1.1"])
    try:
        _, writer = await asyncio.open_connection(LOOPBACK, port, ssl=careless)
    except (OSError, ssl.SSLError):
        return False
    writer.transport.abort()
    return True


@pytest.mark.parametrize("server", [http, rpc])
async def test_no_more_connections_are_held_than_may_be_though_they_never_shake_hands(server, tls):
    async with server(tls) as port:
        async with silent(port, 50) as opened:
            await eventually(lambda: sum(not _ended(reader) for reader in opened) == ROOM, within=SECONDS / 2)
            assert not await shaken(port)
        assert await eventually(lambda: shaken(port))


@pytest.mark.parametrize("server", [http, rpc])
async def test_room_comes_back_when_the_hands_are_not_shaken_in_time(server, tls, monkeypatch):
    monkeypatch.setattr("dts.rpc.tls_door.HANDSHAKE_SECONDS", 0.3)
    async with server(tls) as port, silent(port, ROOM) as opened:
        await eventually(lambda: all(_ended(reader) for reader in opened))
        assert await eventually(lambda: shaken(port))


async def test_room_comes_back_after_each_connection_that_was_served(tls):
    careless = ssl.create_default_context()
    careless.check_hostname, careless.verify_mode = False, ssl.CERT_NONE
    async with http(tls) as port:
        for _ in range(ROOM * 3):
            url = f"https://{LOOPBACK}:{port}/healthz"
            async with aiohttp.ClientSession() as session, session.get(url, ssl=careless) as response:
                assert response.status == 200


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" + bytes(500), bytes(100_000)])
async def test_room_comes_back_after_what_is_no_handshake(said, tls):
    async with http(tls) as port:
        for _ in range(ROOM * 3):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            writer.write(said)
            with suppress(ConnectionError):
                await asyncio.wait_for(reader.read(), SECONDS)
            writer.close()
        assert await eventually(lambda: shaken(port))


def _ended(reader):
    return reader.at_eof() or reader.exception() is not None
