"""One gRPC address for people, wherever the services are."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, closing

import pytest
from grpclib.const import Cardinality, Handler
from grpclib.exceptions import GRPCError

from dts.domain import errors
from dts.domain.errors import DeadlineExceeded, DtsError, FailedPrecondition, Internal, Unavailable, Violation
from dts.pb.dts.v1 import (
    AttachRequest,
    CreateTaskRequest,
    CreateTaskResponse,
    GetRunRequest,
    GetRunResponse,
    Hello,
    LogChunk,
    Run,
    SchedulerServiceBase,
    SchedulerServiceStub,
    TailLogsRequest,
    TailLogsResponse,
    Task,
    TaskDefinitionServiceBase,
    TaskDefinitionServiceStub,
    TaskSpec,
    WatchRunRequest,
    WatchRunResponse,
)
from dts.roles.gateway.gateway import services
from dts.rpc.address import HostPort
from dts.rpc.channel import connect
from dts.rpc.direct import in_process
from dts.rpc.gate import Gate
from dts.rpc.server import RpcServer
from dts.rpc.stubs import stub
from support.polling import eventually
from support.rpc import LOOPBACK, TOKEN, listening, serving

SECONDS = 5.0
MANY = errors.InvalidArgument(Violation(f"field.{n}", "wrong", "is wrong " * 20) for n in range(500))
REFUSALS = [
    errors.InvalidArgument([Violation("run", "run.empty", "may not be empty"), Violation("b", "c", "is ‘odd’")]),
    MANY,
    errors.NotFound("there is no run ‘gone’", code="run.unknown"),
    errors.AlreadyExists("taken", code="task.exists"),
    errors.Conflict("somebody was first"),
    errors.FailedPrecondition("it is over", code="run.over"),
    errors.PermissionDenied("not you"),
    errors.ResourceExhausted("full", code="server.busy"),
    errors.Unavailable("later"),
    errors.DeadlineExceeded("too late"),
    errors.Internal("incident 1"),
    errors.DtsError("something", code="odd"),
]


class Scheduler(SchedulerServiceBase):
    """Answers with what it was asked, waits for the run `wait`, refuses where it is told to."""

    def __init__(self) -> None:
        self.refusal: DtsError | None = None
        self.started = asyncio.Event()
        self.ended = asyncio.Event()
        self.sent = 0

    async def _wait(self) -> None:
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()

    async def get_run(self, message: GetRunRequest) -> GetRunResponse:
        if message.run == "wait":
            await self._wait()
        if self.refusal:
            raise self.refusal
        return GetRunResponse(run=Run(id=message.run))

    async def watch_run(self, message: WatchRunRequest) -> AsyncIterator[WatchRunResponse]:
        for number in range(3):
            yield WatchRunResponse(run=Run(id=f"{message.run}{number}"))
        if self.refusal:
            raise self.refusal
        if message.run == "wait":
            await self._wait()

    async def tail_logs(self, message: TailLogsRequest) -> AsyncIterator[TailLogsResponse]:  # noqa: ARG002
        try:
            while True:
                self.sent += 1
                yield TailLogsResponse(chunks=[LogChunk(content=bytes(100_000))])
                if self.sent > 2000:
                    return
        finally:
            self.ended.set()

    async def attach(self, messages):
        async for _ in messages:
            yield


class Definition(TaskDefinitionServiceBase):
    async def create_task(self, message: CreateTaskRequest) -> CreateTaskResponse:
        return CreateTaskResponse(task=Task(spec=message.spec))


@pytest.fixture
def inside():
    return Scheduler()


@asynccontextmanager
async def through_gateway(service, *, gateway_token=TOKEN):
    """The channel of a person to a gateway before a server elsewhere."""
    async with listening(service, Definition(), token=TOKEN) as (_, port):
        with closing(connect([HostPort(LOOPBACK, port)], token=gateway_token)) as behind:
            front = services(
                definition=stub(TaskDefinitionServiceStub, behind), scheduler=stub(SchedulerServiceStub, behind)
            )
            async with serving(*front) as channel:
                yield channel


@pytest.fixture
async def people(inside):
    async with through_gateway(inside) as channel:
        yield stub(SchedulerServiceStub, channel)


async def within(awaitable):
    return await asyncio.wait_for(awaitable, SECONDS)


async def test_calls_of_both_services_are_answered(inside):
    async with through_gateway(inside) as channel:
        made = await stub(TaskDefinitionServiceStub, channel).create_task(CreateTaskRequest(spec=TaskSpec(name="t")))
        found = await stub(SchedulerServiceStub, channel).get_run(GetRunRequest(run="r1"))
    assert (made.task.spec.name, found.run.id) == ("t", "r1")


async def test_a_stream_is_carried_to_its_end(people):
    assert [answer.run.id async for answer in people.watch_run(WatchRunRequest(run="r"))] == ["r0", "r1", "r2"]


async def test_what_a_newer_contract_adds_passes_unread():
    class Newer(Scheduler):
        async def get_run(self, message: GetRunRequest) -> GetRunResponse:
            answer = GetRunResponse(run=Run(id=message.run))
            answer._unknown_fields = b"\xa2\x06\x03new"
            return answer

    async with through_gateway(Newer()) as channel:
        answer = await stub(SchedulerServiceStub, channel).get_run(GetRunRequest(run="r"))
    assert answer._unknown_fields == b"\xa2\x06\x03new"


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda error: type(error).__name__)
async def test_errors_arrive_byte_for_byte(inside, refusal):
    inside.refusal = refusal
    async with serving(inside) as straight, through_gateway(inside) as carried:
        for call in (_get, _watch):
            assert await _told(call, carried) == await _told(call, straight)


async def _get(scheduler):
    await scheduler.get_run(GetRunRequest(run="r"))


async def _watch(scheduler):
    async for _ in scheduler.watch_run(WatchRunRequest(run="r")):
        pass


async def _told(call, channel):
    with pytest.raises(DtsError) as caught:
        await call(stub(SchedulerServiceStub, channel))
    status = caught.value.__cause__
    assert isinstance(status, GRPCError)
    return type(caught.value), caught.value.code, status.status, status.message, status.details.raw


async def test_a_caller_that_gives_up_releases_the_call_behind(people, inside):
    call = asyncio.create_task(people.get_run(GetRunRequest(run="wait")))
    await within(inside.started.wait())
    call.cancel()
    await within(inside.ended.wait())


async def test_a_watcher_that_leaves_releases_the_stream_behind(people, inside):
    async with aclosing(people.watch_run(WatchRunRequest(run="wait"))) as answers:
        assert (await anext(answers)).run.id == "wait0"
        await within(inside.started.wait())
    await within(inside.ended.wait())


async def test_a_reader_that_does_not_read_stops_the_writer_and_releases_it_when_it_leaves(people, inside):
    async with aclosing(people.tail_logs(TailLogsRequest(run="r"))) as answers:
        await anext(answers)
        await eventually(lambda: _stands_still(inside))
        assert inside.sent < 500  # some windows of a few MiB, not the 200 MB that there are
        assert not inside.ended.is_set()
    await within(inside.ended.wait())


async def _stands_still(inside):
    before = inside.sent
    await asyncio.sleep(0.2)
    return inside.sent == before


async def test_the_deadline_of_the_caller_holds_behind(people, inside):
    with pytest.raises(DeadlineExceeded):
        await people.get_run(GetRunRequest(run="wait"), timeout=0.2)
    await within(inside.ended.wait())


async def test_the_deadline_of_a_stream_holds_behind(people, inside):
    with pytest.raises(DeadlineExceeded):
        async for _ in people.watch_run(WatchRunRequest(run="wait"), timeout=0.2):
            pass
    await within(inside.ended.wait())


async def test_a_caller_with_more_time_than_the_default_gets_it(inside):
    async with listening(inside) as (_, port):
        with closing(connect([HostPort(LOOPBACK, port)], token=TOKEN)) as behind:
            (front,) = services(scheduler=stub(SchedulerServiceStub, behind))
            front._timeout = 0.05  # a default that has long passed
            async with serving(front) as channel:
                people = stub(SchedulerServiceStub, channel, timeout=None)
                with pytest.raises(DeadlineExceeded):
                    await people.get_run(GetRunRequest(run="wait"))
                call = asyncio.create_task(people.get_run(GetRunRequest(run="wait"), timeout=30))
                await asyncio.wait([call], timeout=0.3)
                assert not call.done()
                call.cancel()


async def test_executors_cannot_attach_through_it(people):
    with pytest.raises(FailedPrecondition) as caught:
        async for _ in people.attach([AttachRequest(hello=Hello())]):
            pass
    assert caught.value.code == "unimplemented"


async def test_a_service_that_is_away_is_unavailable_and_comes_back(inside):
    async with listening(inside) as (server, port):
        with closing(connect([HostPort(LOOPBACK, port)], token=TOKEN)) as behind:
            async with serving(*services(scheduler=stub(SchedulerServiceStub, behind))) as channel:
                people = stub(SchedulerServiceStub, channel)
                await people.get_run(GetRunRequest(run="r"))
                await server.stop(0)
                with pytest.raises(Unavailable, match=f"{LOOPBACK}:{port} cannot be reached"):
                    await people.get_run(GetRunRequest(run="r"))
                async with _listening_again(inside, port):
                    assert (await people.get_run(GetRunRequest(run="r"))).run.id == "r"


@asynccontextmanager
async def _listening_again(service, port):
    server = RpcServer([service], gate=Gate(TOKEN))
    await server.start(LOOPBACK, port)
    try:
        yield
    finally:
        await server.stop(0)


async def test_a_service_that_dies_within_a_stream_is_unavailable(inside):
    async with listening(inside) as (server, port):
        with closing(connect([HostPort(LOOPBACK, port)], token=TOKEN)) as behind:
            async with serving(*services(scheduler=stub(SchedulerServiceStub, behind))) as channel:
                answers = stub(SchedulerServiceStub, channel).watch_run(WatchRunRequest(run="wait"))
                await anext(answers)
                await within(inside.started.wait())
                stopping = asyncio.create_task(server.stop(0))
                with pytest.raises(Unavailable):
                    async for _ in answers:
                        pass
                await stopping


async def test_a_wrong_token_of_the_gateway_is_not_the_callers_fault(inside):
    async with through_gateway(inside, gateway_token="other") as channel:
        with pytest.raises(FailedPrecondition, match="the gateway's token") as caught:
            await stub(SchedulerServiceStub, channel).get_run(GetRunRequest(run="r"))
    assert caught.value.code == "gateway.token"


async def test_an_answer_that_is_owed_and_not_given_is_an_internal_error():
    class Silent(Scheduler):
        def __mapping__(self):
            async def nothing(stream):
                await stream.recv_message()

            return {"/dts.v1.SchedulerService/GetRun": Handler(nothing, Cardinality.UNARY_UNARY, GetRunRequest, bytes)}

    async with through_gateway(Silent()) as channel:
        with pytest.raises(Internal):
            await stub(SchedulerServiceStub, channel).get_run(GetRunRequest(run="r"))


async def test_what_is_hosted_here_is_served_as_it_is(inside):
    front = services(definition=in_process(Definition()), scheduler=inside)
    assert front[1] is inside
    async with serving(*front) as channel:
        made = await stub(TaskDefinitionServiceStub, channel).create_task(CreateTaskRequest(spec=TaskSpec(name="t")))
        found = await stub(SchedulerServiceStub, channel).get_run(GetRunRequest(run="r1"))
    assert (made.task.spec.name, found.run.id) == ("t", "r1")


async def test_what_others_serve_is_left_out():
    assert services() == []
