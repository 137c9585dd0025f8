"""Fencing: whoever was given up, frozen or cut off decides nothing any more, and whoever lives keeps what it has."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from dts.domain.columns import unpack_keys
from dts.domain.errors import FailedPrecondition
from dts.pb.dts.v1 import (
    AttemptKeys,
    Capacity,
    Hello,
    Node,
    NodeLease,
    NodeLoss,
    Reason,
    RegisterNodeRequest,
    RenewLeasesRequest,
    RequestCancelRequest,
    RunState,
)
from dts.store.queries import sql
from support.ledger import LEASE, Key, Ledger, every
from support.polling import eventually


@pytest.fixture
async def ledger(database) -> Ledger:
    ledger = Ledger.on(database)
    await ledger.node()
    return ledger


async def given(ledger: Ledger, name: str = "work", **policies: object) -> Key:
    """An attempt that node alpha was given."""
    task = await ledger.task(name, **policies)
    run_id = await ledger.trigger(task)
    (key,) = await ledger.claim()
    assert key == (run_id, 1)
    return key


async def test_a_claim_for_a_connection_that_is_over_gives_nothing_and_changes_nothing(ledger):
    earlier = ledger.nodes["alpha"]
    run_id = await ledger.trigger(await ledger.task("work"))
    await ledger.node()
    ledger.nodes["alpha"], current = earlier, ledger.nodes["alpha"]
    before = await ledger.pool.fetchrow("SELECT * FROM run")
    assert await ledger.claim() == []
    assert await ledger.pool.fetchrow("SELECT * FROM run") == before
    ledger.nodes["alpha"] = current
    assert await ledger.claim() == [(run_id, 1)]


async def test_a_node_that_says_hello_during_a_claim_is_sent_what_the_claim_gave_it(ledger, database_dsn):
    run_id = await ledger.trigger(await ledger.task("work"))
    claim = await asyncpg.connect(database_dsn)
    try:
        async with claim.transaction():
            assert await claim.fetch(sql("offered_nodes"), ["alpha"], [ledger.nodes["alpha"]])
            hello = asyncio.create_task(said_hello(ledger))
            await eventually(lambda: waits_for_a_lock(ledger.pool))
            await claim.execute(sql("assign"), [run_id], ["alpha"], [0], [None], await ledger.now())
        assert await hello == [(run_id, 1)]
    finally:
        await claim.close()


async def said_hello(ledger: Ledger) -> list[Key]:
    """What a node that holds nothing is sent."""
    node = Node(id="alpha", hostname="alpha", incarnation=ledger.nodes["alpha"], kinds=["process"])
    answer = await ledger.store.nodes.register(RegisterNodeRequest(hello=Hello(node=node), lease=LEASE))
    assert answer.resend is not None
    return unpack_keys(AttemptKeys(run_ids=answer.resend.run_ids, attempts=answer.resend.attempts))


async def waits_for_a_lock(pool: asyncpg.Pool) -> bool:
    return await pool.fetchval("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") == 1


async def test_a_late_report_of_an_earlier_attempt_is_settled_and_changes_nothing(ledger):
    run_id, _ = await given(ledger, retries=1)
    await ledger.report([(run_id, 1)], RunState.FAILED, Reason.EXIT_CODE, exit_code=1)
    await ledger.pool.execute("UPDATE run SET claim_at = now(), not_before = now()")
    assert await ledger.claim() == [(run_id, 2)]
    answer = await ledger.report([(run_id, 1)])
    assert unpack_keys(answer.settled) == [(run_id, 1)]
    answer = await ledger.report([(run_id, 1)], RunState.RUNNING, Reason.UNSPECIFIED)
    assert unpack_keys(answer.fenced) == [(run_id, 1)]
    await ledger.take_back((run_id, 1))
    run = await ledger.run(run_id)
    assert (run.state, run.attempt) == (RunState.ASSIGNED, 2)


@pytest.mark.parametrize("state", [RunState.SUCCEEDED, RunState.FAILED, RunState.RUNNING])
async def test_what_a_connection_reports_that_was_displaced_is_neither_settled_nor_fenced(ledger, state):
    """A scheduler that thaws reads an old Hello, and takes the place of the connection over which the node reports."""
    key = await given(ledger, retries=1)
    displaced = ledger.nodes["alpha"]
    await ledger.node()
    with pytest.raises(FailedPrecondition, match="another connection"):
        await ledger.report([key], state, Reason.UNSPECIFIED, incarnation=displaced)
    assert (await ledger.run(key[0])).state is RunState.ASSIGNED
    answer = await ledger.report([key])  # over its next connection
    assert unpack_keys(answer.settled) == [key]
    assert (await ledger.run(key[0])).state is RunState.SUCCEEDED


async def test_a_run_that_succeeded_while_its_cancel_was_on_its_way_succeeded(ledger):
    key = await given(ledger)
    await ledger.store.runs.cancel(RequestCancelRequest(run_ids=[str(key[0])]))
    await ledger.report([key])
    assert (await ledger.run(key[0])).state is RunState.SUCCEEDED


async def test_a_run_that_failed_while_its_cancel_was_on_its_way_is_not_tried_again(ledger):
    key = await given(ledger, retries=3)
    await ledger.store.runs.cancel(RequestCancelRequest(run_ids=[str(key[0])]))
    await ledger.report([key], RunState.FAILED, Reason.EXIT_CODE, exit_code=1)
    assert (await ledger.run(key[0])).state is RunState.FAILED


async def test_a_lease_that_is_over_is_not_renewed_but_granted_anew(ledger):
    """Else runs that a sweep took for lost in between would stay so, although their node is heard again."""
    key = await given(ledger)
    await ledger.report([key], RunState.RUNNING, Reason.UNSPECIFIED)
    await ledger.pool.execute("UPDATE node SET lease_until = now() - interval '1 second'")
    await ledger.sweep()
    assert (await ledger.run(key[0])).state is RunState.UNKNOWN
    lease = NodeLease(node_id="alpha", incarnation=ledger.nodes["alpha"], used=Capacity())
    answer = await ledger.store.nodes.renew(RenewLeasesRequest(leases=[lease], lease=LEASE))
    assert answer.renewed == []
    await ledger.node(held=[key])
    assert (await ledger.run(key[0])).state is not RunState.UNKNOWN


@pytest.mark.parametrize("policy", [NodeLoss.RERUN, NodeLoss.FAIL])
async def test_a_node_has_as_long_as_a_lease_to_say_that_only_the_scheduler_was_away(ledger, policy):
    key = await given(ledger, on_node_loss=policy)
    await ledger.report([key], RunState.RUNNING, Reason.UNSPECIFIED)
    await ledger.pool.execute("UPDATE node SET lease_until = now() - interval '1 minute'")
    await ledger.sweep()
    assert (await ledger.run(key[0])).state is RunState.UNKNOWN
    now = await ledger.now()
    await ledger.sweep(now + timedelta(seconds=9))
    assert (await ledger.run(key[0])).state is RunState.UNKNOWN
    await ledger.sweep(now + timedelta(seconds=11))
    assert (await ledger.run(key[0])).state is not RunState.UNKNOWN


async def silent_since(ledger: Ledger, run_id: object, due: timedelta) -> None:
    """Its node falls silent, and the run is found so; due: when it was to start, from the end of the lease on."""
    await ledger.pool.execute("UPDATE node SET lease_until = now() - interval '1 minute'")
    over = await ledger.pool.fetchval("SELECT lease_until FROM node")
    given_at = over - timedelta(hours=1)
    moved = "UPDATE run SET assigned_at = $2, not_before = $3 WHERE id = $1"
    await ledger.pool.execute(moved, run_id, given_at, over + due)
    now = await ledger.now()
    await ledger.sweep(now)
    await ledger.sweep(now + timedelta(minutes=5))


MOMENT = timedelta(milliseconds=1)


@pytest.mark.parametrize("policy", [NodeLoss.WAIT, NodeLoss.FAIL, NodeLoss.RERUN])
async def test_what_was_due_after_the_lease_of_its_node_never_started_and_is_given_to_another(ledger, policy):
    run_id, _ = await given(ledger, on_node_loss=policy)
    await silent_since(ledger, run_id, MOMENT)
    run = await ledger.run(run_id)
    assert (run.state, run.reason) == (RunState.PENDING, Reason.NODE_LOST)
    assert "not known" not in run.message


@pytest.mark.parametrize(
    ("policy", "state"),
    [(NodeLoss.WAIT, RunState.FAILED), (NodeLoss.FAIL, RunState.FAILED), (NodeLoss.RERUN, RunState.PENDING)],
)
async def test_what_was_due_before_may_have_started_unheard_and_is_doubled_only_where_that_is_asked_for(
    ledger, policy, state
):
    """The network is cut, the work is started, and nobody hears of it."""
    run_id, _ = await given(ledger, on_node_loss=policy)
    await silent_since(ledger, run_id, -MOMENT)
    run = await ledger.run(run_id)
    assert (run.state, run.reason) == (state, Reason.NODE_LOST)
    assert run.message.endswith("whether it had started is not known")


async def test_what_may_have_started_is_tried_again_as_often_as_its_retries_say(ledger):
    run_id, _ = await given(ledger, on_node_loss=NodeLoss.WAIT, retries=1)
    await silent_since(ledger, run_id, -MOMENT)
    assert (await ledger.run(run_id)).state is RunState.PENDING
    assert await ledger.pool.fetchval("SELECT failures FROM run WHERE id = $1", run_id) == 1


async def seconds_ago(ledger: Ledger, run_id: object) -> tuple[float, float]:
    """When it was started and finished."""
    run = await ledger.run(run_id)
    now = await ledger.now()
    assert run.started_at is not None
    finished = run.finished_at or run.started_at
    return (now - run.started_at).total_seconds(), (now - finished).total_seconds()


async def test_what_a_report_spent_on_its_way_is_no_part_of_the_run(ledger):
    """A scheduler or a database that freezes keeps it: times count from when it was sent."""
    key = await given(ledger)
    await ledger.pool.execute(
        "UPDATE run SET (assigned_at, not_before) = (now() - $1::interval, now() - $1)", timedelta(hours=1)
    )
    sent_at = await ledger.now() - timedelta(seconds=100)
    await ledger.report([key], RunState.RUNNING, Reason.UNSPECIFIED, sent_at=sent_at)
    started, _ = await seconds_ago(ledger, key[0])
    assert 100 <= started < 110
    await ledger.report([key], sent_at=sent_at)
    started, finished = await seconds_ago(ledger, key[0])
    assert 100 <= finished < started < 110


async def test_a_node_whose_clock_is_off_says_nothing_that_cannot_be(ledger):
    key = await given(ledger)
    now = await ledger.now()
    await ledger.report([key], RunState.RUNNING, Reason.UNSPECIFIED, sent_at=now - timedelta(days=1))
    run = await ledger.run(key[0])
    assert run.started_at == run.attempts[-1].assigned_at
    await ledger.report([key], sent_at=now + timedelta(days=1))
    started, finished = await seconds_ago(ledger, key[0])
    assert -1 < finished <= started < 10
    again = await given(ledger, "again", retries=1)
    await ledger.report([again], RunState.FAILED, Reason.EXIT_CODE, exit_code=1, sent_at=datetime(1, 1, 1, tzinfo=UTC))
    assert (await ledger.run(again[0])).state is RunState.PENDING


async def test_the_times_of_an_attempt_that_is_tried_again_count_from_when_they_were_told(ledger):
    run_id, number = await given(ledger, retries=1)
    await ledger.pool.execute(
        "UPDATE run SET (assigned_at, not_before) = (now() - $1::interval, now() - $1)", timedelta(hours=1)
    )
    sent_at = await ledger.now() - timedelta(seconds=100)
    await ledger.report([(run_id, number)], RunState.FAILED, Reason.EXIT_CODE, exit_code=1, sent_at=sent_at)
    first = (await ledger.run(run_id)).attempts[0]
    assert abs((first.finished_at - sent_at).total_seconds()) < 1


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
async def test_an_earlier_failure_in_the_same_batch_as_the_current_one_is_not_listed_in_its_place(ledger, order):
    """Its acknowledgement was lost, so the node tells both when it is back."""
    run_id, _ = await given(ledger, retries=5)
    await ledger.report([(run_id, 1)], RunState.FAILED, Reason.EXIT_CODE, exit_code=1)
    await ledger.pool.execute("UPDATE run SET claim_at = now(), not_before = now()")
    assert await ledger.claim() == [(run_id, 2)]
    await ledger.report([(run_id, number) for number in order], RunState.FAILED, Reason.EXIT_CODE, exit_code=1)
    run = await ledger.run(run_id)
    assert [attempt.number for attempt in run.attempts] == [1, 2]


async def test_a_run_that_was_claimed_ahead_did_not_start_before_its_instant(ledger):
    """The clocks of two machines disagree by some milliseconds, and lateness is never negative."""
    task = await ledger.task("pulse", every(1))
    await ledger.materialise()
    (key,) = await ledger.claim(limit=1)
    due = (await ledger.run(key[0])).scheduled_at
    await eventually(lambda: reached(ledger, due))
    await ledger.report([key], sent_at=due - timedelta(milliseconds=5))
    run = await ledger.run(key[0])
    assert run.attempts[-1].assigned_at < due
    assert (run.started_at, run.finished_at) == (due, due + timedelta(microseconds=500))
    assert str(run.id) in {str(row.id) for row in await ledger.runs(task)}


async def reached(ledger: Ledger, moment: datetime) -> bool:
    return await ledger.now() >= moment
