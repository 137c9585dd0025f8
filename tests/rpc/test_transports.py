"""One contract, two transports: what a caller sees is the same."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from dts.domain import errors
from dts.domain.errors import DeadlineExceeded, DtsError, Internal, InvalidArgument, Violation
from dts.pb.dts.v1 import (
    AttachRequest,
    AttachResponse,
    GetRunRequest,
    GetRunResponse,
    Heartbeat,
    LeaseRenewed,
    ListRunsRequest,
    Run,
    SchedulerServiceBase,
    SchedulerServiceStub,
    WatchRunRequest,
    WatchRunResponse,
)
from support.rpc import both_transports, reach

PLAIN = [
    errors.NotFound,
    errors.AlreadyExists,
    errors.Conflict,
    errors.FailedPrecondition,
    errors.PermissionDenied,
    errors.Unauthenticated,
    errors.ResourceExhausted,
    errors.Unavailable,
    errors.DeadlineExceeded,
    errors.Internal,
    errors.DtsError,
]


class Echo(SchedulerServiceBase):
    """Answers with what it was asked; fails or waits where it is told to, and notes how it ended."""

    def __init__(self, *, error: BaseException | None = None, wait: bool = False) -> None:
        self.error = error
        self.wait = wait
        self.started = asyncio.Event()
        self.ended = asyncio.Event()
        self.cancelled = False

    async def _then(self) -> None:
        self.started.set()
        try:
            if self.error is not None:
                raise self.error
            if self.wait:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        finally:
            self.ended.set()

    async def get_run(self, message: GetRunRequest) -> GetRunResponse:
        await self._then()
        return GetRunResponse(run=Run(id=message.run))

    async def watch_run(self, message: WatchRunRequest) -> AsyncIterator[WatchRunResponse]:
        for number in range(3):
            yield WatchRunResponse(run=Run(id=f"{message.run}{number}"))
        await self._then()

    async def attach(self, messages: AsyncIterator[AttachRequest]) -> AsyncIterator[AttachResponse]:
        try:
            async for message in messages:
                yield AttachResponse(lease=LeaseRenewed(sequence=message.heartbeat.sequence))
                if message.heartbeat.leaving:
                    break
        finally:
            self.ended.set()
        await self._then()


class Source:
    """A caller's messages.

    error: raised after the last one.
    leave: the last one asks the service to end the call.
    hold: there is no end; more could come.
    """

    def __init__(self, count: int, *, error: Exception | None = None, leave: bool = False, hold: bool = False) -> None:
        self._count = count
        self._error = error
        self._leave = leave
        self._hold = hold
        self.closed = asyncio.Event()

    async def messages(self) -> AsyncIterator[AttachRequest]:
        try:
            for number in range(self._count):
                leaving = self._leave and number == self._count - 1
                yield AttachRequest(heartbeat=Heartbeat(sequence=number, leaving=leaving))
            if self._error is not None:
                raise self._error
            if self._hold:
                await asyncio.Event().wait()
        finally:
            self.closed.set()


@both_transports
async def test_a_call_is_answered(transport):
    async with reach(transport, Echo(), SchedulerServiceStub) as client:
        assert (await client.get_run(GetRunRequest(run="r1"))).run.id == "r1"


@both_transports
async def test_a_stream_is_answered(transport):
    async with reach(transport, Echo(), SchedulerServiceStub) as client:
        assert [answer.run.id async for answer in client.watch_run(WatchRunRequest(run="r"))] == ["r0", "r1", "r2"]


@both_transports
async def test_an_exchange_is_answered_and_its_source_closed(transport):
    source = Source(3)
    async with reach(transport, Echo(), SchedulerServiceStub) as client:
        assert [answer.lease.sequence async for answer in client.attach(source.messages())] == [0, 1, 2]
    assert source.closed.is_set()


@both_transports
async def test_a_list_may_be_the_source_of_an_exchange(transport):
    async with reach(transport, Echo(), SchedulerServiceStub) as client:
        beats = [AttachRequest(heartbeat=Heartbeat(sequence=number)) for number in (7, 8)]
        assert [answer.lease.sequence async for answer in client.attach(beats)] == [7, 8]


@both_transports
@pytest.mark.parametrize("kind", PLAIN, ids=lambda kind: kind.__name__)
async def test_every_error_reaches_the_caller_as_itself(transport, kind):
    error = kind("naïve ‘quotes’\nand 100 % signs", code="some.code")
    async with reach(transport, Echo(error=error), SchedulerServiceStub) as client:
        with pytest.raises(DtsError) as caught:
            await client.get_run(GetRunRequest(run="r"))
    assert type(caught.value) is kind
    assert (caught.value.message, caught.value.code) == (error.message, "some.code")
    assert str(caught.value) == str(error)


@both_transports
async def test_every_violation_reaches_the_caller(transport):
    violations = (
        Violation("schedule.cron", "schedule.never_fires", "never fires: 30 February does not exist"),
        Violation("name", "name.bad", "may not be empty"),
    )
    async with reach(transport, Echo(error=InvalidArgument(violations)), SchedulerServiceStub) as client:
        with pytest.raises(InvalidArgument) as caught:
            await client.get_run(GetRunRequest(run="r"))
    assert caught.value.violations == violations
    assert str(caught.value) == str(InvalidArgument(violations))


@both_transports
async def test_an_error_after_messages_of_a_stream_reaches_the_caller_after_them(transport):
    seen = []
    async with reach(transport, Echo(error=errors.NotFound("gone")), SchedulerServiceStub) as client:
        with pytest.raises(errors.NotFound, match="gone"):
            await _read_into(seen, client.watch_run(WatchRunRequest(run="r")))
    assert [answer.run.id for answer in seen] == ["r0", "r1", "r2"]


@both_transports
async def test_an_error_of_an_exchange_reaches_the_caller(transport):
    async with reach(transport, Echo(error=errors.Conflict("younger")), SchedulerServiceStub) as client:
        with pytest.raises(errors.Conflict, match="younger"):
            [answer async for answer in client.attach(Source(1).messages())]


@both_transports
async def test_a_bug_of_a_service_is_internal_and_its_text_stays_in_the_log(transport, caplog):
    async with reach(transport, Echo(error=KeyError("password=hunter2")), SchedulerServiceStub) as client:
        with pytest.raises(Internal) as caught:
            await client.get_run(GetRunRequest(run="r"))
    assert "hunter2" not in str(caught.value)
    incident = str(caught.value).split("incident ")[1].split(")")[0]
    assert incident in caplog.text
    assert "hunter2" in caplog.text


@both_transports
async def test_what_a_service_waited_for_being_cancelled_is_internal_and_not_silence(transport):
    async with reach(transport, Echo(error=asyncio.CancelledError()), SchedulerServiceStub) as client:
        with pytest.raises(Internal):
            await client.get_run(GetRunRequest(run="r"))


@both_transports
async def test_a_method_nobody_wrote_is_refused_alike(transport):
    async with reach(transport, Echo(), SchedulerServiceStub) as client:
        with pytest.raises(errors.FailedPrecondition) as caught:
            await client.list_runs(ListRunsRequest())
    assert caught.value.code == "unimplemented"


@both_transports
async def test_a_call_that_takes_too_long_ends_on_both_sides(transport):
    service = Echo(wait=True)
    async with reach(transport, service, SchedulerServiceStub, timeout=0.1) as client:
        with pytest.raises(DeadlineExceeded):
            await client.get_run(GetRunRequest(run="r"))
        async with asyncio.timeout(5):
            await service.ended.wait()
    assert service.cancelled


@both_transports
async def test_cancelling_a_call_reaches_the_service(transport):
    service = Echo(wait=True)
    async with reach(transport, service, SchedulerServiceStub) as client:
        call = asyncio.create_task(client.get_run(GetRunRequest(run="r")))
        await service.started.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        async with asyncio.timeout(5):
            await service.ended.wait()
    assert service.cancelled


@both_transports
async def test_leaving_a_stream_reaches_the_service(transport):
    service = Echo(wait=True)
    async with reach(transport, service, SchedulerServiceStub) as client:
        reader = asyncio.create_task(_read_all(client.watch_run(WatchRunRequest(run="r"))))
        await service.started.wait()
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        async with asyncio.timeout(5):
            await service.ended.wait()
    assert service.cancelled


@both_transports
async def test_closing_the_answers_of_an_exchange_ends_it_and_its_source(transport):
    service, source = Echo(), Source(1, hold=True)
    async with reach(transport, service, SchedulerServiceStub) as client:
        async with aclosing(client.attach(source.messages())) as answers:
            assert (await anext(answers)).lease.sequence == 0
        async with asyncio.timeout(5):
            await service.ended.wait()
            await source.closed.wait()


@both_transports
async def test_an_error_of_the_callers_source_ends_the_call_with_that_very_error(transport):
    service, error = Echo(), OSError("my own disk is full")
    async with reach(transport, service, SchedulerServiceStub) as client, asyncio.timeout(5):
        with pytest.raises(OSError, match="my own disk") as caught:
            await _read_into([], client.attach(Source(2, error=error).messages()))
        await service.ended.wait()
    assert caught.value is error


@both_transports
async def test_a_source_ends_when_the_answers_have_ended(transport):
    source = Source(2, leave=True, hold=True)
    async with reach(transport, Echo(), SchedulerServiceStub) as client, asyncio.timeout(5):
        answers = [answer.lease.sequence async for answer in client.attach(source.messages())]
    assert answers == [0, 1]
    assert source.closed.is_set()


@both_transports
async def test_a_timeout_around_calls_that_failed_is_still_a_timeout(transport):
    service = Echo(wait=True)
    async with reach(transport, service, SchedulerServiceStub, timeout=0.05) as client:
        with pytest.raises(TimeoutError):
            await _fail_again_and_again(client)


@both_transports
async def test_many_calls_at_once_do_not_mix_their_answers(transport):
    async with reach(transport, Echo(), SchedulerServiceStub) as client:
        answers = await asyncio.gather(*(client.get_run(GetRunRequest(run=str(n))) for n in range(300)))
    assert [answer.run.id for answer in answers] == [str(n) for n in range(300)]


async def _fail_again_and_again(client):
    async with asyncio.timeout(0.3):
        while True:
            with pytest.raises(DeadlineExceeded):
                await client.get_run(GetRunRequest(run="r"))


async def _read_into(seen, answers):
    async for answer in answers:
        seen.append(answer)


async def _read_all(answers: AsyncIterator[object]) -> list[object]:
    return [answer async for answer in answers]


@both_transports
async def test_a_reader_that_leaves_in_the_middle_releases_a_writer_that_waits_for_it(transport):
    class Flood(Echo):
        async def watch_run(self, message: WatchRunRequest) -> AsyncIterator[WatchRunResponse]:
            try:
                while True:
                    yield WatchRunResponse(run=Run(id=message.run * 100_000))
            finally:
                self.ended.set()

    service = Flood()
    async with reach(transport, service, SchedulerServiceStub) as scheduler:
        async with aclosing(scheduler.watch_run(WatchRunRequest(run="r"))) as answers:
            await anext(answers)
            await asyncio.sleep(0.1)  # until the windows are full
            assert not service.ended.is_set()
        await asyncio.wait_for(service.ended.wait(), 5)
