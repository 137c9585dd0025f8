"""Health over HTTP."""

import asyncio
import logging
from contextlib import asynccontextmanager

import aiohttp
import pytest

from dts.domain.errors import Unauthenticated, Unavailable
from dts.pb.dts.v1 import PartStatus
from dts.rpc.http import HttpServer
from dts.rpc.rebinding import asked_of_this_machine

LOOPBACK = "127.0.0.1"
WELL = [PartStatus(part="database", well=True, detail="12 live runs"), PartStatus(part="executor a", well=True)]
ILL = [*WELL, PartStatus(part="executor b", well=False, detail="silent\nfor 2m")]


def saying(parts):
    async def status():
        return parts

    return status


@asynccontextmanager
async def http(status, **options):
    server = HttpServer(status=status, **options)
    port = await server.start(LOOPBACK, 0)
    try:
        async with aiohttp.ClientSession(f"http://{LOOPBACK}:{port}") as session:
            session.port = port
            yield session
    finally:
        await server.stop()


async def get(session, path, method="GET", **options):
    async with session.request(method, path, **options) as response:
        return response.status, await response.text()


async def test_a_live_process_says_ok_whatever_its_parts_say():
    async with http(saying(ILL)) as session:
        assert await get(session, "/healthz") == (200, "ok\n")


async def test_it_is_ready_when_every_part_is_well():
    async with http(saying(WELL)) as session:
        assert await get(session, "/readyz") == (200, "database: ok 12 live runs\nexecutor a: ok\n")


async def test_one_part_that_is_not_well_makes_it_not_ready_and_stays_on_its_line():
    async with http(saying(ILL)) as session:
        status, text = await get(session, "/readyz")
    assert status == 503
    assert text.splitlines()[2:] == ["executor b: not well silent for 2m"]


@pytest.mark.parametrize(("parts", "status"), [(WELL, 200), (ILL, 503)])
async def test_json_is_told_to_who_accepts_it(parts, status):
    async with http(saying(parts)) as session:
        headers = {"Accept": "application/json"}
        async with session.get("/readyz", headers=headers) as response:
            assert response.status == status
            assert await response.json() == {
                "ready": status == 200,
                "parts": [{"part": part.part, "well": part.well, "detail": part.detail} for part in parts],
            }


@pytest.mark.parametrize(("parts", "answer"), [(WELL, (200, "ready\n")), (ILL, (503, "not ready\n"))])
async def test_to_strangers_at_the_front_door_it_says_a_word(parts, answer):
    async def admit(headers):
        if headers.get("authorization") != "Bearer known":
            raise Unauthenticated("no token was sent")

    async with http(saying(parts), admit=admit) as session:
        for accepts in ("*/*", "application/json"):
            assert await get(session, "/readyz", headers={"Accept": accepts}) == answer
        _, text = await get(session, "/readyz", headers={"Authorization": "Bearer known"})
        assert "12 live runs" in text


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("127.0.0.1:7462", True),
        ("localhost:7462", True),
        ("localhost", True),
        ("[::1]:7462", True),
        ("::1", False),
        ("rebound.example:7462", False),
        ("rebound.example", False),
        ("127.0.0.1.rebound.example", False),
        ("localhost.rebound.example:7462", False),
        ("", False),
    ],
)
async def test_a_site_whose_name_points_here_sees_no_figures(host, answer):
    async def figures():
        return b"dts_loops 3"

    async with http(saying(WELL), figures=figures, admit=asked_of_this_machine) as session:
        status, text = await get(session, "/metrics", headers={"Host": host})
        assert (status == 200, "dts_loops" in text) == (answer, answer)
        status, text = await get(session, "/readyz", headers={"Host": host})
        assert (status, "12 live runs" in text) == (200, answer)


async def test_no_parts_are_not_ready():
    async with http(saying([])) as session:
        assert await get(session, "/readyz") == (503, "status: not well no part is known\n")


async def test_a_status_that_cannot_be_had_is_not_ready():
    async def away():
        raise Unavailable("127.0.0.1:1 cannot be reached")

    async with http(away) as session:
        assert await get(session, "/readyz") == (503, "status: not well 127.0.0.1:1 cannot be reached\n")


async def test_a_status_that_takes_too_long_is_not_ready():
    async with http(asyncio.Event().wait, timeout=0.05) as session:
        assert await get(session, "/readyz") == (503, "status: not well no answer within 0.05 s\n")


async def test_a_bug_in_the_status_is_told_to_the_log_and_not_to_the_page(caplog):
    async def broken():
        raise ZeroDivisionError("secret")

    async with http(broken) as session:
        status, text = await get(session, "/readyz")
    assert status == 503
    assert "secret" not in text
    assert "ZeroDivisionError: secret" in caplog.text


async def test_many_who_ask_at_once_cost_one_look():
    asked = 0
    go = asyncio.Event()

    async def status():
        nonlocal asked
        asked += 1
        await go.wait()
        return WELL

    async with http(status) as session:
        calls = [asyncio.create_task(get(session, "/readyz")) for _ in range(20)]
        await asyncio.wait(calls, timeout=0.3)
        go.set()
        assert {(await call)[0] for call in calls} == {200}
        assert asked == 1
        await get(session, "/readyz")
        assert asked == 2


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_head_has_the_status_and_no_text(path):
    async with http(saying(WELL)) as session:
        assert await get(session, path, "HEAD") == (200, "")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_only_get_and_head_are_taken(method):
    async with http(saying(WELL)) as session, session.request(method, "/healthz") as response:
        assert response.status == 405
        assert set(response.headers["Allow"].split(",")) == {"GET", "HEAD"}


async def test_other_pages_do_not_exist():
    async with http(saying(WELL)) as session:
        assert await get(session, "/") == (404, "Not Found\n")


async def test_a_body_is_refused_and_the_connection_closed():
    async with http(saying(WELL)) as session, session.get("/healthz", data=b"x" * 100_000) as response:
        assert response.status == 413
        assert response.headers["Connection"] == "close"


@pytest.mark.parametrize("headers", [{"x": "y" * 5000}, {f"x-{n}": "y" for n in range(100)}], ids=["long", "many"])
async def test_headers_over_the_limit_are_refused(headers):
    async with http(saying(WELL)) as session:
        status, text = await get(session, "/healthz", headers=headers)
    assert status == 400
    assert "Traceback" not in text


async def test_nothing_is_said_about_the_software_and_nothing_is_kept():
    async with http(saying(WELL)) as session, session.get("/readyz") as response:
        assert response.headers["Server"] == "dts"
        assert response.headers["Cache-Control"] == "no-store"


async def test_requests_are_not_logged(caplog):
    caplog.set_level(logging.DEBUG)
    async with http(saying(WELL)) as session:
        await get(session, "/readyz")
        await get(session, "/nothing")
    assert [record for record in caplog.records if record.name.startswith("aiohttp")] == []


async def test_stopping_ends_requests_that_wait_and_frees_the_port():
    asked = asyncio.Event()

    async def status():
        asked.set()
        await asyncio.Event().wait()

    server = HttpServer(status=status)
    port = await server.start(LOOPBACK, 0)
    async with aiohttp.ClientSession() as session:
        call = asyncio.create_task(session.get(f"http://{LOOPBACK}:{port}/readyz"))
        await asked.wait()
        async with asyncio.timeout(5):
            await server.stop()
        with pytest.raises(aiohttp.ClientError):
            await call
    await server.stop()
    again = HttpServer(status=saying(WELL))
    assert await again.start(LOOPBACK, port) == port
    await again.stop()


async def test_a_port_that_is_taken_is_an_os_error():
    async with http(saying(WELL)) as session:
        second = HttpServer(status=saying(WELL))
        with pytest.raises(OSError, match="address already in use"):
            await second.start(LOOPBACK, session.port)
        await second.stop()
