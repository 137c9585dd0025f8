"""The public API as JSON over HTTP: what gRPC answers, in proto3 JSON, by the Connect protocol."""

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from datetime import UTC, datetime

import aiohttp
import pytest

from dts.domain import errors
from dts.domain.access import RULES
from dts.domain.errors import DtsError, Unavailable
from dts.domain.tokens import hash_of
from dts.pb.dts import v1
from dts.pb.dts.v1 import (
    AccessToken,
    CreateTaskRequest,
    CreateTaskResponse,
    FindTokenRequest,
    FindTokenResponse,
    GetRunRequest,
    GetRunResponse,
    GetTaskRequest,
    GetTaskResponse,
    LogChunk,
    Run,
    RunState,
    SchedulerServiceBase,
    SchedulerServiceStub,
    Scope,
    TailLogsRequest,
    TailLogsResponse,
    Task,
    TaskDefinitionServiceBase,
    TaskDefinitionServiceStub,
    TokenState,
    WatchRunRequest,
    WatchRunResponse,
)
from dts.pb.google.rpc import BadRequest, ErrorInfo
from dts.roles.gateway.connect import ConnectApi, public_routes
from dts.roles.gateway.gateway import services
from dts.rpc.address import HostPort
from dts.rpc.channel import connect
from dts.rpc.gate import Gate
from dts.rpc.http import HttpServer
from dts.rpc.limits import MIB, Limits
from dts.rpc.server import RpcServer
from dts.rpc.stubs import stub
from support.polling import eventually
from support.rpc import LOOPBACK, TOKEN, listening

SHOWN = {"Authorization": f"Bearer {TOKEN}"}
TASKS = "/dts.v1.TaskDefinitionService/"
RUNS = "/dts.v1.SchedulerService/"
STREAM = "application/connect+json"
MOMENT = datetime(2026, 11, 23, 12, 0, 0, 250000, tzinfo=UTC)
REFUSALS = [
    (errors.InvalidArgument.of("run", "run.empty", "may not be empty"), 400, "invalid_argument"),
    (errors.NotFound("there is no run ‘gone’", code="run.unknown"), 404, "not_found"),
    (errors.AlreadyExists("taken", code="task.exists"), 409, "already_exists"),
    (errors.Conflict("somebody was first"), 409, "aborted"),
    (errors.FailedPrecondition("it is over", code="run.over"), 400, "failed_precondition"),
    (errors.PermissionDenied("not you"), 403, "permission_denied"),
    (errors.ResourceExhausted("full", code="server.busy"), 429, "resource_exhausted"),
    (errors.Unavailable("later"), 503, "unavailable"),
    (errors.DeadlineExceeded("too late"), 504, "deadline_exceeded"),
    (errors.Internal("incident 1"), 500, "internal"),
    (errors.DtsError("something", code="odd"), 500, "unknown"),
]


class Scheduler(SchedulerServiceBase):
    """Answers with what it was asked, waits for the run `wait`, refuses where it is told to."""

    def __init__(self):
        self.refusal: DtsError | None = None
        self.started = asyncio.Event()
        self.ended = asyncio.Event()
        self.asked: list[GetRunRequest] = []
        self.sent = 0

    async def _wait(self):
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()

    async def get_run(self, message: GetRunRequest) -> GetRunResponse:
        self.asked.append(message)
        if message.run == "wait":
            await self._wait()
        if message.run == "bug":
            raise ZeroDivisionError("secret")
        if self.refusal:
            raise self.refusal
        return GetRunResponse(run=Run(id=message.run, state=RunState.SUCCEEDED, scheduled_at=MOMENT))

    async def watch_run(self, message: WatchRunRequest) -> AsyncIterator[WatchRunResponse]:
        for number in range(3):
            yield WatchRunResponse(run=Run(id=f"{message.run}{number}"))
        if self.refusal:
            raise self.refusal
        if message.run == "wait":
            await self._wait()

    async def tail_logs(self, message: TailLogsRequest) -> AsyncIterator[TailLogsResponse]:  # noqa: ARG002
        try:
            while self.sent < 2000:
                self.sent += 1
                yield TailLogsResponse(chunks=[LogChunk(content=bytes(100_000))])
        finally:
            self.ended.set()


class Definition(TaskDefinitionServiceBase):
    async def create_task(self, message: CreateTaskRequest) -> CreateTaskResponse:
        return CreateTaskResponse(task=Task(spec=message.spec, version=2**53 + 1))

    async def get_task(self, message: GetTaskRequest) -> GetTaskResponse:
        return GetTaskResponse(task=Task(id=message.task))


class Tokens:
    """Access tokens as the Database Service would tell them."""

    def __init__(self):
        self.known = {hash_of(secret(scope.name)): AccessToken(name="anna", scope=scope) for scope in Scope}
        for token in self.known.values():
            token.state = TokenState.ACTIVE

    async def find_token(self, message: FindTokenRequest, /) -> FindTokenResponse:
        return FindTokenResponse(token=self.known.get(message.sha256))


def secret(name):
    return "dts_" + name.lower().ljust(43, "0")


async def _status():
    return []


class Front:
    """A gateway, by HTTP and by gRPC."""

    def __init__(self, rpc, port, session, channel):
        self.rpc, self.port, self.session, self.channel = rpc, port, session, channel

    async def post(self, path, body="{}", *, headers=SHOWN, kind="application/json"):
        body = json.dumps(body) if isinstance(body, dict) else body
        data = io.BytesIO(body.encode() if isinstance(body, str) else body)
        async with self.session.post(path, data=data, headers={"Content-Type": kind, **headers}) as response:
            self.response = response
            if response.content_type == "application/json":
                return response.status, await response.json()
            return response.status, await response.read()

    async def refusal(self, path, body="{}", **options):
        status, told = await self.post(path, body, **options)
        return status, told["code"], told.get("message", "")


@asynccontextmanager
async def gateway(*inside, gate=None, limits=None):
    """A gateway before these services, which are elsewhere."""
    async with listening(*inside) as (_, behind_port):
        with closing(connect([HostPort(LOOPBACK, behind_port)], token=TOKEN, vouching=True)) as behind:
            front = services(
                definition=stub(TaskDefinitionServiceStub, behind), scheduler=stub(SchedulerServiceStub, behind)
            )
            async with hosting(*front, gate=gate, limits=limits) as found:
                yield found


@asynccontextmanager
async def hosting(*served, gate=None, limits=None):
    """A process that serves both doors."""
    rpc = RpcServer(served, gate=gate or Gate(TOKEN), limits=limits)
    http = HttpServer(status=_status, routes=ConnectApi(rpc.desk).routes())
    grpc_port, port = await rpc.start(LOOPBACK, 0), await http.start(LOOPBACK, 0)
    try:
        with closing(connect([HostPort(LOOPBACK, grpc_port)], token=TOKEN)) as channel:
            async with aiohttp.ClientSession(f"http://{LOOPBACK}:{port}") as session:
                yield Front(rpc, port, session, channel)
    finally:
        await rpc.stop(0)
        await http.stop()


@pytest.fixture
def inside():
    return Scheduler()


@pytest.fixture(params=[gateway, hosting], ids=["carried", "hosted"])
async def front(request, inside):
    """The services elsewhere, and in the same process."""
    async with request.param(inside, Definition()) as found:
        yield found


# -- answers


async def test_a_task_is_created_and_answered_as_proto3_json(front):
    spec = {
        "name": "t",
        "schedule": {"rules": [{"cron": {"expression": "*/5 * * * *"}}], "timezone": "UTC", "jitter": "1.500s"},
    }
    status, told = await front.post(TASKS + "CreateTask", {"spec": spec, "dryRun": True})
    assert status == 200, told
    assert told == {"task": {"spec": spec, "version": "9007199254740993"}}


async def test_moments_and_enums_are_as_proto3_json_has_them(front):
    _, told = await front.post(RUNS + "GetRun", {"run": "r1"})
    assert told == {
        "run": {
            "id": "r1",
            "state": "RUN_STATE_SUCCEEDED",
            "scheduledAt": "2026-11-23T12:00:00.250Z",
        }
    }


async def test_names_of_fields_are_taken_in_both_spellings(front):
    for name in ("pageSize", "page_size"):
        status, told = await front.post(TASKS + "ListTasks", {name: 5})
        assert (status, told["code"]) == (501, "unimplemented")  # understood, and this service has no such method


async def test_the_answer_is_the_one_of_grpc(front):
    told = await stub(SchedulerServiceStub, front.channel).get_run(GetRunRequest(run="r1"))
    _, found = await front.post(RUNS + "GetRun", {"run": "r1"})
    assert GetRunResponse.from_json(json.dumps(found)).run.scheduled_at == told.run.scheduled_at


async def test_an_answer_is_not_kept_and_says_what_it_is(front):
    await front.post(RUNS + "GetRun", {"run": "r1"})
    assert front.response.headers["Content-Type"] == "application/json"
    assert front.response.headers["Cache-Control"] == "no-store"
    assert front.response.headers["Server"] == "dts"


# -- refusals


@pytest.mark.parametrize(("refusal", "status", "code"), REFUSALS, ids=lambda given: type(given).__name__)
async def test_errors_of_services_are_errors_of_connect(front, inside, refusal, status, code):
    inside.refusal = refusal
    found, told = await front.post(RUNS + "GetRun", {"run": "r"})
    assert (found, told["code"], told["message"]) == (status, code, refusal.message)
    info = told["details"][0]
    assert info["type"] == "google.rpc.ErrorInfo"
    assert info["debug"] == {"reason": refusal.code, "domain": "dts"}
    assert ErrorInfo.parse(_unpadded(info["value"])).reason == refusal.code


async def test_refused_fields_are_told_in_the_details(front, inside):
    inside.refusal = REFUSALS[0][0]
    _, told = await front.post(RUNS + "GetRun")
    (bad,) = (detail for detail in told["details"] if detail["type"] == "google.rpc.BadRequest")
    violation = {"field": "run", "reason": "run.empty", "description": "may not be empty"}
    assert bad["debug"] == {"fieldViolations": [violation]}
    assert BadRequest.parse(_unpadded(bad["value"])).field_violations[0].field == "run"


async def test_a_bug_is_told_to_the_log_and_not_to_the_caller(front, caplog):
    status, code, message = await front.refusal(RUNS + "GetRun", {"run": "bug"})
    assert (status, code) == (500, "internal")
    assert "incident" in message
    assert "secret" not in message
    assert "ZeroDivisionError" in caplog.text


async def test_an_unknown_field_is_refused_by_its_name_and_nothing_is_called(front, inside):
    status, told = await front.post(RUNS + "GetRun", {"run": "r", "privileged": True})
    assert (status, told["code"]) == (400, "invalid_argument")
    (violation,) = told["details"][1]["debug"]["fieldViolations"]
    assert violation == {
        "field": "privileged",
        "reason": "json.unknown",
        "description": "is not known; GetRunRequest has run",
    }
    assert inside.asked == []


@pytest.mark.parametrize(
    "body",
    [
        b"", b"nonsense", b"[]", b"null", b"1", b'"a"', b"{", b"{}{}", b"\xff\xfe", b"\xef\xbb\xbf{}",
        b'{"run": NaN}', b'{"run": 1e400}', b'{"run": 1}', b'{"run": []}', b'{"run": {}}', b'{"run": "\\ud800"}',
        b'{"run": "a", "run": "b"}', b'{"run": "a",}', b"[" * 100_000, b'{"run":' * 100_000,
        b'{"run": ' + b"1" * 5000 + b"}", b"{'run': 'a'}",
    ],
    ids=lambda body: repr(body[:16]),
)  # fmt: skip
async def test_what_is_no_request_is_an_invalid_argument(front, inside, body):
    status, code, message = await front.refusal(RUNS + "GetRun", body)
    assert (status, code) == (400, "invalid_argument")
    assert "Traceback" not in message
    assert "google" not in message
    assert inside.asked == []


async def test_a_nul_reaches_the_service_as_it_would_by_grpc(front, inside):
    await front.post(RUNS + "GetRun", {"run": "a\0b"})
    assert inside.asked[0].run == "a\0b"


# -- who may call


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}, {"Authorization": "Basic YTpi"}]
)
async def test_a_caller_without_the_token_is_refused_before_anything_is_read(front, inside, headers):
    for path in (RUNS + "GetRun", RUNS + "NoSuchMethod", "/dts.v1.NoSuchService/Get", "/dts.v1.DatabaseService/Claim"):
        status, code, _ = await front.refusal(path, b"nonsense", headers=headers)
        assert (status, code) == (401, "unauthenticated")
        assert front.response.headers["WWW-Authenticate"] == "Bearer"
    assert inside.asked == []


@pytest.mark.parametrize(("scope", "status"), [("viewer", 403), ("operator", 200), ("admin", 200)])
async def test_scopes_are_those_of_the_one_table(inside, scope, status):
    async with gateway(inside, Definition(), gate=Gate(TOKEN, tokens=Tokens())) as front:
        shown = {"Authorization": f"Bearer {secret(scope)}"}
        found, told = await front.post(TASKS + "CreateTask", {"spec": {"name": "t"}}, headers=shown)
        assert (found, told.get("code")) == (status, "permission_denied" if status == 403 else None)
        assert (await front.post(TASKS + "GetTask", {"task": "t"}, headers=shown))[0] == 200


async def test_nobody_becomes_somebody_else_by_a_header(inside):
    async with gateway(inside, Definition(), gate=Gate(TOKEN, tokens=Tokens())) as front:
        shown = {"Authorization": f"Bearer {secret('viewer')}", "dts-actor": "root", "dts-scope": "admin"}
        assert (await front.refusal(TASKS + "CreateTask", headers=shown))[:2] == (403, "permission_denied")


@pytest.mark.parametrize("route", sorted(route for route in RULES if route not in public_routes()))
async def test_routes_between_roles_do_not_exist_here(inside, route):
    internal = [getattr(v1, f"{name}ServiceBase")() for name in ("Database", "Executor", "Access")]
    async with hosting(inside, Definition(), *internal) as front:
        if route.startswith("/dts.v1."):
            assert (await front.refusal(route))[:2] == (404, "unimplemented")
        else:
            assert (await front.post(route))[0] == 404


def test_every_public_route_is_in_the_table_of_who_may_call():
    assert public_routes() < set(RULES)
    assert len(public_routes()) == sum(1 for rule in RULES.values() if rule.scope and not rule.open) - 5


@pytest.mark.parametrize(
    "path",
    [
        "//dts.v1.SchedulerService/GetRun", "/dts.v1.SchedulerService/GetRun/", "/dts.v1.SchedulerService/getrun",
        "/dts.v1.SchedulerService/%47etRun", "/dts.v1.SchedulerService/GetRun;a=b",
        "/x/../dts.v1.SchedulerService/GetRun.",
    ],
)  # fmt: skip
async def test_other_spellings_of_a_route_are_other_routes(front, inside, path):
    from yarl import URL  # noqa: PLC0415 - the client must not tidy the path

    url = URL(f"http://{LOOPBACK}:{front.port}{path}", encoded=True)
    status, _ = await front.post(url, {"run": "r"})
    assert status == 404
    assert inside.asked == []


# -- the protocol


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "application/grpc"]
)
async def test_other_types_of_content_are_refused_and_it_is_told_which_are_taken(front, kind):
    status, _ = await front.post(RUNS + "GetRun", kind=kind)
    assert status == 415
    assert front.response.headers["Accept-Post"] == "application/json, application/connect+json"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
async def test_only_post_is_taken(front, method):
    async with front.session.request(method, RUNS + "GetRun", headers=SHOWN) as response:
        assert response.status == 405
        assert response.headers["Allow"] == "POST"


async def test_another_version_of_the_protocol_is_refused(front):
    assert (await front.post(RUNS + "GetRun", headers={**SHOWN, "Connect-Protocol-Version": "1"}))[0] == 200
    refused = await front.refusal(RUNS + "GetRun", headers={**SHOWN, "Connect-Protocol-Version": "2"})
    assert refused[:2] == (400, "invalid_argument")


@pytest.mark.parametrize(("text", "code"), [("12x", 400), ("-1", 400), ("", 400), ("9" * 11, 400), ("0", 504)])
async def test_an_odd_deadline_is_refused(front, text, code):
    assert (await front.post(RUNS + "GetRun", headers={**SHOWN, "Connect-Timeout-Ms": text}))[0] == code


async def test_a_deadline_ends_the_call_also_behind(front, inside):
    headers = {**SHOWN, "Connect-Timeout-Ms": "200"}
    assert (await front.refusal(RUNS + "GetRun", {"run": "wait"}, headers=headers))[:2] == (504, "deadline_exceeded")
    await asyncio.wait_for(inside.ended.wait(), 5)


async def test_a_caller_that_leaves_releases_the_call_behind(front, inside):
    call = asyncio.create_task(front.post(RUNS + "GetRun", {"run": "wait"}))
    await asyncio.wait_for(inside.started.wait(), 5)
    call.cancel()
    await asyncio.wait_for(inside.ended.wait(), 5)
    await eventually(lambda: not front.rpc.desk.unary)


@pytest.mark.parametrize(("size", "status"), [(MIB, 200), (MIB + 1, 429)])
async def test_a_body_may_have_a_mebibyte_and_no_more(front, size, status):
    body = b'{"run":"' + b"x" * (size - 10) + b'"}'
    assert len(body) == size
    found, told = await front.post(RUNS + "GetRun", body)
    assert (found, told.get("code")) == (status, None if status == 200 else "resource_exhausted")


async def test_a_body_without_an_announced_length_is_bounded_too(front, inside):
    async def endless():
        while True:
            yield b" " * 65536

    async def ask():
        headers = {"Content-Type": "application/json", **SHOWN}
        async with front.session.post(RUNS + "GetRun", data=endless(), headers=headers) as response:
            return response.status

    with suppress(aiohttp.ClientConnectionError):  # the server may hang up on who goes on writing
        assert await asyncio.wait_for(ask(), 10) == 429
    assert inside.asked == []
    assert (await front.post(RUNS + "GetRun", {"run": "r"}))[0] == 200


async def test_a_compressed_body_is_refused_unread(front):
    refused = await front.refusal(RUNS + "GetRun", b"\x1f\x8b", headers={**SHOWN, "Content-Encoding": "gzip"})
    assert refused[:2] == (501, "unimplemented")


async def test_a_body_that_does_not_come_is_given_up(inside):
    async with hosting(inside, Definition(), limits=Limits(request_seconds=0.2)) as front:
        reader, writer = await asyncio.open_connection(LOOPBACK, front.port)
        head = f"POST {RUNS}GetRun HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
        writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 20\r\n\r\n{{".encode())
        assert b" 504 " in await asyncio.wait_for(reader.readline(), 5)
        writer.close()


async def test_calls_over_the_limit_are_refused(inside):
    async with hosting(inside, Definition(), limits=Limits(calls=1)) as front:
        first = asyncio.create_task(front.post(RUNS + "GetRun", {"run": "wait"}))
        await asyncio.wait_for(inside.started.wait(), 5)
        assert (await front.refusal(RUNS + "GetRun", {"run": "r"}))[:2] == (429, "resource_exhausted")
        first.cancel()


async def test_a_service_that_is_away_is_unavailable(inside):
    async with listening(inside) as (server, port):
        with closing(connect([HostPort(LOOPBACK, port)], token=TOKEN)) as behind:
            async with hosting(*services(scheduler=stub(SchedulerServiceStub, behind))) as front:
                await server.stop(0)
                assert (await front.refusal(RUNS + "GetRun", {"run": "r"}))[:2] == (503, "unavailable")


async def test_a_server_that_stops_lets_calls_end_and_then_says_so(inside):
    async with hosting(inside, Definition()) as front:
        call = asyncio.create_task(front.refusal(RUNS + "GetRun", {"run": "wait"}))
        await asyncio.wait_for(inside.started.wait(), 5)
        await front.rpc.stop(0.1)
        assert (await call)[:2] == (503, "unavailable")
        assert (await front.refusal(RUNS + "GetRun", {"run": "r"}))[:2] == (503, "unavailable")


# -- streams


async def test_a_stream_is_answered_in_envelopes(front):
    status, body = await front.post(RUNS + "WatchRun", _envelope({"run": "r"}), kind=STREAM)
    assert status == 200
    assert front.response.headers["Content-Type"] == STREAM
    ids = [{"run": {"id": f"r{number}"}} for number in range(3)]
    assert list(_opened(body)) == [*((0, message) for message in ids), (2, {})]


async def test_the_last_envelope_says_what_went_wrong(front, inside):
    inside.refusal = Unavailable("later")
    status, body = await front.post(RUNS + "WatchRun", _envelope({"run": "r"}), kind=STREAM)
    *_, (flags, last) = _opened(body)
    assert (status, flags, last["error"]["code"], last["error"]["message"]) == (200, 2, "unavailable", "later")


async def test_a_stream_without_the_token_ends_at_once(front):
    status, body = await front.post(RUNS + "WatchRun", _envelope({"run": "r"}), kind=STREAM, headers={})
    ((flags, last),) = _opened(body)
    assert (status, flags, last["error"]["code"]) == (200, 2, "unauthenticated")


@pytest.mark.parametrize(
    "body", [b"", b"\0\0\0", b"\0\0\0\0\x05{}", b"\1\0\0\0\x02{}", b"\0\0\0\0\x02{}\0\0\0\0\x02{}", b"\0\0\0\0\x01x"]
)
async def test_what_is_not_one_whole_message_ends_the_stream(front, body):
    _, answer = await front.post(RUNS + "WatchRun", body, kind=STREAM)
    ((flags, last),) = _opened(answer)
    assert (flags, last["error"]["code"]) == (2, "invalid_argument")


async def test_each_method_has_its_type_of_content(front):
    assert (await front.post(RUNS + "WatchRun", {"run": "r"}))[0] == 415
    assert (await front.post(RUNS + "GetRun", _envelope({"run": "r"}), kind=STREAM))[0] == 415


async def test_a_reader_that_does_not_read_stops_the_writer_and_releases_it_when_it_leaves(front, inside):
    headers = {"Content-Type": STREAM, **SHOWN}
    async with front.session.post(RUNS + "TailLogs", data=_envelope({"run": "r"}), headers=headers) as response:
        await response.content.readexactly(5)
        await eventually(lambda: _stands_still(inside))
        assert inside.sent < 500
    await asyncio.wait_for(inside.ended.wait(), 5)


async def test_a_stream_does_not_outlive_its_token(inside):
    tokens = Tokens()
    async with hosting(inside, gate=Gate(TOKEN, tokens=tokens, recheck_seconds=0.05)) as front:
        shown = {"Authorization": f"Bearer {secret('viewer')}"}
        call = asyncio.create_task(
            front.post(RUNS + "WatchRun", _envelope({"run": "wait"}), kind=STREAM, headers=shown)
        )
        await asyncio.wait_for(inside.started.wait(), 5)
        tokens.known.clear()
        *_, (_, last) = _opened((await asyncio.wait_for(call, 10))[1])
        assert last["error"]["code"] == "unauthenticated"


async def _stands_still(inside):
    before = inside.sent
    await asyncio.sleep(0.2)
    return inside.sent == before


def _envelope(message):
    data = json.dumps(message).encode()
    return b"\0" + len(data).to_bytes(4, "big") + data


def _opened(body):
    while body:
        length = int.from_bytes(body[1:5], "big")
        yield body[0], json.loads(body[5 : 5 + length])
        body = body[5 + length :]


def _unpadded(text):
    return base64.b64decode(text + "=" * (-len(text) % 4))
