"""`dts probe`, against real servers."""

import asyncio
import socket
import sys
from asyncio.subprocess import PIPE, STDOUT
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from dts.app.pki import CA, issue, make_ca
from dts.cli.main import run
from dts.cli.probing import by_either
from dts.pb.dts.v1 import PartStatus, SchedulerServiceBase
from dts.rpc.http import HttpServer
from dts.rpc.tls import Tls, TlsFiles
from support.rpc import LOOPBACK, listening


async def probe(*arguments):
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "dts", "probe", *arguments, stdout=PIPE, stderr=STDOUT
    )
    said, _ = await asyncio.wait_for(program.communicate(), 20)
    return program.returncode, said.decode()


@asynccontextmanager
async def http(*, well=True):
    async def status():
        return [PartStatus(part="database", well=well, detail="as it is")]

    server = HttpServer(status=status)
    port = await server.start(LOOPBACK, 0)
    try:
        yield f"http://{LOOPBACK}:{port}"
    finally:
        await server.stop()


@asynccontextmanager
async def odd(said):
    async def answer(_reader, writer):
        writer.write(said)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, LOOPBACK, 0)
    try:
        yield f"http://{LOOPBACK}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def test_a_process_that_answers_is_well():
    async with http() as url:
        assert await probe("--http", f"{url}/healthz") == (0, "ok\n")


@pytest.mark.parametrize(("well", "code"), [(True, 0), (False, 1)])
async def test_readiness_can_be_asked_for_too(well, code):
    async with http(well=well) as url:
        assert (await probe("--http", f"{url}/readyz"))[0] == code


async def test_a_server_of_grpc_is_asked_without_a_token():
    async with listening(SchedulerServiceBase()) as (_, port):
        assert await probe("--grpc", f"{LOOPBACK}:{port}") == (0, "serving\n")


async def test_a_server_that_stops_is_not_well():
    async with listening(SchedulerServiceBase()) as (server, port):
        server.health.set_all(serving=False)
        code, said = await probe("--grpc", f"{LOOPBACK}:{port}")
    assert (code, said) == (1, f"{LOOPBACK}:{port}: not serving\n")


@pytest.mark.parametrize("option", [("--http", "http://127.0.0.1:1/healthz"), ("--grpc", "127.0.0.1:1")])
async def test_nobody_there_is_a_line_and_exit_code_1(option):
    code, said = await probe(*option)
    assert code == 1
    assert said.count("\n") == 1
    assert "127.0.0.1:1" in said


@pytest.mark.parametrize("said", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 503 Away\r\n\r\n", b"\xff" * 5000])
async def test_any_other_answer_is_not_well(said):
    async with odd(said) as url:
        assert (await probe("--http", url))[0] == 1


async def test_a_server_that_says_nothing_is_given_up():
    with socket.create_server((LOOPBACK, 0)) as silent:
        port = silent.getsockname()[1]
        code, said = await probe("--http", f"http://{LOOPBACK}:{port}/", "--timeout", "0.2")
    assert (code, said) == (1, f"{LOOPBACK}:{port}: no answer in time\n")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "127.0.0.1:7462", "http://", "http://a b/", "http://a:99999/"])
def test_what_is_no_url_of_http_is_refused(url, capsys):
    assert run(["probe", "--http", url]) == 1
    assert "http://HOST:PORT/PATH" in capsys.readouterr().out


def test_only_one_way_can_be_asked_for():
    assert run(["probe", "--http", "http://a/", "--grpc", "a:1"]) == 2


async def test_it_is_quick():
    loop = asyncio.get_running_loop()
    async with http() as url:
        took = []
        for _ in range(3):
            began = loop.time()
            await probe("--http", url + "/healthz")
            took.append(loop.time() - began)
    assert min(took) < 1.0


async def test_asking_over_http_imports_neither_grpc_nor_the_messages():
    program = (
        "import sys; from dts.cli import probe, probing\n"
        "try: probing.by_http('http://127.0.0.1:1/', 1)\n"
        "except probing.Unwell: print([m for m in ('grpclib', 'dts.pb', 'asyncio', 'aiohttp') if m in sys.modules])"
    )
    found = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=PIPE)
    assert (await found.communicate())[0] == b"[]\n"


async def test_a_gateway_that_speaks_tls_is_asked_so(tmp_path):
    async def status():
        return []

    make_ca(tmp_path, now=datetime.now(UTC))
    own = issue(tmp_path, ["gateway"], now=datetime.now(UTC))
    tls = Tls(TlsFiles(tmp_path / CA, own.path)).server(strangers=True, protocol="http/1.1")
    server = HttpServer(status=status)
    port = await server.start(LOOPBACK, 0, tls)
    try:
        assert await probe("--http", f"https://{LOOPBACK}:{port}/healthz") == (0, "ok\n")
        url = f"http://{LOOPBACK}:{port}/healthz"
        assert await asyncio.to_thread(by_either, url, "", 5) == "ok"
        assert (await probe("--http", url))[0] == 1
    finally:
        await server.stop()
