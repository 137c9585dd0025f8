from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from dts.pb.dts.v1 import LogStream, Node, RunState
from dts.roles.executor import shipping
from dts.roles.executor.attempt_log import CHUNK_BYTES, HEAD_BYTES, TAIL_BYTES, AttemptLog, StreamLog
from dts.roles.executor.journal import open_journal
from dts.roles.executor.shipping import Shipper
from support.executors import LogShelf, ScriptedRunner, process, running
from support.polling import eventually
from support.scheduler import EPOCH_MICROS, ScriptedScheduler

OUT = LogStream.STDOUT


def pieces(stream):
    found = []
    while (piece := stream.take()) is not None:
        found.append(piece)
    return found


def pattern(size, start=0):
    return bytes((start + at) * 7 % 251 for at in range(size))


@pytest.mark.parametrize("size", [1, CHUNK_BYTES, HEAD_BYTES, HEAD_BYTES + 1, HEAD_BYTES + TAIL_BYTES])
@pytest.mark.parametrize("step", [1000, 700_000])
def test_a_stream_within_the_cap_is_kept_whole(size, step):
    stream, data = StreamLog(OUT), pattern(size)
    for at in range(0, size, step):
        stream.add(data[at : at + step])
    stream.finish()
    found = pieces(stream)
    assert b"".join(piece.content for piece in found) == data
    assert all(piece.cut_before == 0 and len(piece.content) <= CHUNK_BYTES for piece in found)
    assert [piece.offset for piece in found[1:]] == [piece.end for piece in found[:-1]]
    assert stream.pending == 0


@pytest.mark.parametrize("surplus", [1, 1000, 3_000_000])
@pytest.mark.parametrize("step", [4096, 700_000])
def test_the_middle_of_a_longer_stream_is_cut_and_counted(surplus, step):
    size = HEAD_BYTES + TAIL_BYTES + surplus
    stream, data = StreamLog(OUT), pattern(size)
    for at in range(0, size, step):
        stream.add(data[at : at + step])
    head = pieces(stream)
    assert b"".join(piece.content for piece in head) == data[:HEAD_BYTES]
    stream.finish()
    tail = pieces(stream)
    assert b"".join(piece.content for piece in tail) == data[-TAIL_BYTES:]
    assert [piece.cut_before for piece in tail] == [surplus, 0]
    assert tail[0].offset == HEAD_BYTES + surplus
    assert stream.seen == size


def test_memory_for_a_stream_is_bounded():
    stream = StreamLog(OUT)
    for _ in range(300):
        stream.add(bytes(65_536))
    assert len(stream._tail) <= 2 * TAIL_BYTES
    assert len(stream._head) <= HEAD_BYTES


def test_a_head_that_was_stopped_goes_on_as_the_tail():
    stream, data = StreamLog(OUT), pattern(TAIL_BYTES + 2000)
    stream.add(data[:1000])
    stream.stop_head()
    stream.add(data[1000:])
    stream.finish()
    found = pieces(stream)
    assert (found[0].offset, len(found[0].content)) == (0, 1000)
    assert (found[1].offset, found[1].cut_before) == (2000, 1000)
    assert b"".join(piece.content for piece in found[1:]) == data[2000:]


def test_after_a_restart_the_same_pieces_are_cut_and_none_before_them():
    first, data = StreamLog(OUT), pattern(300_000)
    first.add(data[:100])
    first.take()
    first.add(data[100:5000])
    piece = first.take()
    again = StreamLog(OUT, (piece.offset, piece.end))
    again.add(data[:60])
    assert again.take() is None
    again.add(data[60:3000])
    assert again.take() is None
    again.add(data[3000:])
    found = pieces(again)
    assert found[0] == piece
    assert b"".join(piece.content for piece in found) == data[100:]


def test_a_head_that_is_stopped_while_it_is_read_again_repeats_nothing():
    """The other stream of the attempt may be further on when the store is crowded."""
    first, data = StreamLog(OUT), pattern(9000)
    first.add(data[:1000])
    first.take()
    first.add(data[1000:5000])
    piece = first.take()
    again = StreamLog(OUT, (piece.offset, piece.end))
    again.add(data[:500])
    again.stop_head()
    again.add(data[500:])
    again.finish()
    found = pieces(again)
    assert found[0] == piece
    assert b"".join(piece.content for piece in found) == data[1000:]


def test_after_a_restart_a_head_ends_where_it_was_stopped():
    """Else the pieces of what came after it, which may be stored, would be cut in other places."""
    data = pattern(CHUNK_BYTES * 2 + 500)
    first = AttemptLog()
    first.streams[OUT].add(data[:1000])
    stopped = first.stop_heads()
    first.streams[OUT].add(data[1000:])
    first.finish()
    found = pieces(first)
    sent = {OUT: (found[1].offset, found[-1].end), **stopped}
    again = AttemptLog(sent)
    assert again.stop_heads() == {}
    again.streams[OUT].add(data)
    again.finish()
    assert pieces(again) == found[1:]


async def test_where_heads_were_stopped_is_in_the_journal(tmp_path, monkeypatch):
    monkeypatch.setattr(shipping, "ROOM_BYTES", 10)
    monkeypatch.setattr(shipping, "PATIENCE_SECONDS", 0)
    key = (uuid4().bytes, 1)
    journal = open_journal(tmp_path, lambda: datetime.now(UTC))
    journal.started(key)
    source = Shipper(LogShelf(), journal, now=lambda: datetime.now(UTC), rand=lambda: 0.5).source(
        key, datetime.now(UTC)
    )
    await source.emit(OUT, b"x" * 100)
    assert AttemptLog(journal.entries[key].sent).stop_heads() == {}
    assert (100, 100) in journal.entries[key].sent.values()
    await journal.close()


@pytest.fixture
async def at_work(tmp_path):
    """One attempt at work: what it prints, the shelf, and its end."""
    scheduler, runner, shelf, key = ScriptedScheduler(), ScriptedRunner(), LogShelf(), (uuid4(), 4)
    async with running(scheduler, tmp_path, runners={"process": runner}, logs=shelf):
        scheduler.assign([key], process())
        work = await eventually(lambda: runner.works.get(key))
        await eventually(lambda: work.emit)
        yield work, shelf, lambda: scheduler.final(key)


async def test_what_work_prints_arrives_while_it_runs(at_work):
    work, shelf, _ = at_work
    await work.emit(LogStream.STDOUT, b"hello ")
    await work.emit(LogStream.STDERR, b"oh")
    await work.emit(LogStream.STDOUT, b"world\n")
    await eventually(lambda: shelf.pieces(LogStream.STDERR) == [(0, b"oh", 0)])
    assert shelf.pieces() == [(0, b"hello world\n", 0)]
    entry, request = shelf.entries[0], shelf.requests[0]
    assert (entry.run_id, entry.scheduled_at, entry.chunk.attempt) == (work.job.run_id.bytes, EPOCH_MICROS, 4)
    assert (request.node_id, bool(request.incarnation), entry.length) == ("n1", True, 12)
    assert entry.chunk.at is not None


async def test_the_log_is_complete_before_the_result_is_reported(at_work):
    work, shelf, final = at_work
    text = b"line\n" * 200_000
    await work.emit(LogStream.STDOUT, text)
    work.end(0)
    report = await eventually(final)
    assert b"".join(content for _, content, _ in shelf.pieces()) == text
    assert report.detail.log_bytes == len(text)
    assert any(entry.compressed and len(entry.chunk.content) < entry.length / 10 for entry in shelf.entries)


async def test_a_log_store_that_is_away_delays_a_result_and_does_not_keep_it(at_work, monkeypatch):
    monkeypatch.setattr(shipping, "PATIENCE_SECONDS", 0.2)
    work, shelf, final = at_work
    shelf.away = True
    await work.emit(LogStream.STDOUT, b"late")
    work.end(0)
    assert (await eventually(final, within=2)).state is RunState.SUCCEEDED
    assert shelf.pieces() == []
    shelf.away = False
    await eventually(lambda: shelf.pieces() == [(0, b"late", 0)])


async def test_who_prints_too_much_waits_for_the_store_and_then_loses_the_middle(at_work, monkeypatch):
    monkeypatch.setattr(shipping, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(shipping, "ROOM_BYTES", 10_000)
    work, shelf, final = at_work
    shelf.away = True
    printing = asyncio.create_task(work.emit(LogStream.STDOUT, b"a" * 20_000))
    await asyncio.wait([printing], timeout=0.05)
    assert not printing.done()
    await printing
    async with asyncio.timeout(0.1):
        await work.emit(LogStream.STDOUT, b"b" * TAIL_BYTES * 2)
    monkeypatch.undo()
    monkeypatch.setattr(shipping, "PATIENCE_SECONDS", 0.2)
    work.end(0)
    await eventually(final)
    shelf.away = False
    await eventually(lambda: sum(len(content) for _, content, _ in shelf.pieces()) == 20_000 + TAIL_BYTES)
    assert [cut for _, _, cut in shelf.pieces() if cut] == [TAIL_BYTES]


async def test_a_store_that_is_away_for_long_costs_the_logs_of_what_is_over_and_no_memory(at_work, monkeypatch):
    monkeypatch.setattr(shipping, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(shipping, "ROOM_BYTES", 1000)
    work, shelf, final = at_work
    shelf.away = True
    await work.emit(LogStream.STDOUT, b"a" * 500)
    await eventually(lambda: not work.emit.__self__._shipper._waiting)
    await work.emit(LogStream.STDOUT, b"b" * 5000)
    work.end(0)
    assert (await eventually(final)).detail.log_bytes == 5500
    assert work.emit.__self__._shipper._pending <= 2000
    shelf.away = False
    await eventually(lambda: shelf.pieces() == [(0, b"a" * 500, 0)])


async def test_what_was_printed_before_the_node_is_known_waits_for_it(tmp_path):
    """What an earlier process left is found before an engine has said which node this is."""
    shelf = LogShelf()
    journal = open_journal(tmp_path, lambda: datetime.now(UTC))
    shipper = Shipper(shelf, journal, now=lambda: datetime.now(UTC), rand=lambda: 0.5)
    sending = asyncio.create_task(shipper.run())
    source = shipper.source((uuid4().bytes, 1), datetime.now(UTC))
    await source.emit(OUT, b"early")
    closing = asyncio.create_task(source.close())
    await eventually(lambda: source.under_way == 1)
    assert shelf.requests == []
    shipper.send_as(Node(id="n1", incarnation=str(uuid4())))
    await closing
    assert shelf.pieces() == [(0, b"early", 0)]
    sending.cancel()
    await journal.close()
