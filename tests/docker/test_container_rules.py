"""What needs no engine: what its notes are worth, how its log is read, what an image is called."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from dts.docker.engine import Engine
from dts.docker.logs import Demultiplexer, Piece, seconds_of
from dts.docker.values import Container, Event, Image, instant
from dts.domain.errors import FailedPrecondition, InvalidArgument
from dts.roles.executor.container.end import OOM_LOOKS, SETTLE, Vigil, judge, saw_it
from dts.roles.executor.container.images import digest_of
from dts.roles.executor.container.tail import Cursor, Tail
from dts.roles.executor.container.work import ContainerWork
from dts.roles.executor.work import Refused

T0 = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
AT = "2026-01-31T12:00:00.{:09d}Z"


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def seen(code: int, *, started: float | None = 0, finished: float | None = 60, oom: bool = False) -> Container:
    return Container(
        id="c",
        name="dts-c",
        image="sha256:1",
        status="exited",
        exit_code=code,
        oom_killed=oom,
        error="",
        started_at=None if started is None else at(started),
        finished_at=None if finished is None else at(finished),
        labels={},
    )


HEARD = at(70)


@pytest.mark.parametrize(
    ("container", "same", "code"),
    [
        (seen(0), True, 0),
        (seen(0), False, None),
        (seen(0, finished=30), False, None),
        (seen(0, finished=75), False, 0),
        (seen(3), False, 3),
        (seen(137), False, None),
        (seen(255), False, None),
        (seen(137), True, 137),
        (seen(0, finished=-5), True, None),
        (seen(0, finished=-0.0005), True, 0),
        (seen(0, started=None), True, None),
        (seen(0, finished=None), True, None),
    ],
)
def test_what_the_notes_of_an_engine_are_worth(container, same, code):
    assert judge(container, same_engine=same, heard=HEARD).exit_code == code


@pytest.mark.parametrize(("code", "cause"), [(137, True), (0, False), (1, False)])
def test_memory_is_the_cause_only_if_the_work_was_killed(code, cause):
    end = judge(seen(code, oom=True), same_engine=True, heard=HEARD)
    assert (end.exit_code, end.oom_killed) == (code, cause)


@pytest.mark.parametrize(("finished", "ago"), [(30, 40), (60, 10), (69.5, 0.5), (75, 0)])
def test_the_end_was_when_the_engine_noted_it(finished, ago):
    """Not when we came to hear of it."""
    end = judge(seen(3, finished=finished), same_engine=True, heard=HEARD)
    assert end.ago == timedelta(seconds=ago)


@dataclass
class Notes:
    """An engine that notes the cause of a kill at its `late`-th look."""

    late: int
    looks: int = 0

    async def inspect(self, _: str) -> Container:
        self.looks += 1
        return seen(137, oom=self.looks >= self.late)


@pytest.mark.parametrize(("late", "oom", "looks"), [(1, True, 1), (3, True, 3), (100, False, 1 + OOM_LOOKS)])
async def test_that_memory_was_the_cause_of_a_kill_may_be_noted_a_moment_later(monkeypatch, late, oom, looks):
    monkeypatch.setattr("dts.roles.executor.container.end.OOM_PAUSE", 0)
    notes = Notes(late)
    end = await Vigil(notes, "c", now=lambda: at(60))._witnessed(137)
    assert (end.exit_code, end.oom_killed, notes.looks) == (137, oom, looks)


async def test_what_was_not_killed_is_looked_at_once():
    notes = Notes(100)
    assert (await Vigil(notes, "c", now=lambda: at(60))._witnessed(3)).exit_code == 3
    assert notes.looks == 1


class Refusing:
    """An engine that calls a start failed. noted: what it has noted of the container."""

    listening = True

    def __init__(self, noted: Container) -> None:
        self.noted = noted
        self.removed = 0

    async def start(self, _: str) -> None:
        raise FailedPrecondition("context deadline exceeded", code="engine_error")

    async def inspect(self, _: str) -> Container:
        return self.noted

    async def remove(self, _: str, *, force: bool) -> None:
        self.removed += not force


def work(engine: Refusing) -> ContainerWork:
    return ContainerWork(engine, "c", image_digest="", vigil=engine, created=True, discarded=lambda _: None)


async def test_a_start_that_an_engine_calls_failed_may_have_come_true():
    engine = Refusing(replace(seen(0), status="running"))
    await work(engine).start()
    assert engine.removed == 0


@pytest.mark.parametrize(("error", "words"), [("no such file", "no such file"), ("", "context deadline exceeded")])
async def test_a_start_that_failed_is_refused_and_cannot_come_true_later(error, words):
    engine = Refusing(replace(seen(0), status="created", error=error))
    with pytest.raises(Refused, match=words):
        await work(engine).start()
    assert engine.removed == (not error)


def test_an_engine_that_remembers_the_start_is_the_same():
    assert saw_it([Event("c", "start", at(0))], "c")
    assert not saw_it([Event("other", "start", at(0))], "c")
    assert not saw_it([], "c")


def test_an_engine_that_was_there_long_before_the_end_saw_it():
    die = Event("c", "die", at(100))
    assert saw_it([Event("other", "die", at(100) - SETTLE), die], "c")
    assert not saw_it([Event("other", "die", at(99)), die], "c")
    assert not saw_it([die], "c")


def frame(stream: int, text: bytes) -> bytes:
    return struct.pack(">BxxxL", stream, len(text)) + text


def test_frames_come_in_any_cut():
    content = frame(1, AT.format(1).encode() + b" one\n") + frame(2, AT.format(2).encode() + b" two")
    expected = [Piece(1, AT.format(1), b"one\n"), Piece(2, AT.format(2), b"two")]
    whole = Demultiplexer().feed(content)
    byte_by_byte = Demultiplexer()
    pieces = [piece for byte in content for piece in byte_by_byte.feed(bytes([byte]))]
    assert whole == pieces == expected


def test_what_the_engine_itself_has_to_say_is_not_what_was_printed():
    assert Demultiplexer().feed(frame(2, b"Error grabbing logs: unexpected EOF\n") + frame(3, b"x")) == []


def test_an_instant_is_asked_for_to_the_nanosecond():
    assert seconds_of("1970-01-01T00:01:00.000000007Z") == "60.000000007"


class Mute:
    """An engine, or the managers of a Swarm, whose log begins and then says nothing more."""

    async def logs(self, _: str, /, *, since: str, follow: bool) -> AsyncGenerator[list[Piece]]:  # noqa: ARG002
        yield [Piece(1, AT.format(1), b"one\n")]
        await asyncio.Event().wait()


async def test_the_rest_of_a_log_that_does_not_come_keeps_no_result(monkeypatch):
    monkeypatch.setattr("dts.roles.executor.container.tail.REST_SECONDS", 0.05)
    heard = bytearray()

    async def emit(_stream, content: bytes) -> None:
        await asyncio.sleep(0.2)  # a log that is taken slowly is not one that does not come
        heard.extend(content)

    tail = Tail(Mute(), "c", emit, idle=0.05)
    async with asyncio.timeout(20):
        await tail.finish(asyncio.create_task(tail.follow()))
    assert heard == b"one\n"


def test_a_cursor_skips_what_it_had_and_takes_the_rest():
    pieces = [Piece(1, AT.format(n), b"%d\n" % i) for i, n in enumerate([1, 2, 2, 2, 3])]
    cursor = Cursor()
    taken = [piece for piece in pieces[:3] if cursor.takes(piece)]
    cursor.rewind()
    taken += [piece for piece in pieces if cursor.takes(piece)]
    cursor.rewind()
    taken += [piece for piece in pieces[3:] if cursor.takes(piece)]
    assert taken == pieces


def test_a_cursor_takes_what_a_clock_that_was_set_back_wrote():
    cursor = Cursor()
    assert cursor.takes(Piece(1, AT.format(5), b"a"))
    assert cursor.takes(Piece(1, AT.format(3), b"b"))


@pytest.mark.parametrize(
    ("reference", "digests", "expected"),
    [
        ("app", ("app@sha256:a",), "sha256:a"),
        ("app:1", ("myapp@sha256:b", "app@sha256:a"), "sha256:a"),
        ("reg:5000/x/app:1", ("app@sha256:b", "reg:5000/x/app@sha256:a"), "sha256:a"),
        ("reg:5000/app@sha256:a", ("reg:5000/app@sha256:a",), "sha256:a"),
        ("busybox:1", ("docker.io/library/busybox@sha256:a",), "sha256:a"),
        ("app:1", (), "sha256:id"),
    ],
)
def test_the_digest_of_an_image_is_that_of_its_repository(reference, digests, expected):
    assert digest_of(reference, Image("sha256:id", digests)) == expected


def test_never_is_no_instant():
    assert instant("0001-01-01T00:00:00Z") is None
    assert instant("2026-01-31T12:00:00.123456789Z") == T0 + timedelta(microseconds=123456)
    assert instant("2026-01-31T13:00:00+01:00") == T0


@pytest.mark.parametrize("host", ["ssh://somewhere", "nonsense", "unix://"])
async def test_an_address_of_another_kind_is_refused(host):
    with pytest.raises(InvalidArgument, match="unix:// or tcp://"):
        Engine.connect(host)
