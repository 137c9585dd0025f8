"""A bad connection of HTTP hurts only itself."""

import asyncio
import time
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from dts.pb.dts.v1 import PartStatus
from dts.rpc.http import HttpServer
from dts.rpc.http_bounds import HttpLimits
from support.polling import eventually
from support.rpc import LOOPBACK

SECONDS = 5.0
HEAD = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"


async def well():
    return [PartStatus(part="all", well=True)]


async def much(_request):
    return web.Response(body=bytes(50_000_000))


@asynccontextmanager
async def serving(**limits):
    server = HttpServer(status=well, limits=HttpLimits(**limits), routes=[web.get("/much", much)])
    port = await server.start(LOOPBACK, 0)
    try:
        yield server, port
    finally:
        await server.stop()


async def ask(port, path="/healthz"):
    async with aiohttp.ClientSession() as session, session.get(f"http://{LOOPBACK}:{port}{path}") as response:
        return response.status


@asynccontextmanager
async def connection(port, said=b""):
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        writer.write(said)
        yield reader, writer
    finally:
        writer.close()


async def closed(reader):
    """What is still said, once the other side has hung up."""
    try:
        return await asyncio.wait_for(reader.read(), SECONDS)
    except ConnectionError:
        return b""


@pytest.mark.parametrize("said", [b"", b"GET /hea", HEAD, HEAD + b"X-A: b\r\n", b"\x16\x03\x01\x02\x00\x01"])
async def test_a_head_that_does_not_come_ends_the_connection_and_nothing_else(said):
    async with serving(idle_seconds=0.3) as (server, port), connection(port, said) as (reader, _):
        await eventually(lambda: server.connections == 1)
        assert await ask(port) == 200
        await closed(reader)
        await eventually(lambda: server.connections == 0)


async def test_a_head_that_drips_gets_no_more_time_than_one_that_does_not_come():
    async with serving(idle_seconds=0.5) as (_, port), connection(port, HEAD) as (reader, writer):
        began = time.monotonic()
        dripping = asyncio.create_task(_drip(writer))
        await closed(reader)
        dripping.cancel()
        assert time.monotonic() - began < 3
        assert await ask(port) == 200


async def _drip(writer):
    while True:
        writer.write(b"X-A: b\r\n"[:1])
        await asyncio.sleep(0.05)


async def test_a_connection_that_is_done_is_closed_when_it_is_idle():
    async with serving(idle_seconds=0.3) as (server, port), connection(port, HEAD + b"\r\n") as (reader, _):
        assert b"200 OK" in await closed(reader)
        await eventually(lambda: server.connections == 0)


async def test_connections_over_the_limit_are_closed_at_once_and_room_comes_back():
    async with serving(connections=3) as (server, port):
        opened = [await asyncio.open_connection(LOOPBACK, port) for _ in range(3)]
        await eventually(lambda: server.connections == 3)
        with pytest.raises(aiohttp.ClientError):
            await ask(port)
        first = opened[0][1]
        first.close()
        await eventually(lambda: server.connections == 2)
        assert await ask(port) == 200
        for _, writer in opened:
            writer.close()


async def test_a_connection_within_the_limit_is_served_while_the_limit_is_reached():
    async with serving(connections=2) as (server, port), connection(port) as (reader, writer), connection(port):
        await eventually(lambda: server.connections == 2)
        writer.write(HEAD + b"\r\n")
        assert b"200 OK" in await asyncio.wait_for(reader.readline(), SECONDS)


@pytest.mark.parametrize(
    "said",
    [
        b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        HEAD + b"X-A: " + b"y" * 5000 + b"\r\n\r\n",
        HEAD + b"".join(b"X-%d: y\r\n" % n for n in range(100)) + b"\r\n",
        HEAD + b"X" * 5000 + b": y\r\n\r\n",
    ],
    ids=["line", "value", "number", "name"],
)
async def test_a_head_that_is_too_large_is_refused(said):
    async with serving() as (_, port), connection(port, said) as (reader, _):
        assert b" 400 " in (await closed(reader)).split(b"\r\n")[0]
        assert await ask(port) == 200


@pytest.mark.parametrize("said", [b"X-A: " + b"y" * 100_000_000, b"X" * 100_000_000])
async def test_a_line_without_an_end_is_not_collected(said):
    async with serving() as (_, port), connection(port, HEAD) as (reader, writer):
        writer.write(said)
        await closed(reader)
        assert await ask(port) == 200


@pytest.mark.parametrize(
    "said",
    [
        b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        bytes(range(256)) + b"\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_refused_and_the_connection_closed(said, caplog):
    async with serving() as (_, port), connection(port, said) as (reader, writer):
        answer = await closed(reader)
        assert b" 200 " not in answer
        assert b"Traceback" not in answer
        assert await ask(port) == 200
        writer.close()
    assert [record for record in caplog.records if record.levelname in {"ERROR", "WARNING"}] == []


async def test_a_caller_that_does_not_read_is_cut_off():
    async with serving(stalled_seconds=0.3) as (server, port):
        said = b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n"
        async with connection(port, said) as (reader, _):
            await asyncio.wait_for(reader.readline(), SECONDS)
            assert await ask(port) == 200
            await eventually(lambda: server.connections == 0)


async def test_many_requests_at_once_on_one_connection_are_answered_one_after_the_other():
    async with serving() as (_, port), connection(port, (HEAD + b"\r\n") * 500) as (reader, writer):
        assert await ask(port) == 200
        for _ in range(500):
            answer = await asyncio.wait_for(reader.readuntil(b"ok\n"), SECONDS)
            assert answer.startswith(b"HTTP/1.1 200")
        writer.close()


async def test_a_body_of_a_refused_request_is_not_waited_for():
    said = b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\nabc"
    async with serving(linger_seconds=0.2) as (_, port), connection(port, said) as (reader, _):
        assert b" 405 " in await closed(reader)
