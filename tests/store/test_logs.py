"""What runs printed: stored once however often it is sent, and read back piece by piece."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from dts.domain.errors import InvalidArgument, NotFound, Unavailable
from dts.domain.ids import to_micros
from dts.pb.dts.v1 import (
    AppendLogsRequest,
    LogBatch,
    LogChunk,
    LogEntry,
    LogStream,
    MaintainRequest,
    ReadLogsRequest,
    ReadLogsResponse,
    Reason,
    RunState,
)
from support.ledger import Ledger

AT = datetime(2026, 5, 4, 12, tzinfo=UTC)
KIB = 1024
LONGEST = 256 * KIB


class Log:
    """The log of a run that node alpha holds."""

    def __init__(self, ledger: Ledger, run_id: UUID, scheduled_at: datetime) -> None:
        self.ledger = ledger
        self.run_id = run_id
        self.scheduled_at = scheduled_at

    def piece(
        self,
        content: bytes,
        offset: int = 0,
        *,
        stream: LogStream = LogStream.STDOUT,
        attempt: int = 1,
        cut_before: int = 0,
        compressed: bool = False,
        length: int | None = None,
    ) -> LogEntry:
        chunk = LogChunk(
            attempt=attempt,
            stream=stream,
            offset=offset,
            content=zlib.compress(content) if compressed else content,
            at=AT,
            cut_before=cut_before,
        )
        return LogEntry(
            run_id=self.run_id.bytes,
            scheduled_at=to_micros(self.scheduled_at),
            chunk=chunk,
            compressed=compressed,
            length=len(content) if length is None else length,
        )

    async def append(self, *entries: LogEntry, node: str = "alpha") -> int:
        request = AppendLogsRequest(
            node_id=node, incarnation=self.ledger.nodes[node], batch=LogBatch(entries=list(entries))
        )
        return (await self.ledger.store.logs.append(request)).stored

    async def read(self, after: int = 0, *, attempt: int = 0, max_bytes: int = 0) -> ReadLogsResponse:
        request = ReadLogsRequest(run_id=str(self.run_id), attempt=attempt, after=after, max_bytes=max_bytes)
        return await self.ledger.store.logs.read(request)

    async def pages(self, *, max_bytes: int = 0) -> list[list[bytes]]:
        """Every page from the beginning to where there is no more."""
        pages: list[list[bytes]] = []
        after, more = 0, True
        while more:
            page = await self.read(after, max_bytes=max_bytes)
            assert page.next > after or not page.more, "a reader would turn in circles"
            pages.append([chunk.content for chunk in page.chunks])
            after, more = page.next, page.more
        return pages


@pytest.fixture
async def ledger(database) -> Ledger:
    return Ledger.on(database)


@pytest.fixture
async def log(ledger) -> Log:
    await ledger.node()
    run_id = await ledger.trigger(await ledger.task("talker"))
    assert await ledger.claim() == [(run_id, 1)]
    run = await ledger.run(run_id)
    assert run.scheduled_at is not None
    return Log(ledger, run_id, run.scheduled_at)


async def test_a_piece_is_stored_once_however_often_it_is_sent(log):
    piece = log.piece(b"hello\n")
    assert await log.append(piece) == 1
    assert await log.append(piece) == 0
    assert await log.append(piece, log.piece(b"world\n", 6), piece) == 1
    assert await log.pages() == [[b"hello\n", b"world\n"]]


async def test_a_piece_that_is_there_keeps_its_bytes(log):
    await log.append(log.piece(b"first"))
    assert await log.append(log.piece(b"other")) == 0
    assert await log.pages() == [[b"first"]]


async def test_offset_stream_and_attempt_tell_pieces_apart(log):
    assert await log.append(log.piece(b"a"), log.piece(b"b", stream=LogStream.STDERR), log.piece(b"c", 1)) == 3
    page = await log.read()
    assert [(chunk.stream, chunk.offset, chunk.content) for chunk in page.chunks] == [
        (LogStream.STDOUT, 0, b"a"),
        (LogStream.STDERR, 0, b"b"),
        (LogStream.STDOUT, 1, b"c"),
    ]


async def test_pieces_are_read_in_the_order_of_their_arrival_with_the_offsets_to_put_them_right(log):
    await log.append(log.piece(b"tail", 100, cut_before=60))
    await log.append(log.piece(b"head", 0))
    await log.append(log.piece(b"dtail", 99))  # overlaps what is there: kept as it was sent
    page = await log.read()
    assert [(chunk.offset, chunk.content, chunk.cut_before) for chunk in page.chunks] == [
        (100, b"tail", 60),
        (0, b"head", 0),
        (99, b"dtail", 0),
    ]
    assert {chunk.at for chunk in page.chunks} == {AT}


async def test_a_follower_reads_on_from_where_it_stopped_and_misses_nothing(log):
    await log.append(log.piece(b"one"))
    first = await log.read()
    assert ([chunk.content for chunk in first.chunks], first.more) == ([b"one"], False)
    nothing = await log.read(first.next)
    assert (nothing.chunks, nothing.next, nothing.more) == ([], first.next, False)
    await log.append(log.piece(b"two", 3))
    assert [chunk.content for chunk in (await log.read(nothing.next)).chunks] == [b"two"]


async def test_a_page_ends_at_its_bytes_but_has_at_least_one_piece(log):
    pieces = [bytes([65 + number]) * 100 for number in range(5)]
    await log.append(*(log.piece(piece, 100 * number) for number, piece in enumerate(pieces)))
    assert await log.pages(max_bytes=250) == [pieces[:2], pieces[2:4], pieces[4:]]
    assert await log.pages(max_bytes=1) == [[piece] for piece in pieces]
    assert await log.pages() == [pieces]


async def test_a_page_has_at_most_200_pieces_and_the_last_one_says_that_nothing_follows(log):
    await log.append(*(log.piece(b"x", offset) for offset in range(400)))
    assert [len(page) for page in await log.pages()] == [200, 200]


async def test_compressed_pieces_are_read_plain(log):
    text = b"the same line again\n" * 5000
    assert await log.append(log.piece(text, compressed=True), log.piece(b"end", len(text))) == 2
    assert await log.pages() == [[text, b"end"]]


async def test_bytes_that_are_no_text_come_back_as_they_were(log):
    every_byte = bytes(range(256))
    await log.append(log.piece(every_byte), log.piece(every_byte, 256, compressed=True))
    assert await log.pages() == [[every_byte, every_byte]]


async def test_the_longest_piece_is_256_kib_whether_compressed_or_not(log):
    assert await log.append(log.piece(b"x" * LONGEST)) == 1
    assert await log.append(log.piece(b"x" * LONGEST, LONGEST, compressed=True)) == 1
    for compressed in (False, True):
        with pytest.raises(InvalidArgument) as refused:
            await log.append(log.piece(b"x" * (LONGEST + 1), 2 * LONGEST, compressed=compressed))
        assert refused.value.violations[0].code == "log.size"
    assert [len(piece) for page in await log.pages() for piece in page] == [LONGEST, LONGEST]


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        (LogEntry(), "log.incomplete"),
        (LogEntry(run_id=uuid4().bytes, chunk=LogChunk(content=b"x", stream=LogStream.STDOUT)), "log.incomplete"),
    ],
)
async def test_an_entry_without_its_run_or_time_is_refused(log, entry, code):
    with pytest.raises(InvalidArgument) as refused:
        await log.append(entry)
    assert refused.value.violations[0].code == code


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"stream": LogStream.UNSPECIFIED}, "log.stream"),
        ({"offset": -1}, "log.offset"),
        ({"offset": 2**62}, "log.offset"),
        ({"cut_before": -1}, "log.offset"),
        ({"length": -1}, "log.size"),
        ({"length": 1}, "log.length"),
        ({"length": 99}, "log.length"),
        ({"compressed": True, "length": 1}, "log.length"),
        ({"compressed": True, "length": 99}, "log.length"),
    ],
)
async def test_a_wrong_piece_is_refused_and_the_whole_batch_with_it(log, wrong, code):
    with pytest.raises(InvalidArgument) as refused:
        await log.append(log.piece(b"good"), log.piece(**{"content": b"wrong", "offset": 4} | wrong))
    assert refused.value.violations[0].code == code
    assert await log.pages() == [[]]


@pytest.mark.parametrize("content", [b"this is no zlib", zlib.compress(b"x" * 100)[:-3]])
async def test_what_says_to_be_compressed_and_is_not_is_refused(log, content):
    piece = log.piece(b"x" * 100, compressed=True)
    assert piece.chunk is not None
    piece.chunk.content = content
    with pytest.raises(InvalidArgument):
        await log.append(piece)


async def test_a_node_stores_only_the_logs_of_its_own_attempts(log):
    await log.ledger.node("beta")
    assert await log.append(log.piece(b"forged"), node="beta") == 0
    stranger = Log(log.ledger, uuid4(), log.scheduled_at)
    assert await stranger.append(stranger.piece(b"nobody's")) == 0
    assert await log.pages() == [[]]


async def test_what_a_run_printed_can_follow_its_result(log):
    await log.append(log.piece(b"before "))
    await log.ledger.report([(log.run_id, 1)])
    assert await log.append(log.piece(b"after", 7)) == 1
    assert await log.pages() == [[b"before ", b"after"]]


async def test_the_rest_of_an_earlier_attempt_is_taken_although_the_run_went_to_another_node(ledger):
    await ledger.node(hostname="Alpha")
    task = await ledger.task("again", retries=1)
    run_id = await ledger.trigger(task)
    await ledger.claim()
    run = await ledger.run(run_id)
    log = Log(ledger, run_id, run.scheduled_at)
    await ledger.report([(run_id, 1)], RunState.FAILED, Reason.EXIT_CODE, exit_code=1)
    await ledger.node("beta")
    assert await ledger.claim("beta", now=(await ledger.run(run_id)).not_before) == [(run_id, 2)]
    assert await log.append(log.piece(b"late"), node="alpha") == 1
    assert await log.append(log.piece(b"forged", 4, attempt=2), node="alpha") == 0
    await log.append(log.piece(b"second", attempt=2), node="beta")
    assert [chunk.content for chunk in (await log.read(attempt=1)).chunks] == [b"late"]
    assert [chunk.content for chunk in (await log.read(attempt=2)).chunks] == [b"second"]
    assert len((await log.read()).chunks) == 2
    await ledger.report([(run_id, 2)], node="beta")
    assert await log.append(log.piece(b"later", 4), node="alpha") == 1


async def test_logs_lie_in_the_partition_of_the_day_of_their_run_and_go_with_it(log):
    upkeep = log.ledger.store.upkeep
    now = await log.ledger.now()
    await upkeep.maintain(MaintainRequest(now=now))
    await log.append(log.piece(b"today"))
    held = await log.ledger.pool.fetchval("SELECT tableoid::regclass::text FROM log_chunk")
    assert held == f"log_chunk_{log.scheduled_at:%Y%m%d}"
    await log.ledger.report([(log.run_id, 1)])
    response = await upkeep.maintain(MaintainRequest(now=now.replace(year=now.year + 1)))
    assert held in response.dropped
    assert await log.pages() == [[]]  # the run itself is one of the last of its task, and kept


async def test_the_logs_of_no_run_are_not_found(ledger):
    with pytest.raises(NotFound):
        await Log(ledger, uuid4(), AT).read()


async def test_another_node_adds_nothing_to_the_log(log):
    await log.ledger.node("beta")
    assert await log.append(log.piece(b"forged"), node="beta") == 0
    assert await log.append(log.piece(b"forged", attempt=2)) == 0
    assert await log.append(log.piece(b"true")) == 1
    assert await log.pages() == [[b"true"]]


async def test_an_incarnation_that_is_not_the_one_that_registered_sends_again_later(log):
    request = AppendLogsRequest(
        node_id="alpha", incarnation=log.ledger.nodes["alpha"], batch=LogBatch(entries=[log.piece(b"old")])
    )
    await log.ledger.node()  # a younger one
    with pytest.raises(Unavailable, match="has not registered with this incarnation"):
        await log.ledger.store.logs.append(request)
    assert await log.append(log.piece(b"new")) == 1
    assert await log.pages() == [[b"new"]]


async def test_a_node_that_never_registered_adds_nothing(log):
    request = AppendLogsRequest(node_id="omega", incarnation=str(uuid4()), batch=LogBatch(entries=[log.piece(b"x")]))
    with pytest.raises(Unavailable):
        await log.ledger.store.logs.append(request)
