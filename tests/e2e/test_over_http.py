"""What every process says over HTTP, and the API as JSON, in one process and in five."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.polling import eventually
from support.postgres import open_directory
from support.system import TOKEN, System, start

pytestmark = pytest.mark.asyncio(loop_scope="module")

TASKS, RUNS = "/dts.v1.TaskDefinitionService/", "/dts.v1.SchedulerService/"
SHOWN = {"Authorization": f"Bearer {TOKEN}"}
STREAM = "application/connect+json"


@asynccontextmanager
async def asking(address: str, token: str = TOKEN) -> AsyncIterator[aiohttp.ClientSession]:
    shown = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(f"http://{address}", headers=shown) as session:
        yield session


async def post(session, path, **fields):
    async with session.post(path, json=fields) as response:
        return response.status, await response.json()


async def get(address, path):
    async with asking(address) as session, session.get(path) as response:
        return response.status, await response.text()


async def test_a_task_is_defined_run_watched_and_read_as_json(system: System):
    async with asking(system.http, system.environment["DTS_TOKEN"]) as http:
        spec = {"name": "over-http", "kind": {"process": {"command": ["python3", "-c", "print('hé')"]}}}
        status, made = await post(http, TASKS + "CreateTask", spec=spec)
        assert (status, made["task"]["spec"]) == (200, spec)
        _, triggered = await post(http, RUNS + "TriggerTask", task="over-http")
        run = triggered["run"]["id"]
        watched = [message async for message in _stream(http, RUNS + "WatchRun", run=run)]
        assert watched[-2]["run"]["state"] == "RUN_STATE_SUCCEEDED"
        assert watched[-1] == {}
        chunks = [
            chunk async for message in _stream(http, RUNS + "TailLogs", run=run) for chunk in message.get("chunks", [])
        ]
        assert [chunk["content"] for chunk in chunks] == ["aMOpCg=="]
        _, found = await post(http, RUNS + "GetRun", run=run)
        assert found["run"]["exitCode"] == 0
        assert found["run"]["task"] == "over-http"


async def test_the_dashboard_acts_for_whoever_is_signed_in(system: System):
    token = system.environment["DTS_TOKEN"]
    jar = aiohttp.CookieJar(unsafe=True)  # of an address without a name
    async with aiohttp.ClientSession(f"http://{system.http}", cookie_jar=jar) as people:
        shown = {"Sec-Fetch-Site": "same-origin"}
        async with people.post("/sign-in", data={"token": token}, headers=shown) as response:
            assert response.status == 200, await response.text()
        async with asking(system.http, token) as http:
            await post(http, TASKS + "CreateTask", spec={"name": "seen", "kind": {"noop": {}}})
        for path in ("/", "/tasks", "/tasks/seen", "/runs", "/schedule", "/nodes", "/new"):
            async with people.get(path) as response:
                text = await response.text()
                assert response.status == 200, text
        form_token = re.search(r'name="form_token" value="([^"]+)"', text)[1]
        fields = {"form_token": form_token, "note": "a holiday"}
        async with people.post("/tasks/seen/pause", data=fields, headers=shown) as response:
            assert "a holiday" in await response.text()
        async with asking(system.http, token) as http:
            _, found = await post(http, TASKS + "GetTask", task="seen")
        who = "first-admin" if token.startswith("dts_") else "operator"
        assert (found["task"]["pauseNote"], found["task"]["pausedBy"]) == ("a holiday", who)


async def _stream(http, path, **fields):
    data = json.dumps(fields).encode()
    body = b"\0" + len(data).to_bytes(4, "big") + data
    async with http.post(path, data=body, headers={"Content-Type": STREAM}) as response:
        assert response.status == 200
        while head := await response.content.read(5):
            yield json.loads(await response.content.readexactly(int.from_bytes(head[1:], "big")))


async def test_a_refusal_names_the_fields_that_the_service_refused(system: System):
    async with asking(system.http, system.environment["DTS_TOKEN"]) as http:
        spec = {
            "name": "Upper Case",
            "kind": {"noop": {}},
            "schedule": {"rules": [{"cron": {"expression": "0 0 30 2 *"}}]},
        }
        status, told = await post(http, TASKS + "CreateTask", spec=spec)
    assert (status, told["code"]) == (400, "invalid_argument")
    fields = [violation["field"] for violation in told["details"][1]["debug"]["fieldViolations"]]
    assert "name" in fields
    assert any(field.startswith("schedule") for field in fields)


async def test_what_roles_say_to_each_other_is_not_said_here(system: System):
    async with asking(system.http, system.environment["DTS_TOKEN"]) as http:
        for route in ("DatabaseService/FindToken", "ExecutorService/DescribeNode", "SchedulerService/Attach"):
            status, told = await post(http, f"/dts.v1.{route}")
            assert (status, told["code"]) == (404, "unimplemented")


async def test_tokens_are_made_and_judged_over_http(system: System):
    async with asking(system.http, system.environment["DTS_TOKEN"]) as http:
        _, made = await post(http, "/dts.v1.AccessService/CreateToken", name="http-reader", scope="SCOPE_VIEWER")
    async with aiohttp.ClientSession(f"http://{system.http}") as http:
        http.headers["Authorization"] = f"Bearer {made['secret']}"
        assert (await post(http, TASKS + "ListTasks"))[0] == 200
        status, told = await post(http, TASKS + "CreateTask", spec={"name": "no"})
    assert (status, told["code"]) == (403, "permission_denied")


async def test_every_process_lives_and_is_ready(system: System):
    for name, program in system.programs.items():
        assert await get(program.http, "/healthz") == (200, "ok\n"), name
        await eventually(lambda at=program.http: _ready(at))


async def _ready(address):
    status, text = await get(address, "/readyz")
    return status == 200 and ": ok" in text


async def test_every_process_tells_its_figures_and_no_names_of_tasks(system: System):
    async with asking(system.http, system.environment["DTS_TOKEN"]) as http:
        await post(http, TASKS + "CreateTask", spec={"name": "secret-plan", "kind": {"noop": {}}})
        await post(http, RUNS + "TriggerTask", task="secret-plan")
    wanted = {
        "database": {"dts_database_pool_used_connections", "dts_rpc_calls"},
        "definition": {"dts_rpc_call_seconds"},
        "scheduler": {"dts_scheduler_claimed_runs", "dts_scheduler_live_runs", "dts_loop_passes"},
        "executor": {"dts_executor_slots", "dts_executor_start_lateness_seconds"},
        "gateway": {"dts_http_connections", "dts_rpc_calls"},
    }
    for name, program in system.programs.items():
        status, text = await get(program.http, "/metrics")
        assert status == 200
        families = {family.name: family for family in text_string_to_metric_families(text)}
        expected = set().union(*wanted.values()) if name == "dev" else wanted[name]
        assert expected | {"dts_build_info", "process_resident_memory_bytes"} <= set(families), name
        assert all(family.startswith(("dts_", "process_")) for family in families)
        assert not [word for word in ("secret-plan", "over-http", TOKEN, "postgresql://") if word in text]


async def test_dts_probe_asks_every_process(system: System):
    for program in system.programs.values():
        assert (await system.dts("probe", "--http", f"http://{program.http}/healthz")).code == 0
        if "DTS_TLS_CA" not in system.environment:  # who has no certificate is not heard there
            assert (await system.dts("probe", "--grpc", program.grpc)).code == 0


async def test_a_role_without_its_database_lives_and_is_not_ready():
    environment = {"DTS_TOKEN": TOKEN, "DTS_DATABASE_ADDR": "127.0.0.1:1"}
    with open_directory() as home:
        arguments = ("serve", "--role", "definition", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")
        program = await start(*arguments, environment=environment, log=home / "log")
        try:
            assert (await get(program.http, "/healthz"))[0] == 200
            status, text = await get(program.http, "/readyz")
            assert (status, text.startswith("database: not well 127.0.0.1:1 cannot be reached")) == (503, True)
        finally:
            await program.stop()


async def test_a_role_that_is_not_asked_to_listens_nowhere_for_http():
    environment = {"DTS_TOKEN": TOKEN, "DTS_DATABASE_ADDR": "127.0.0.1:1"}
    with open_directory() as home:
        arguments = ("serve", "--role", "definition", "--grpc", "127.0.0.1:0")
        program = await start(*arguments, environment=environment, log=home / "log")
        await program.stop()
    assert program.http == ""


async def test_figures_of_a_gateway_that_others_reach_are_for_those_with_a_token():
    peers = {f"DTS_{name}_ADDR": "127.0.0.1:1" for name in ("DATABASE", "DEFINITION", "SCHEDULER")}
    with open_directory() as home:
        arguments = ("serve", "--role", "gateway", "--grpc", "127.0.0.1:0", "--http", "0.0.0.0:0")
        program = await start(
            *arguments, environment={"DTS_TOKEN": TOKEN, "DTS_INSECURE": "1", **peers}, log=home / "log"
        )
        address = f"127.0.0.1:{program.http.rpartition(':')[2]}"
        try:
            async with aiohttp.ClientSession() as session:
                for headers, status in (({}, 401), ({"Authorization": "Bearer wrong"}, 401), (SHOWN, 200)):
                    async with session.get(f"http://{address}/metrics", headers=headers) as response:
                        assert response.status == status
        finally:
            await program.stop()
