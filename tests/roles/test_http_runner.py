"""Requests over HTTP, to a real server on loopback."""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
import math
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from aiohttp import web

from dts.domain.node_policy import NodePolicy
from dts.pb.dts.v1 import HttpKind, Kind, LogStream, Reason, WorkSpec
from dts.roles.executor.http.runner import HttpRunner
from dts.roles.executor.work import Job, Refused

OPEN = NodePolicy(private_addresses=(ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1")))
AT = datetime(2026, 3, 1, 2, 30, tzinfo=UTC)


def job(**kind) -> Job:
    spec = WorkSpec(task="hook", kind=Kind(http=HttpKind(**kind)))
    return Job(UUID(int=7), 1, AT, None, spec, {"who": "a&b/c d", "line": "x\r\nevil: 1"}, math.inf)


class Seen:
    """What came to the server."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str], str]] = []
        self.arrived = asyncio.Event()


@asynccontextmanager
async def server(answer):
    """A server whose every path is answered by `answer(request)`; yields its address and what it saw."""
    seen = Seen()

    async def handle(request: web.Request) -> web.StreamResponse:
        seen.requests.append((request.method, request.path_qs, dict(request.headers), await request.text()))
        seen.arrived.set()
        return await answer(request)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", seen
    finally:
        await runner.cleanup()


async def ok(_request):
    return web.Response(text="done\n")


async def run(job_: Job, policy: NodePolicy = OPEN):
    printed: dict[LogStream, bytes] = {LogStream.STDOUT: b"", LogStream.STDERR: b""}

    async def emit(stream, content):
        printed[stream] += content

    work = await HttpRunner(node="n1", monotonic=time.monotonic, policy=lambda: policy).prepare(job_)
    await work.start()
    try:
        return await work.wait(emit), printed
    finally:
        await work.discard()


async def test_what_is_sent_is_what_was_said():
    async with server(ok) as (url, seen):
        ended, printed = await run(
            job(
                url=url + "/a b/{{ task }}?at={{ scheduled_at | unix }}&who={{ param.who }}&x=%2F",
                headers={"Authorization": "Bearer {{ task }}", "Content-Type": "application/json"},
                body='{"at": "{{ scheduled_at }}", "run": "{{ run_id }}"}',
            )
        )
    assert ended.exit_code == 0
    assert printed[LogStream.STDOUT] == b"done\n"
    assert printed[LogStream.STDERR].startswith(b"POST 127.0.0.1: 200 OK, ")
    (method, path, headers, body) = seen.requests[0]
    assert (method, path) == ("POST", "/a%20b/hook?at=1772332200&who=a%26b%2Fc%20d&x=%2F")
    assert (headers["Authorization"], headers["Content-Type"]) == ("Bearer hook", "application/json")
    assert headers["User-Agent"] == "dts"
    assert body == f'{{"at": "2026-03-01T02:30:00Z", "run": "{UUID(int=7)}"}}'


async def test_without_a_body_it_is_a_get_and_a_method_wins():
    async with server(ok) as (url, seen):
        await run(job(url=url))
        await run(job(url=url + "/x", method="DELETE"))
    assert [(method, path) for method, path, _, _ in seen.requests] == [("GET", "/"), ("DELETE", "/x")]


@pytest.mark.parametrize(("status", "expect", "code"), [(500, [], 22), (404, [404], 0), (200, [204], 22), (204, [], 0)])
async def test_the_status_decides_and_the_body_is_kept(status, expect, code):
    async def answer(_request):
        return web.Response(status=status, text="" if status == 204 else "why")

    async with server(answer) as (url, _):
        ended, printed = await run(job(url=url, expect=expect))
    assert ended.exit_code == code
    assert printed[LogStream.STDOUT] == (b"" if status == 204 else b"why")


async def test_a_redirection_is_an_answer_like_any_other():
    async def answer(_request):
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    async with server(answer) as (url, seen):
        ended, printed = await run(job(url=url))
    assert ended.exit_code == 22
    assert ended.why.startswith("the answer was ")
    assert b"302" in printed[LogStream.STDERR]
    assert len(seen.requests) == 1


async def test_what_is_packed_is_not_unpacked():
    packed = gzip.compress(bytes(1 << 20))

    async def answer(_request):
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    async with server(answer) as (url, _):
        _, printed = await run(job(url=url))
    assert printed[LogStream.STDOUT] == packed


async def test_an_answer_that_breaks_off_is_no_success():
    async def answer(request):
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.close()
        return response

    async with server(answer) as (url, _):
        ended, printed = await run(job(url=url))
    assert ended.exit_code == 56
    assert printed[LogStream.STDOUT] == b"half"
    assert b"broke off" in printed[LogStream.STDERR]


async def test_nobody_there_and_no_such_name_have_the_codes_of_curl(unused_tcp_port):
    refused, printed = await run(job(url=f"http://127.0.0.1:{unused_tcp_port}/"))
    assert refused.exit_code == 7
    assert b"cannot be reached" in printed[LogStream.STDERR]
    unknown, printed = await run(job(url="http://no-such-host.invalid/"))
    assert unknown.exit_code == 6
    assert "cannot be resolved" in unknown.why
    assert b"cannot be resolved" in printed[LogStream.STDERR]


async def test_a_server_without_tls_is_told_apart():
    async with server(ok) as (url, _):
        ended, printed = await run(job(url=url.replace("http:", "https:")))
    assert ended.exit_code == 35
    assert b"TLS" in printed[LogStream.STDERR]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]"])
async def test_addresses_that_are_not_public_are_refused(host):
    async with server(ok) as (url, seen):
        with pytest.raises(Refused, match=r"not a public one \(private_addresses\)") as refused:
            await run(job(url=url.replace("127.0.0.1", host)), NodePolicy())
    assert refused.value.reason is Reason.POLICY_DENIED
    assert refused.value.final
    assert seen.requests == []


async def test_a_host_that_the_policy_denies_is_not_even_resolved():
    with pytest.raises(Refused, match=r"the host example\.com \(hosts: \*\.internal\)"):
        await run(job(url="https://example.com/"), NodePolicy(hosts=("*.internal",)))


async def test_a_parameter_cannot_add_a_header():
    async with server(ok) as (url, seen):
        with pytest.raises(Refused, match="the header X-Line holds control characters"):
            await run(job(url=url, headers={"X-Line": "{{ param.line }}"}))
    assert seen.requests == []


async def test_a_request_that_is_stopped_is_over_at_once():
    async def never(_request):
        await asyncio.Event().wait()
        return web.Response()

    async def emit(_stream, _content):
        raise AssertionError

    async with server(never) as (url, seen):
        work = await HttpRunner(node="n1", monotonic=time.monotonic, policy=lambda: OPEN).prepare(job(url=url))
        await work.start()
        waiting = asyncio.create_task(work.wait(emit))
        await seen.arrived.wait()
        await work.stop(grace=timedelta(seconds=30))
        assert (await waiting).exit_code is None


async def test_the_proxy_of_the_environment_is_not_asked(monkeypatch, unused_tcp_port):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{unused_tcp_port}")
    async with server(ok) as (url, _):
        ended, _ = await run(job(url=url))
    assert ended.exit_code == 0


@pytest.mark.parametrize(
    "url", ["", "ftp://x/", "http://user:pw@x/", "http:///x", "http://{{ task }}/", "http://x\\@y/"]
)
async def test_an_address_that_is_none_is_refused_by_the_executor_too(url):
    with pytest.raises(Refused) as refused:
        await run(job(url=url))
    assert (refused.value.reason, refused.value.final) == (Reason.INVALID, True)
