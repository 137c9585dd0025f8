"""Whatever a node reports, the ledger can store it, and everybody can read it again."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from dts.domain.columns import pack, pack_ids, pack_keys
from dts.pb.dts.v1 import (
    Hello,
    ListRunsRequest,
    Node,
    Reason,
    RecordRequest,
    RegisterNodeRequest,
    ReportDetail,
    Reports,
    Run,
    RunState,
)
from dts.rpc.jsonform import JsonForm
from support.ledger import LEASE, Key, Ledger

MOST, LEAST = (1 << 63) - 1, -(1 << 63)


@pytest.fixture
async def ledger(database) -> Ledger:
    ledger = Ledger.on(database)
    await ledger.node()
    return ledger


async def given(ledger: Ledger, **policies: object) -> Key:
    await ledger.trigger(await ledger.task("work", **policies))
    (key,) = await ledger.claim()
    return key


async def reported(ledger: Ledger, key: Key, state: RunState, *, ago: int = 0, used: int = 0, **detail: object) -> Run:
    reports = Reports(
        run_ids=pack_ids([key[0]]),
        attempts=pack("i", [key[1]]),
        states=pack("B", [int(state)]),
        reasons=pack("B", [int(Reason.EXIT_CODE)]),
        exit_codes=pack("i", [1]),
        started_ago=pack("q", [ago]),
        finished_ago=pack("q", [ago]),
        cpu_time=pack("q", [used]),
        peak_memory=pack("q", [used]),
        details=[ReportDetail(**detail)],
    )
    request = RecordRequest(node_id="alpha", incarnation=ledger.nodes["alpha"], reports=reports)
    await ledger.store.results.record(request)
    (run,) = (await ledger.store.runs.page(ListRunsRequest(page_size=10))).runs
    return run


async def test_what_seems_to_lie_before_its_instant_is_moved_and_keeps_its_length(ledger):
    """The clocks of a node and of the database may disagree by more than a short run takes."""
    run_id, attempt = await given(ledger)
    now = await ledger.now()
    # It was due a second ago; by the node's clock it began three seconds ago and took one quarter of one.
    moved = "UPDATE run SET assigned_at = $2, not_before = $2 WHERE id = $1"
    await ledger.pool.execute(moved, run_id, now - timedelta(seconds=1))
    reports = Reports(
        run_ids=pack_ids([run_id]),
        attempts=pack("i", [attempt]),
        states=pack("B", [int(RunState.SUCCEEDED)]),
        reasons=pack("B", [int(Reason.OK)]),
        exit_codes=pack("i", [0]),
        started_ago=pack("q", [3_000_000]),
        finished_ago=pack("q", [2_750_000]),
        cpu_time=pack("q", [0]),
        peak_memory=pack("q", [0]),
        sent_at=now,
    )
    request = RecordRequest(node_id="alpha", incarnation=ledger.nodes["alpha"], reports=reports)
    await ledger.store.results.record(request)
    run = await ledger.run(run_id)
    assert (run.started_at, run.finished_at) == (now - timedelta(seconds=1), now - timedelta(seconds=0.75))


@pytest.mark.parametrize("number", [MOST, LEAST, 5000 * 365 * 86400 * 10**6])
@pytest.mark.parametrize("state", [RunState.RUNNING, RunState.SUCCEEDED, RunState.FAILED])
@pytest.mark.parametrize("retries", [0, 1])
async def test_numbers_beyond_all_time_leave_a_run_that_can_be_read(ledger, number, state, retries):
    run = await reported(ledger, await given(ledger, retries=retries), state, ago=number, used=number)
    assert json.loads(JsonForm().answer("/dts.v1.SchedulerService/GetRun", b"\x0a" + _sized(bytes(run))))
    assert all(attempt.peak_memory >= 0 for attempt in run.attempts)


async def test_a_node_that_comes_back_with_an_impossible_start_is_taken_all_the_same(ledger):
    key = await given(ledger)
    node = Node(id="alpha", hostname="alpha", incarnation=ledger.nodes["alpha"], kinds=["process"])
    hello = Hello(node=node, held=pack_keys([key]), held_started_ago=pack("q", [MOST]))
    await ledger.store.nodes.register(RegisterNodeRequest(hello=hello, lease=LEASE))
    run = await ledger.run(key[0])
    assert run.state is RunState.RUNNING
    assert run.started_at is not None
    assert await ledger.now() - run.started_at < timedelta(days=200 * 366)


@pytest.mark.parametrize("retries", [0, 1])
async def test_what_an_engine_says_may_hold_what_a_database_cannot(ledger, retries):
    """An image may name a program with a NUL in it, and engines repeat that: no other result may wait behind it."""
    said = {"message": "no \0 such \0 program", "handle": "a\0b", "image_digest": "sha256:\0", "log_bytes": -1}
    run = await reported(ledger, await given(ledger, retries=retries), RunState.FAILED, **said)
    assert run.message == "no � such � program"
    assert [attempt.handle for attempt in run.attempts] == ["a�b"]


async def test_a_message_has_its_bounds(ledger):
    run = await reported(ledger, await given(ledger), RunState.FAILED, message="x" * 1_000_000)
    assert len(run.message) < 5000


def _sized(data: bytes) -> bytes:
    size, length = len(data), b""
    while size >= 128:
        length += bytes([size & 127 | 128])
        size >>= 7
    return length + bytes([size]) + data
