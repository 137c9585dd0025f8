"""Who may call what, over real sockets: every route with every kind of caller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from functools import partial
from uuid import uuid4

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from h2.exceptions import StreamClosedError

from dts.domain import errors
from dts.domain.access import RULES, Caller, Peer
from dts.domain.tokens import hash_of
from dts.pb.dts import v1
from dts.pb.dts.v1 import (
    AccessToken,
    AppendLogsRequest,
    AttachRequest,
    DatabaseServiceStub,
    FindTokenRequest,
    FindTokenResponse,
    GetStatusRequest,
    GetStatusResponse,
    GetTaskRequest,
    GetTaskResponse,
    Hello,
    Node,
    PartStatus,
    RegisterNodeResponse,
    SchedulerServiceBase,
    SchedulerServiceStub,
    Scope,
    TailLogsRequest,
    TailLogsResponse,
    Task,
    TaskDefinitionServiceBase,
    TaskDefinitionServiceStub,
    TokenState,
)
from dts.roles.database.service import DatabaseService
from dts.roles.gateway.gateway import services as gateway_services
from dts.roles.scheduler.hub import Hub
from dts.rpc.address import HostPort
from dts.rpc.caller import SELF, actor, current
from dts.rpc.channel import Channel, connect
from dts.rpc.codec import Raw
from dts.rpc.gate import RECHECK_SECONDS, Gate, OpenGate
from dts.rpc.server import RpcServer
from dts.rpc.stubs import stub
from dts.rpc.tokens import CACHE_SECONDS, LOOKUP_SECONDS, REMEMBERED, TokenCache
from support.ledger import Ledger
from support.polling import eventually
from support.rpc import LOOPBACK, TOKEN, listening

SECONDS = 5.0

U, P, OK, IN = Status.UNAUTHENTICATED, Status.PERMISSION_DENIED, Status.OK, Status.UNIMPLEMENTED
"""Not known; not allowed; answered; and let in to a service that has no method yet, which is all of ours here."""


def secret(name: str) -> str:
    return "dts_" + name.ljust(43, "0")


@dataclass
class Tokens:
    """Access tokens in memory, as the Database Service would tell them."""

    known: dict[bytes, AccessToken] = field(default_factory=dict)
    asked: int = 0
    fails: Exception | None = None

    def add(self, name: str, scope: Scope, state: TokenState = TokenState.ACTIVE) -> AccessToken:
        self.known[hash_of(secret(name))] = token = AccessToken(name=name, scope=scope, state=state)
        return token

    async def find_token(self, message: FindTokenRequest, /) -> FindTokenResponse:
        self.asked += 1
        if self.fails is not None:
            raise self.fails
        return FindTokenResponse(token=self.known.get(message.sha256))


@pytest.fixture
def tokens() -> Tokens:
    made = Tokens()
    made.add("viewer", Scope.VIEWER)
    made.add("operator", Scope.OPERATOR)
    made.add("admin", Scope.ADMIN)
    made.add("revoked", Scope.ADMIN, TokenState.REVOKED)
    made.add("expired", Scope.ADMIN, TokenState.EXPIRED)
    return made


# -- every route, every caller


@dataclass(frozen=True)
class Kind:
    """A kind of caller: the token it shows, the role of its certificate, and for whom it says that it calls."""

    token: str | None = None
    role: str | None = None
    scope: str | None = None

    @property
    def metadata(self) -> dict[str, str]:
        return {} if self.scope is None else {"dts-actor": "anna", "dts-scope": self.scope}


KINDS = {
    "no token": Kind(),
    "wrong token": Kind(token=secret("stranger")),
    "no token of ours": Kind(token="password"),
    "viewer": Kind(token=secret("viewer")),
    "operator": Kind(token=secret("operator")),
    "admin": Kind(token=secret("admin")),
    "revoked": Kind(token=secret("revoked")),
    "expired": Kind(token=secret("expired")),
    "installation": Kind(token=TOKEN),
    "executor": Kind(role="executor"),
    "gateway": Kind(role="gateway"),
    "definition": Kind(role="definition"),
    "scheduler": Kind(role="scheduler"),
    "gateway for viewer": Kind(role="gateway", scope="viewer"),
    "gateway for operator": Kind(role="gateway", scope="operator"),
    "gateway for admin": Kind(role="gateway", scope="admin"),
    # Nobody but the gateway is believed.
    "executor for admin": Kind(role="executor", scope="admin"),
    "scheduler for admin": Kind(role="scheduler", scope="admin"),
    "viewer for admin": Kind(token=secret("viewer"), scope="admin"),
    "installation for viewer": Kind(token=TOKEN, scope="viewer"),
    "wrong token, gateway": Kind(token=secret("stranger"), role="gateway"),
    "viewer, gateway": Kind(token=secret("viewer"), role="gateway"),
}
STRANGERS = {"no token", "wrong token", "no token of ours", "revoked", "expired", "wrong token, gateway"}

ALWAYS = {"installation"}
ADMINS = ALWAYS | {"admin", "gateway for admin"}
OPERATORS = ADMINS | {"operator", "gateway for operator"}
VIEWERS = OPERATORS | {
    *("viewer", "gateway for viewer"),
    *("viewer for admin", "installation for viewer", "viewer, gateway"),
}
EXECUTORS = ALWAYS | {"executor", "executor for admin"}
DEFINITION = ALWAYS | {"definition"}
SCHEDULER = ALWAYS | {"scheduler", "scheduler for admin"}
READING = DEFINITION | SCHEDULER | {"gateway"}
WITH_CERTIFICATE = VIEWERS | EXECUTORS | READING

ALLOWED: dict[str, set[str]] = {
    "TaskDefinitionService/CreateTask": OPERATORS,
    "TaskDefinitionService/GetTask": VIEWERS,
    "TaskDefinitionService/ListTasks": VIEWERS,
    "TaskDefinitionService/UpdateTask": OPERATORS,
    "TaskDefinitionService/DeleteTask": OPERATORS,
    "TaskDefinitionService/PauseTask": OPERATORS,
    "TaskDefinitionService/ResumeTask": OPERATORS,
    "TaskDefinitionService/ApplyTasks": OPERATORS,
    "TaskDefinitionService/PreviewSchedule": VIEWERS,
    "TaskDefinitionService/ListTaskVersions": VIEWERS,
    "SchedulerService/Attach": EXECUTORS,
    "SchedulerService/TriggerTask": OPERATORS,
    "SchedulerService/BackfillTask": OPERATORS,
    "SchedulerService/CancelRun": OPERATORS,
    "SchedulerService/RetryRun": OPERATORS,
    "SchedulerService/GetRun": VIEWERS,
    "SchedulerService/ListRuns": VIEWERS,
    "SchedulerService/ListTickCounts": VIEWERS,
    "SchedulerService/ListOutcomes": VIEWERS,
    "SchedulerService/ListRunCounts": VIEWERS,
    "SchedulerService/WatchRun": VIEWERS,
    "SchedulerService/TailLogs": VIEWERS,
    "SchedulerService/ListUpcoming": VIEWERS,
    "SchedulerService/ListDurations": VIEWERS,
    "SchedulerService/ExplainTask": VIEWERS,
    "SchedulerService/ListNodes": VIEWERS,
    "SchedulerService/DrainNode": OPERATORS,
    "SchedulerService/ResumeNode": OPERATORS,
    "SchedulerService/GetStatus": VIEWERS | {"gateway"},
    "AccessService/CreateToken": ADMINS,
    "AccessService/ListTokens": ADMINS,
    "AccessService/RevokeToken": ADMINS,
    "ChannelService/CreateChannel": OPERATORS,
    "ChannelService/ListChannels": VIEWERS,
    "ChannelService/UpdateChannel": OPERATORS,
    "ChannelService/DeleteChannel": OPERATORS,
    "ChannelService/TryChannel": OPERATORS,
    "ExecutorService/DescribeNode": VIEWERS | SCHEDULER | {"gateway"},
    "ExecutorService/ListAttempts": VIEWERS | SCHEDULER | {"gateway"},
    "DatabaseService/SaveTasks": DEFINITION,
    "DatabaseService/FindTasks": READING,
    "DatabaseService/PageTasks": READING,
    "DatabaseService/FindTaskVersions": READING,
    "DatabaseService/Materialise": SCHEDULER,
    "DatabaseService/Claim": SCHEDULER,
    "DatabaseService/Record": SCHEDULER,
    "DatabaseService/Sweep": SCHEDULER,
    "DatabaseService/Maintain": SCHEDULER,
    "DatabaseService/RequestRuns": SCHEDULER,
    "DatabaseService/RequestCancel": SCHEDULER,
    "DatabaseService/FindRecalls": SCHEDULER,
    "DatabaseService/FindOverdue": SCHEDULER,
    "DatabaseService/TakeBack": SCHEDULER,
    "DatabaseService/FindRun": READING,
    "DatabaseService/FindTick": READING,
    "DatabaseService/FindDurations": READING,
    "DatabaseService/PageRuns": READING,
    "DatabaseService/FindOutcomes": READING,
    "DatabaseService/FindRunCounts": READING,
    "DatabaseService/AppendLogs": EXECUTORS,
    "DatabaseService/ReadLogs": READING,
    "DatabaseService/RegisterNode": SCHEDULER,
    "DatabaseService/RenewLeases": SCHEDULER,
    "DatabaseService/StoreSwarm": SCHEDULER,
    "DatabaseService/FindNodes": READING,
    "DatabaseService/SetNodeDrain": SCHEDULER,
    "DatabaseService/StoreToken": DEFINITION,
    "DatabaseService/AllTokens": DEFINITION,
    "DatabaseService/EndToken": DEFINITION,
    "DatabaseService/FindToken": READING,
    "DatabaseService/StoreChannel": SCHEDULER,
    "DatabaseService/AllChannels": SCHEDULER,
    "DatabaseService/FindChannel": SCHEDULER,
    "DatabaseService/ChangeChannel": SCHEDULER,
    "DatabaseService/DropChannel": SCHEDULER,
    "DatabaseService/TakeDeliveries": SCHEDULER,
    "DatabaseService/SettleDeliveries": SCHEDULER,
    "DatabaseService/TendOutbox": SCHEDULER,
    "DatabaseService/Watch": READING,
    "DatabaseService/FindLastSuccesses": SCHEDULER,
    "DatabaseService/ReadClock": SCHEDULER,
    "DatabaseService/DescribeDatabase": READING,
    "/grpc.health.v1.Health/Check": set(KINDS),
    "/grpc.health.v1.Health/Watch": WITH_CERTIFICATE,
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": WITH_CERTIFICATE,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": WITH_CERTIFICATE,
}


def path(short: str) -> str:
    return short if short.startswith("/") else f"/dts.v1.{short}"


def every_service() -> list:
    """An object of each service that the contract has; none has a method of its own."""
    return [made() for name, made in vars(v1).items() if name.endswith("ServiceBase")]


def served(server: RpcServer) -> dict:
    return server.desk._routes


def test_the_table_of_this_test_the_rules_and_what_is_served_have_the_same_routes():
    server = RpcServer(every_service(), gate=OpenGate())
    assert sorted(RULES) == sorted(served(server))
    assert sorted(map(path, ALLOWED)) == sorted(served(server))


def test_the_table_of_this_test_knows_its_callers():
    assert all(callers <= set(KINDS) for callers in ALLOWED.values())


@asynccontextmanager
async def doors(tokens: Tokens) -> AsyncIterator[dict[str | None, tuple[RpcServer, int]]]:
    """A server for each certificate that a connection may come with."""
    gate = Gate(TOKEN, tokens=tokens)
    async with AsyncExitStack() as stack:
        yield {
            role: await stack.enter_async_context(
                listening(*every_service(), gate=gate, peer_of=partial(certificate_of, role))
            )
            for role in {kind.role for kind in KINDS.values()}
        }


def certificate(role: str | None) -> Peer | None:
    return None if role is None else Peer(frozenset({role}))


def certificate_of(role: str | None, _stream: object) -> Peer | None:
    return certificate(role)


async def outcome(channel: Channel, route: str, cardinality, metadata) -> Status:
    try:
        async with asyncio.timeout(SECONDS):
            async with channel.request(route, cardinality, Raw, Raw, metadata=metadata) as stream:
                await stream.send_message(Raw(b""), end=True)
                await stream.recv_message()
                with suppress(StreamClosedError):  # it is over already, unless it never ends
                    await stream.cancel()
    except GRPCError as error:
        return error.status
    return OK


def expected(route: str, name: str) -> Status:
    if name in ALLOWED[route]:
        return OK if "grpc." in route else IN
    return U if name in STRANGERS else P


async def test_every_route_lets_in_whom_it_should_and_nobody_else(tokens):
    wrong = {}
    async with doors(tokens) as servers:
        for name, kind in KINDS.items():
            server, port = servers[kind.role]
            with closing(connect([HostPort(LOOPBACK, port)], token=kind.token)) as channel:
                for route in ALLOWED:
                    cardinality = served(server)[path(route)].cardinality
                    status = await outcome(channel, path(route), cardinality, kind.metadata)
                    if status is not expected(route, name):
                        wrong[route, name] = status
    assert wrong == {}


@pytest.mark.parametrize("headers", [{"authorization": TOKEN}, {"authorization": f"bearer {TOKEN}"}])
async def test_a_token_without_its_scheme_is_none(headers):
    with pytest.raises(errors.Unauthenticated):
        await Gate(TOKEN).identify(headers, None)


@pytest.mark.parametrize("scope", ["", "root", "ADMIN", "admin ", "unspecified", "none", "3"])
async def test_a_scope_that_does_not_exist_is_no_scope(scope):
    with pytest.raises(errors.InvalidArgument):
        await Gate(None).identify({"dts-scope": scope}, Peer(frozenset({"gateway"})))


@pytest.mark.parametrize("name", ["", "a b", "x" * 64, "\x1b[2J"])
async def test_a_name_that_is_none_is_not_written_into_the_history(name):
    with pytest.raises(errors.InvalidArgument):
        await Gate(None).identify({"dts-actor": name, "dts-scope": "admin"}, Peer(frozenset({"gateway"})))


async def test_an_unknown_route_is_unknown_to_callers_who_are_known_and_to_no_others(tokens):
    async with listening(*every_service(), gate=Gate(TOKEN, tokens=tokens)) as (_, port):
        for token, status in ((None, U), (secret("viewer"), IN)):
            with closing(connect([HostPort(LOOPBACK, port)], token=token)) as channel:
                cardinality = v1.SchedulerServiceBase().__mapping__()[path("SchedulerService/GetRun")].cardinality
                assert await outcome(channel, "/dts.v1.Nothing/Nothing", cardinality, {}) is status


def test_an_empty_token_of_the_installation_is_a_mistake():
    for token in ("", " "):
        with pytest.raises(ValueError, match="empty"):
            Gate(token)


async def test_a_gate_without_a_token_of_the_installation_takes_none():
    for shown in ("", "None", TOKEN):
        with pytest.raises(errors.Unauthenticated):
            await Gate(None).identify({"authorization": f"Bearer {shown}"}, None)


# -- streams, and how long a token is believed


class Talker(SchedulerServiceBase):
    """Its stream says something once, then waits for ever."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.callers: list[Caller] = []

    async def tail_logs(self, message: TailLogsRequest) -> AsyncIterator[TailLogsResponse]:  # noqa: ARG002
        self.callers.append(current())
        try:
            yield TailLogsResponse()
            await asyncio.Event().wait()
        finally:
            self.ended.set()

    async def get_status(self, message: GetStatusRequest) -> GetStatusResponse:  # noqa: ARG002
        self.callers.append(current())
        return GetStatusResponse(parts=[PartStatus(part="scheduler")])


@dataclass
class Time:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def quick_gate(tokens: Tokens, time: Time) -> Gate:
    """Judges streams without a pause; what is remembered gets older only when the test says so."""
    return Gate(TOKEN, tokens=tokens, monotonic=time, recheck_seconds=0.001)


async def the_end(answers: AsyncIterator[TailLogsResponse]) -> None:
    async with asyncio.timeout(SECONDS):
        async for _ in answers:
            pass


def test_a_revoked_token_is_noticed_within_five_seconds_whatever_the_moment():
    assert RECHECK_SECONDS + CACHE_SECONDS + LOOKUP_SECONDS <= 5.0


async def test_an_open_stream_ends_when_its_token_is_revoked(tokens):
    time, talker = Time(), Talker()
    async with listening(talker, gate=quick_gate(tokens, time)) as (_, port):
        with closing(connect([HostPort(LOOPBACK, port)], token=secret("viewer"))) as channel:
            answers = stub(SchedulerServiceStub, channel).tail_logs(TailLogsRequest(run="r"))
            assert await anext(answers) == TailLogsResponse()
            tokens.add("viewer", Scope.VIEWER, TokenState.REVOKED)
            time.now += CACHE_SECONDS
            with pytest.raises(errors.Unauthenticated, match="the token viewer was revoked"):
                await the_end(answers)
            await asyncio.wait_for(talker.ended.wait(), SECONDS)


async def test_an_open_stream_goes_on_while_its_token_works(tokens):
    time, talker = Time(), Talker()
    async with listening(talker, gate=quick_gate(tokens, time)) as (_, port):
        with closing(connect([HostPort(LOOPBACK, port)], token=secret("viewer"))) as channel:
            answers = stub(SchedulerServiceStub, channel).tail_logs(TailLogsRequest(run="r"))
            await anext(answers)
            for asked in range(2, 6):
                time.now += CACHE_SECONDS
                await eventually(lambda asked=asked: tokens.asked >= asked)
            assert not talker.ended.is_set()
            await answers.aclose()
            await asyncio.wait_for(talker.ended.wait(), SECONDS)


async def test_a_stream_whose_token_cannot_be_judged_ends(tokens):
    time, talker = Time(), Talker()
    async with listening(talker, gate=quick_gate(tokens, time)) as (_, port):
        with closing(connect([HostPort(LOOPBACK, port)], token=secret("viewer"))) as channel:
            answers = stub(SchedulerServiceStub, channel).tail_logs(TailLogsRequest(run="r"))
            await anext(answers)
            tokens.fails = errors.Unavailable("gone")
            time.now += CACHE_SECONDS
            with pytest.raises(errors.Unavailable, match="could not be looked up"):
                await the_end(answers)


async def test_a_stream_through_the_gateway_ends_on_both_sides(tokens):
    time, talker = Time(), Talker()
    async with behind_a_gateway(talker, gate=quick_gate(tokens, time)) as port:
        with closing(connect([HostPort(LOOPBACK, port)], token=secret("viewer"))) as channel:
            answers = stub(SchedulerServiceStub, channel).tail_logs(TailLogsRequest(run="r"))
            await anext(answers)
            tokens.known.clear()
            time.now += CACHE_SECONDS
            with pytest.raises(errors.Unauthenticated):
                await the_end(answers)
            await asyncio.wait_for(talker.ended.wait(), SECONDS)


async def test_a_token_is_looked_up_once_in_a_while(tokens):
    time = Time()
    cache = TokenCache(tokens, time)
    for _ in range(3):
        assert (await cache.find(hash_of(secret("viewer")))).name == "viewer"
    assert tokens.asked == 1
    time.now += CACHE_SECONDS
    tokens.known.clear()
    assert await cache.find(hash_of(secret("viewer"))) is None
    assert tokens.asked == 2


async def test_what_cannot_be_a_token_is_never_looked_up(tokens):
    gate = Gate(TOKEN, tokens=tokens)
    for shown in ("", "x", "dts_short", "dts_" + "é" * 43, secret("a") + "=", "dts_" + "a" * 44):
        with pytest.raises(errors.Unauthenticated):
            await gate.identify({"authorization": f"Bearer {shown}"}, None)
    assert tokens.asked == 0


async def test_only_so_many_tokens_are_remembered(tokens):
    cache = TokenCache(tokens, Time())
    for number in range(REMEMBERED + 10):
        await cache.find(hash_of(str(number)))
    assert len(cache._known) == REMEMBERED


async def test_a_lookup_that_fails_refuses_for_now_and_is_not_remembered(tokens):
    gate = Gate(TOKEN, tokens=tokens)
    headers = {"authorization": f"Bearer {secret('viewer')}"}
    tokens.fails = errors.NotFound("what is this")
    with pytest.raises(errors.Unavailable):
        await gate.identify(headers, None)
    tokens.fails = None
    assert (await gate.identify(headers, None)).name == "viewer"


# -- for whom a call is made


class Definition(TaskDefinitionServiceBase):
    """Names the task after its caller."""

    async def get_task(self, message: GetTaskRequest) -> GetTaskResponse:  # noqa: ARG002
        return GetTaskResponse(task=Task(paused_by=actor()))


@asynccontextmanager
async def behind_a_gateway(talker: Talker, *, gate: Gate, role: str = "gateway") -> AsyncIterator[int]:
    """A gateway with a certificate before services elsewhere that know no token; its port."""
    inner = {"gate": Gate(None), "peer_of": lambda _: certificate(role)}
    async with listening(Definition(), talker, **inner) as (_, inside):
        with closing(connect([HostPort(LOOPBACK, inside)], token=None, vouching=True)) as channel:
            front = gateway_services(
                definition=stub(TaskDefinitionServiceStub, channel), scheduler=stub(SchedulerServiceStub, channel)
            )
            async with listening(*front, gate=gate) as (_, port):
                yield port


async def test_changes_are_attributed_to_the_person_behind_the_gateway(tokens):
    talker = Talker()
    async with behind_a_gateway(talker, gate=Gate(TOKEN, tokens=tokens)) as port:
        for token, name in ((secret("operator"), "operator"), (secret("viewer"), "viewer"), (TOKEN, "operator")):
            with closing(connect([HostPort(LOOPBACK, port)], token=token)) as channel:
                answer = await stub(TaskDefinitionServiceStub, channel).get_task(GetTaskRequest(task="t"))
                assert answer.task.paused_by == name
                await stub(SchedulerServiceStub, channel).get_status(GetStatusRequest())
    assert talker.callers == [
        Caller("operator", Scope.OPERATOR),
        Caller("viewer", Scope.VIEWER),
        Caller("operator", Scope.ADMIN),
    ]


async def test_a_gateway_that_forgets_to_check_opens_nothing(tokens):
    """The door lets everybody in as a viewer; the service inside judges again."""

    class Careless(Gate):
        async def check(self, route, headers, peer):  # noqa: ARG002
            return await self.identify(headers, peer)

    async with behind_a_gateway(Talker(), gate=Careless(TOKEN, tokens=tokens)) as port:
        with (
            closing(connect([HostPort(LOOPBACK, port)], token=secret("viewer"))) as channel,
            pytest.raises(errors.PermissionDenied, match="CreateTask needs the scope operator; viewer has"),
        ):
            await stub(TaskDefinitionServiceStub, channel).create_task(v1.CreateTaskRequest())


async def test_an_executor_cannot_pass_for_a_gateway(tokens):
    async with behind_a_gateway(Talker(), gate=Gate(TOKEN, tokens=tokens), role="executor") as port:
        with (
            closing(connect([HostPort(LOOPBACK, port)], token=secret("admin"))) as channel,
            pytest.raises(errors.PermissionDenied, match="the certificate is of executor"),
        ):
            await stub(TaskDefinitionServiceStub, channel).get_task(GetTaskRequest(task="t"))


async def test_outside_of_calls_this_process_acts_for_itself(tokens):
    talker = Talker()
    async with listening(talker, gate=Gate(TOKEN, tokens=tokens)) as (_, port):
        with closing(connect([HostPort(LOOPBACK, port)], token=TOKEN, vouching=True)) as channel:
            await stub(SchedulerServiceStub, channel).get_status(GetStatusRequest())
    assert talker.callers[0].roles
    assert current() is SELF


# -- a certificate is for one node


class Registrar:
    """The part of the ledger that a new executor meets."""

    async def register_node(self, message) -> RegisterNodeResponse:
        return RegisterNodeResponse(node=message.hello.node)


class Attaching(SchedulerServiceBase):
    def __init__(self) -> None:
        self.hub = Hub(Registrar(), monotonic=Time())

    async def attach(self, messages):
        async for answer in self.hub.attach(messages):
            yield answer


async def attached(channel: Channel, node: str) -> bool:
    async def messages():
        yield AttachRequest(hello=Hello(node=Node(id=node, hostname=node, incarnation=str(uuid4()))))
        await asyncio.Event().wait()

    answers = stub(SchedulerServiceStub, channel).attach(messages())
    try:
        async with asyncio.timeout(SECONDS):
            return (await anext(answers)).welcome is not None
    finally:
        await answers.aclose()


@pytest.mark.parametrize(("certified", "said", "welcome"), [("n1", "n1", True), ("", "n2", True), ("n1", "n2", False)])
async def test_an_executor_attaches_as_the_node_of_its_certificate_only(certified, said, welcome):
    service = Attaching()
    peer = Peer(frozenset({"executor"}), certified)
    async with listening(service, gate=Gate(None), peer_of=lambda _: peer) as (_, port):
        with closing(connect([HostPort(LOOPBACK, port)], token=None)) as channel:
            if welcome:
                assert await attached(channel, said)
            else:
                with pytest.raises(errors.PermissionDenied, match="for the node n1 and for no other"):
                    await attached(channel, said)
                assert service.hub.sessions == []


@pytest.mark.parametrize(("certified", "allowed"), [("alpha", True), ("", True), ("beta", False)])
async def test_an_executor_sends_logs_of_the_node_of_its_certificate_only(database, certified, allowed):
    world = Ledger.on(database)
    await world.node()
    peer = Peer(frozenset({"executor"}), certified)
    request = AppendLogsRequest(node_id="alpha", incarnation=world.nodes["alpha"])
    async with listening(DatabaseService(world.store), gate=Gate(None), peer_of=lambda _: peer) as (_, port):
        with closing(connect([HostPort(LOOPBACK, port)], token=None)) as channel:
            database_service = stub(DatabaseServiceStub, channel)
            if allowed:
                assert (await database_service.append_logs(request)).stored == 0
            else:
                with pytest.raises(errors.PermissionDenied):
                    await database_service.append_logs(request)


async def test_the_certificate_limits_the_node_also_beside_the_token_of_the_installation():
    caller = await Gate(TOKEN).identify({"authorization": f"Bearer {TOKEN}"}, Peer(frozenset({"executor"}), "n1"))
    assert caller.node == "n1"
