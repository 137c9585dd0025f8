"""A request from a definition to a result, as a user makes it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web

from support.postgres import TestServer, open_directory
from support.system import System, dev

pytestmark = pytest.mark.asyncio(loop_scope="module")

POLICY = """
hosts: ["*", "!localhost"]
private_addresses: [127.0.0.0/8]
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(postgres: TestServer) -> AsyncIterator[System]:
    dsn = await postgres.create()
    with open_directory() as data:
        policy = data / "policy.yml"
        policy.write_text(POLICY)
        async with dev(data, environment={"DTS_DSN": dsn, "DTS_POLICY_FILE": str(policy)}) as running:
            yield running
    await postgres.drop(dsn)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hook() -> AsyncIterator[tuple[int, list[tuple[str, str, str]]]]:
    """A server's port, and what came to it: method, path, body."""
    seen: list[tuple[str, str, str]] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append((request.method, request.path_qs, await request.text()))
        return web.Response(text="thanks\n", status=503 if request.path == "/busy" else 200)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1], seen
    await runner.cleanup()


async def ran(system: System, name: str, *options: str) -> tuple[dict, str]:
    """The run of a new task, and its log."""
    created = await system.dts("task", "create", name, *options)
    assert created.code == 0, created.err
    run_id = (await system.dts("task", "trigger", name)).out.strip()
    await system.dts("run", "wait", run_id)
    run = json.loads((await system.dts("run", "show", run_id, "-o", "json")).out)
    log = await system.dts("run", "logs", run_id)
    return run, log.out + log.err


async def test_a_request_is_sent_and_its_answer_is_the_log(system, hook):
    port, seen = hook
    run, log = await ran(
        system, "ping", "--http", f"http://127.0.0.1:{port}/x?t={{{{ task }}}}", "--body", "{{ run_id }}"
    )
    assert (run["state"], run["exit_code"]) == ("succeeded", 0)
    assert seen[-1] == ("POST", "/x?t=ping", run["id"])
    assert "thanks" in log
    assert "POST 127.0.0.1: 200 OK" in log


async def test_a_status_that_was_not_expected_fails_the_run(system, hook):
    port, _ = hook
    run, log = await ran(system, "busy", "--http", f"http://127.0.0.1:{port}/busy")
    assert (run["state"], run["reason"], run["exit_code"]) == ("failed", "exit_code", 22)
    assert "503" in log


async def test_what_the_policy_of_the_node_denies_is_said(system, hook):
    port, seen = hook
    before = len(seen)
    by_name, _ = await ran(system, "by-name", "--http", f"http://localhost:{port}/")
    by_address, _ = await ran(system, "by-address", "--http", "http://169.254.169.254/latest/meta-data/")
    assert {by_name["reason"], by_address["reason"]} == {"policy_denied"}
    assert "does not allow the host localhost" in by_name["message"]
    assert "169.254.169.254 is not a public one (private_addresses)" in by_address["message"]
    assert len(seen) == before
