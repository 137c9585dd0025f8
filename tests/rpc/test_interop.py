"""Google's own client is understood and understands."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpclib.health.v1 import health_pb2
from grpclib.reflection.v1 import reflection_pb2

from dts.domain.errors import InvalidArgument, NotFound, Violation
from dts.pb.dts.v1 import (
    AttachRequest,
    AttachResponse,
    GetRunRequest,
    GetRunResponse,
    LeaseRenewed,
    Run,
    SchedulerServiceBase,
    WatchRunRequest,
    WatchRunResponse,
)
from dts.pb.google.rpc import BadRequest, ErrorInfo
from dts.pb.google.rpc import Status as StatusMessage
from support.rpc import LOOPBACK, TOKEN, listening

CLIENT = Path(__file__).with_name("google_client.py")
SERVICE = "/dts.v1.SchedulerService/"
SHOWN = (("authorization", f"Bearer {TOKEN}"),)


class Runs(SchedulerServiceBase):
    async def get_run(self, message: GetRunRequest) -> GetRunResponse:
        if message.run == "wait":
            await asyncio.Event().wait()
        if message.run == "gone":
            raise NotFound("there is no run ‘gone’", code="run.unknown")
        if not message.run:
            raise InvalidArgument([Violation("run", "run.empty", "may not be empty")])
        if message.run == "all wrong":
            raise InvalidArgument(Violation(f"field.{n}", "wrong", "is wrong " * 20) for n in range(500))
        return GetRunResponse(run=Run(id=message.run))

    async def watch_run(self, message: WatchRunRequest) -> AsyncIterator[WatchRunResponse]:
        for number in range(5):
            yield WatchRunResponse(run=Run(id=f"{message.run}{number}"))

    async def attach(self, messages: AsyncIterator[AttachRequest]) -> AsyncIterator[AttachResponse]:
        async for message in messages:
            yield AttachResponse(lease=LeaseRenewed(sequence=message.heartbeat.sequence))


@pytest.fixture
async def channel():
    async with listening(Runs()) as (_, port), grpc.aio.insecure_channel(f"{LOOPBACK}:{port}") as channel:
        yield channel


def unary(channel, method="GetRun", answer=GetRunResponse):
    return channel.unary_unary(SERVICE + method, request_serializer=bytes, response_deserializer=answer.parse)


async def test_a_call_is_answered(channel):
    answer = await unary(channel)(GetRunRequest(run="r1"), metadata=SHOWN)
    assert answer.run.id == "r1"


async def test_a_stream_is_answered(channel):
    watch = channel.unary_stream(
        SERVICE + "WatchRun", request_serializer=bytes, response_deserializer=WatchRunResponse.parse
    )
    answers = [answer.run.id async for answer in watch(WatchRunRequest(run="r"), metadata=SHOWN)]
    assert answers == ["r0", "r1", "r2", "r3", "r4"]


async def test_an_exchange_is_answered(channel):
    attach = channel.stream_stream(
        SERVICE + "Attach", request_serializer=bytes, response_deserializer=AttachResponse.parse
    )
    call = attach(metadata=SHOWN)
    for number in range(3):
        await call.write(AttachRequest.parse(bytes.fromhex("120208") + bytes([number])))
        assert (await call.read()).lease.sequence == number
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_violations_come_as_standard_details(channel):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await unary(channel)(GetRunRequest(), metadata=SHOWN)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "run: may not be empty"
    status = details_of(caught.value)
    assert (status.code, status.message) == (3, "run: may not be empty")
    info, bad = status.details
    assert ErrorInfo.parse(info.value).reason == "invalid_argument"
    (violation,) = BadRequest.parse(bad.value).field_violations
    assert (violation.field, violation.reason) == ("run", "run.empty")


async def test_the_code_of_an_error_is_the_reason_of_its_details(channel):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await unary(channel)(GetRunRequest(run="gone"), metadata=SHOWN)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert caught.value.details() == "there is no run ‘gone’"
    assert ErrorInfo.parse(details_of(caught.value).details[0].value).reason == "run.unknown"


async def test_more_violations_than_headers_can_hold_are_counted(channel):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await unary(channel)(GetRunRequest(run="all wrong"), metadata=SHOWN)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    violations = BadRequest.parse(details_of(caught.value).details[1].value).field_violations
    told = len(violations) - 1
    assert told > 3
    assert violations[-1].description == f"{500 - told} more of its fields were refused"


async def test_a_deadline_ends_the_call(channel):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await unary(channel)(GetRunRequest(run="wait"), metadata=SHOWN, timeout=0.2)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("shown", [(), (("authorization", "Bearer wrong"),), (("authorization", TOKEN),)])
async def test_a_caller_without_the_token_is_refused(channel, shown):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await unary(channel)(GetRunRequest(run="r1"), metadata=shown)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_stranger_does_not_learn_which_methods_exist(channel):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await unary(channel, "NoSuchMethod")(GetRunRequest())
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_an_unknown_method_is_unimplemented(channel):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await unary(channel, "NoSuchMethod")(GetRunRequest(), metadata=SHOWN)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(("size", "code"), [(2**20, None), (2**20 + 1, grpc.StatusCode.RESOURCE_EXHAUSTED)])
async def test_a_request_may_have_a_mebibyte_and_no_more(channel, size, code):
    request = b"\x0a" + varint(size - 4) + b"x" * (size - 4)
    call = channel.unary_unary(SERVICE + "GetRun")(request, metadata=SHOWN)
    assert len(request) == size
    assert (await outcome(call)) is code


async def test_a_compressed_request_is_unimplemented(channel):
    call = channel.unary_unary(SERVICE + "GetRun")(
        bytes(GetRunRequest(run="r" * 1000)), metadata=SHOWN, compression=grpc.Compression.Gzip
    )
    assert (await outcome(call)) is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    "body",
    [
        b"\x0a",  # a string without its length
        b"\x0a\x05abc",  # a string that ends too early
        b"\x0a\xff",  # a length that ends too early
        b"\x08\x01",  # a number where a string belongs
        b"\x0a\x02\xff\xfe",  # no UTF-8
        b"\x0b\x0c",  # a group
        b"\x00\x01",  # field 0
        b"\xff" * 11,  # a number of eleven bytes
    ],
)
async def test_bytes_that_are_no_message_are_an_invalid_argument(channel, body):
    call = channel.unary_unary(SERVICE + "GetRun")(body, metadata=SHOWN)
    assert (await outcome(call)) is grpc.StatusCode.INVALID_ARGUMENT


async def test_health_needs_no_token(channel):
    check = health(channel.unary_unary, "Check")
    for service in ("", "dts.v1.SchedulerService"):
        answer = await check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await check(health_pb2.HealthCheckRequest(service="no.such.Service"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_watching_health_needs_the_token(channel):
    watch = health(channel.unary_stream, "Watch")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await watch(health_pb2.HealthCheckRequest()).read()
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_watcher_learns_that_the_server_stops():
    async with listening(Runs()) as (server, port), grpc.aio.insecure_channel(f"{LOOPBACK}:{port}") as channel:
        watch = health(channel.unary_stream, "Watch")(health_pb2.HealthCheckRequest(), metadata=SHOWN)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        stopping = asyncio.create_task(server.stop(1))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        await stopping


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_lists_services_and_describes_them(channel, version):
    ask = reflection(channel, version)
    questions = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="dts.v1.SchedulerService.GetRun"),
        reflection_pb2.ServerReflectionRequest(file_by_filename="google/protobuf/timestamp.proto"),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="grpc.health.v1.Health"),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="no.such.Thing"),
    ]
    call = ask(iter(questions), metadata=SHOWN)
    listed, described, timestamp, healthy, unknown = [answer async for answer in call]
    assert {entry.name for entry in listed.list_services_response.service} == {
        "dts.v1.SchedulerService",
        "grpc.health.v1.Health",
    }
    file = descriptor_pb2.FileDescriptorProto.FromString(described.file_descriptor_response.file_descriptor_proto[0])
    assert "GetRun" in [method.name for service in file.service for method in service.method]
    assert b"Timestamp" in timestamp.file_descriptor_response.file_descriptor_proto[0]
    assert b"HealthCheckRequest" in healthy.file_descriptor_response.file_descriptor_proto[0]
    assert unknown.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_needs_the_token(channel, version):
    call = reflection(channel, version)()
    assert await call.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_googles_own_packages_understand_health_and_reflection():
    async with listening(Runs()) as (_, port):
        client = await asyncio.create_subprocess_exec(
            sys.executable, str(CLIENT), f"{LOOPBACK}:{port}", TOKEN, "dts.v1.SchedulerService", stdout=PIPE
        )
        printed, _ = await client.communicate()
    learnt = json.loads(printed)
    assert learnt["health"] == "SERVING"
    assert set(learnt["services"]) == {"dts.v1.SchedulerService", "grpc.health.v1.Health"}
    assert learnt["methods"]["Attach"] == "dts.v1.AttachRequest"
    assert learnt["fields"] == ["run"]


def health(kind, method):
    return kind(
        f"/grpc.health.v1.Health/{method}",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )


def reflection(channel, version):
    return channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )


async def outcome(call):
    """The status of a call that failed, None of one that did not."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return None


def details_of(error):
    (raw,) = (value for name, value in error.trailing_metadata() if name == "grpc-status-details-bin")
    return StatusMessage.parse(raw)


def varint(number):
    return bytes([number & 127 | 128, number >> 7 & 127 | 128, number >> 14])
