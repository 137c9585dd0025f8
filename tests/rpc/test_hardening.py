"""Broken and hostile peers hurt nobody but themselves."""

import asyncio
import contextlib
import time
import tracemalloc

import pytest
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes
from raw_peer import framed, raw_peer

from dts.domain.errors import InvalidArgument, Unavailable
from dts.pb.dts.v1 import (
    ApplyTasksRequest,
    DatabaseServiceBase,
    GetRunRequest,
    GetRunResponse,
    ListRunsRequest,
    NodeLease,
    PreviewScheduleRequest,
    RenewLeasesRequest,
    Run,
    SchedulerServiceBase,
    SchedulerServiceStub,
    Targets,
)
from dts.rpc.address import HostPort
from dts.rpc.channel import connect
from dts.rpc.limits import PUBLIC_MESSAGE_BYTES, Limits
from dts.rpc.stubs import stub
from support.polling import eventually
from support.rpc import LOOPBACK, TOKEN, listening

OK, INVALID, DEADLINE, EXHAUSTED, UNIMPLEMENTED, UNAVAILABLE, UNAUTHENTICATED = 0, 3, 4, 8, 12, 14, 16
R1 = framed(bytes(GetRunRequest(run="r1")))
WAIT = framed(bytes(GetRunRequest(run="wait")))


class Runs(SchedulerServiceBase):
    """Waits in the run `wait` until it is let go."""

    def __init__(self):
        self.started = asyncio.Event()
        self.go = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def get_run(self, message):
        if message.run == "wait":
            self.started.set()
            try:
                await self.go.wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        return GetRunResponse(run=Run(id=message.run))


@contextlib.asynccontextmanager
async def a_peer(**limits):
    async with listening(Runs(), limits=Limits(**limits)) as (_, port), raw_peer(port) as peer:
        yield peer


@contextlib.asynccontextmanager
async def a_peer_with_another_call():
    """A peer one of whose calls is under way; in the end it must be answered as if nothing had happened."""
    service = Runs()
    async with listening(service) as (_, port), raw_peer(port) as peer:
        other = peer.request(body=WAIT)
        async with asyncio.timeout(5):
            flow = asyncio.create_task(_pump_forever(peer))
            await service.started.wait()
        flow.cancel()
        await asyncio.wait([flow])  # two readers would take the words out of each other's mouths
        yield peer
        service.go.set()
        assert await peer.status(other) == OK


async def _pump_forever(peer):
    while True:
        await peer.pump()


async def test_a_usual_call_is_answered():
    async with a_peer() as peer:
        stream = peer.request(body=R1)
        assert await peer.status(stream) == OK
        assert GetRunResponse.parse(peer.data[stream][5:]).run.id == "r1"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (None, INVALID),  # no message at all
        (b"\x00", INVALID),
        (b"\x00\x00\x00\x00", INVALID),
        (framed(b"\x0a\x02r1", length=9), INVALID),
        (R1 + R1, INVALID),
        (R1 + b"\x00", INVALID),
        (framed(b"\x0a\x02r1", flag=1), UNIMPLEMENTED),
        (framed(b"\x0a\x02r1", flag=7), UNIMPLEMENTED),
        (framed(b"", length=2**32 - 1), EXHAUSTED),
        (framed(b"", length=2**20 + 1), EXHAUSTED),
    ],
)
async def test_a_bad_message_is_refused_and_hurts_no_other_call(body, status):
    async with a_peer_with_another_call() as peer:
        assert await peer.status(peer.request(body=body)) == status


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"x_bin": b"!!!"}, INVALID),
        ({"x_bin": b"A"}, INVALID),
        ({"x_bin": b"AAA, AA=="}, OK),
        ({"x_note": "naïve".encode()}, INVALID),
        ({"x_note": b"\xff\xfe"}, INVALID),
        ({"na\xefve": b"x"}, INVALID),
        ({"grpc_timeout": b"12x"}, INVALID),
        ({"grpc_timeout": b"-1S"}, INVALID),
        ({"grpc_timeout": b"1" * 20 + b"S"}, INVALID),
        ({"grpc_timeout": b""}, INVALID),
        ({"grpc_timeout": b"1S\n"}, INVALID),
        ({"grpc_timeout": b"0n"}, DEADLINE),
        ({"grpc_timeout": b"99999999H"}, OK),
        ({"path": b"/dts.v1.SchedulerService/Nothing"}, UNIMPLEMENTED),
        ({"path": b"/"}, UNIMPLEMENTED),
        ({"path": b"nothing"}, {"http": 400}),
        ({"method": b"GET"}, {"http": 405}),
        ({"content_type": b"text/html"}, {"http": 415}),
        ({"content_type": b"application/grpc+json"}, {"http": 415}),
        ({"content_type": b"application/grpc+proto"}, OK),
        ({"te": b"gzip"}, {"http": 400}),
        ({"authorization": b"Bearer other"}, UNAUTHENTICATED),
    ],
    ids=str,
)
async def test_a_bad_header_is_refused_and_hurts_no_other_call(changes, status):
    async with a_peer_with_another_call() as peer:
        changes = {name.encode("latin-1").decode("latin-1"): value for name, value in changes.items()}
        assert await peer.status(peer.request(body=R1, **changes)) == status


@pytest.mark.parametrize(
    ("drop", "status"),
    [
        ("path", {"http": 400}),
        ("method", {"http": 405}),
        ("te", {"http": 400}),
        ("content-type", {"http": 415}),
        ("authorization", UNAUTHENTICATED),
    ],
)
async def test_a_missing_header_is_refused_and_hurts_no_other_call(drop, status):
    async with a_peer_with_another_call() as peer:
        assert await peer.status(peer.request(body=R1, drop=(drop,))) == status


async def test_an_unknown_frame_is_ignored():
    async with a_peer_with_another_call() as peer:
        peer.write(b"\x00\x00\x04\xfa\x00\x00\x00\x00\x00junk")
        assert await peer.status(peer.request(body=R1)) == OK


async def test_an_empty_frame_within_a_message_is_ignored():
    async with a_peer() as peer:
        stream = peer.request(end=False)
        peer.h2.send_data(stream, R1[:3])
        peer.h2.send_data(stream, b"")
        peer.h2.send_data(stream, R1[3:])
        peer.h2.send_data(stream, b"", end_stream=True)
        peer.flush()
        assert await peer.status(stream) == OK


async def test_a_message_too_large_is_refused_by_its_length_alone():
    async with a_peer() as peer:
        stream = peer.request(body=framed(b"", length=2**31), end=False)
        assert await peer.status(stream) == EXHAUSTED


def field(number: int, content: bytes) -> bytes:
    size, length = len(content), b""
    while size >= 128:
        size, length = size >> 7, length + bytes([size & 127 | 128])
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


@pytest.mark.parametrize(
    ("request_type", "body"),
    [
        (ListRunsRequest, field(2, b"\x01" * 1_000_000)),
        (ApplyTasksRequest, field(1, b"") * 500_000),
        (ApplyTasksRequest, field(1, field(3, field(1, b"") * 2000)) * 200),
        (PreviewScheduleRequest, field(1, field(1, b"") * 500_000)),
    ],
)
async def test_a_message_of_very_many_entries_is_refused_before_it_holds_up_others(request_type, body):
    assert len(body) <= PUBLIC_MESSAGE_BYTES
    async with listening(Runs()) as (server, _):
        codec = server.desk.codec("/dts.v1.SchedulerService/ListRuns")
        begin = time.process_time()
        with pytest.raises(InvalidArgument, match="more than 50000 entries"):
            codec.decode(body, request_type)
        assert time.process_time() - begin < 1.0


async def test_messages_between_roles_may_have_as_many_entries_as_they_need():
    lease = NodeLease(node_id="n1", targets=Targets(names=["container/x"] * 60_000))
    request = RenewLeasesRequest(leases=[lease])
    async with listening(DatabaseServiceBase()) as (server, _):
        codec = server.desk.codec("/dts.v1.DatabaseService/RenewLeases")
        assert codec.decode(bytes(request), RenewLeasesRequest) == request


async def test_a_flood_of_one_message_takes_no_memory():
    async with a_peer_with_another_call() as peer:
        tracemalloc.start()
        stream = peer.request(body=framed(b"", length=600 * 2**20), end=False)
        with contextlib.suppress(ProtocolError):  # the stream is reset while we still send
            while stream not in peer.ended:
                room = peer.h2.local_flow_control_window(stream)
                if not room:
                    await peer.pump()
                    continue
                peer.h2.send_data(stream, bytes(min(room, 16384)))
                peer.flush()
        assert await peer.status(stream) == EXHAUSTED
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 16 * 2**20


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", bytes(range(256)) * 8],
    ids=["http1", "tls", "noise"],
)
async def test_what_is_not_http2_is_closed(data):
    async with listening(Runs()) as (_, port), raw_peer(port, greet=False) as peer:
        peer.write(data)
        await _really_closed(peer)


@pytest.mark.parametrize("data", [b"", b"PRI * HTTP/2.0\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"])
async def test_a_connection_that_never_speaks_http2_is_closed(data):
    limits = Limits(preface_seconds=0.2)
    async with listening(Runs(), limits=limits) as (_, port), raw_peer(port, greet=False) as peer:
        peer.write(data)
        await _really_closed(peer)


async def test_an_idle_connection_is_closed_and_one_with_a_call_is_not():
    service = Runs()
    async with (
        listening(service, limits=Limits(idle_seconds=0.2)) as (_, port),
        raw_peer(port) as idle,
        raw_peer(port) as busy,
    ):
        stream = busy.request(body=WAIT)
        await idle.closed()
        assert idle.goaway == ErrorCodes.NO_ERROR
        await asyncio.sleep(0.3)  # longer than an idle connection may live
        service.go.set()
        assert await busy.status(stream) == OK


async def test_a_call_that_never_sends_its_request_is_ended():
    async with a_peer(request_seconds=0.2) as peer:
        assert await peer.status(peer.request(end=False)) == DEADLINE


async def test_a_call_that_never_ends_its_request_is_ended():
    async with a_peer(request_seconds=0.2) as peer:
        assert await peer.status(peer.request(body=R1, end=False)) == DEADLINE


async def test_connections_over_the_limit_are_closed_at_once():
    async with listening(Runs(), limits=Limits(connections=2)) as (_, port):
        async with raw_peer(port) as one, raw_peer(port) as two:
            assert await one.status(one.request(body=R1)) == OK
            assert await two.status(two.request(body=R1)) == OK
            async with raw_peer(port) as three:
                await three.closed()
        await eventually(lambda: _served(port))


async def test_calls_over_the_limit_of_the_server_are_refused():
    async with a_peer(calls=2) as peer:
        for _ in range(2):
            peer.request(body=WAIT)
        assert await peer.status(peer.request(body=R1)) == EXHAUSTED


async def test_the_limit_of_streams_is_told_to_the_peer():
    async with a_peer(streams=7) as peer:
        assert await peer.status(peer.request(body=R1)) == OK
        assert peer.h2.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] == 7


async def test_a_peer_that_ignores_the_limit_of_streams_is_closed():
    async with a_peer(streams=3) as peer:
        assert await peer.status(peer.request(body=R1)) == OK
        peer.h2.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = 1000
        peer.h2.remote_settings.acknowledge()
        for _ in range(20):
            peer.request(body=WAIT)
        await peer.closed()


async def test_headers_over_the_limit_close_the_connection():
    async with a_peer() as peer:
        peer.request(body=R1, x_large=b"x" * 20_000)
        await peer.closed()
        assert peer.goaway == ErrorCodes.ENHANCE_YOUR_CALM


async def test_headers_under_the_limit_are_taken():
    async with a_peer() as peer:
        assert await peer.status(peer.request(body=R1, x_large=b"x" * 15_000)) == OK


@pytest.mark.parametrize("kind", ["ping", "settings", "reset", "unknown"])
async def test_a_flood_of_frames_without_use_is_cut_off(kind):
    async with a_peer(nuisances=100) as peer:
        with contextlib.suppress(ConnectionError, ProtocolError):
            for number in range(300):
                _nuisance(peer, kind, number)
        await peer.closed()
        assert peer.goaway in (ErrorCodes.ENHANCE_YOUR_CALM, None)


async def test_some_frames_without_use_are_borne():
    async with a_peer(nuisances=100) as peer:
        for number in range(90):
            _nuisance(peer, "ping", number)
        assert await peer.status(peer.request(body=R1)) == OK


async def test_a_caller_that_vanishes_ends_its_calls():
    service = Runs()
    async with listening(service) as (_, port):
        async with raw_peer(port) as peer:
            peer.request(body=WAIT)
            async with asyncio.timeout(5):
                await service.started.wait()
        async with asyncio.timeout(5):
            await service.cancelled.wait()


async def test_an_early_answer_reaches_a_caller_that_is_still_sending():
    async with listening(Runs()) as (_, port):
        channel = connect([HostPort(LOOPBACK, port)], token="wrong")
        with pytest.raises(Exception, match="token") as caught:
            await stub(SchedulerServiceStub, channel).get_run(GetRunRequest(run="r" * 900_000))
        channel.close()
    assert type(caught.value).__name__ == "Unauthenticated"


async def test_a_server_that_speaks_nonsense_is_unavailable():
    async def babble(_, writer):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(babble, LOOPBACK, 0)
    channel = connect([HostPort(LOOPBACK, server.sockets[0].getsockname()[1])], token=TOKEN)
    with pytest.raises(Unavailable):
        await stub(SchedulerServiceStub, channel).get_run(GetRunRequest(run="r"))
    channel.close()
    server.close()


def _nuisance(peer, kind, number):
    match kind:
        case "ping":
            peer.h2.ping(number.to_bytes(8, "big"))
        case "settings":
            peer.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 65535 + number})
        case "reset":
            peer.h2.reset_stream(peer.request(body=WAIT))
        case "unknown":
            peer.write(b"\x00\x00\x00\xfa\x00\x00\x00\x00\x00")
    peer.flush()


async def _really_closed(peer):
    """The end of the connection, whatever the server said before it."""
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionError):
            while await peer._reader.read(4096):
                pass


async def _served(port):
    try:
        async with raw_peer(port) as peer:
            return await peer.status(peer.request(body=R1)) == OK
    except ConnectionError:
        return False
