"""Claiming: each due run goes to one node, and overlap policies hold whoever claims."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import asyncpg
import pytest

from dts.pb.dts.v1 import (
    Backoff,
    Capacity,
    ClaimRequest,
    NodeLoss,
    NodeOffer,
    Overlap,
    Reason,
    RequestCancelRequest,
    Resources,
    RunState,
)
from support.ledger import NOOP, Ledger, every


@pytest.fixture
async def ledger(database) -> Ledger:
    made = Ledger.on(database)
    await made.node()
    return made


async def test_a_run_is_claimed_once_by_any_number_of_replicas(ledger):
    tasks = [await ledger.task(f"t{n}", every(1), kind=NOOP, overlap=Overlap.ALLOW) for n in range(40)]
    await ledger.materialise()
    claimed = await asyncio.gather(*(ledger.claim(limit=50) for _ in range(8)))
    keys = [key for batch in claimed for key in batch]
    assert keys
    assert max(Counter(keys).values()) == 1
    assert len(tasks) == 40


async def test_a_result_is_stored_and_the_same_report_again_is_settled(ledger):
    task = await ledger.task("once")
    run_id = await ledger.trigger(task)
    keys = await ledger.claim()
    assert keys == [(run_id, 1)]
    assert (await ledger.run(run_id)).state is RunState.ASSIGNED
    await ledger.report(keys, RunState.RUNNING, Reason.UNSPECIFIED)
    assert (await ledger.run(run_id)).state is RunState.RUNNING
    first = await ledger.report(keys)
    again = await ledger.report(keys)
    assert first.settled == again.settled
    done = await ledger.run(run_id)
    assert (done.state, done.exit_code, done.node) == (RunState.SUCCEEDED, 0, "alpha")
    assert done.started_at <= done.finished_at


async def test_a_failed_attempt_waits_and_is_tried_on_another_node(ledger):
    await ledger.node("alpha", hostname="Alpha")
    task = await ledger.task("retry", retries=1, backoff=Backoff(initial=timedelta(milliseconds=1)))
    run_id = await ledger.trigger(task)
    [(_, attempt)] = await ledger.claim("alpha")
    assert attempt == 1
    await ledger.node("beta")
    await ledger.report([(run_id, 1)], RunState.FAILED, Reason.EXIT_CODE, exit_code=3)
    waiting = await ledger.run(run_id)
    assert (waiting.state, [(a.node, a.exit_code) for a in waiting.attempts]) == (RunState.PENDING, [("Alpha", 3)])
    assert await ledger.claim("alpha", "beta") == [(run_id, 2)]
    assert (await ledger.run(run_id)).node == "beta"
    await ledger.report([(run_id, 2)], RunState.FAILED, Reason.EXIT_CODE, exit_code=4, node="beta")
    done = await ledger.run(run_id)
    assert (done.state, [a.exit_code for a in done.attempts]) == (RunState.FAILED, [3, 4])


async def test_a_later_attempt_is_told_the_image_of_the_first(ledger):
    await ledger.node()
    task = await ledger.task("retry", retries=2, backoff=Backoff(initial=timedelta(milliseconds=1)))
    run_id = await ledger.trigger(task)
    await ledger.claim()
    await ledger.report([(run_id, 1)], RunState.FAILED, Reason.EXIT_CODE, exit_code=3)
    found = "UPDATE run SET earlier_attempts = jsonb_set(earlier_attempts, '{0,imageDigest}', '\"sha256:first\"')"
    await ledger.pool.execute(found)
    free = Capacity(slots=1, resources=Resources(cpus=1, memory=1 << 30))
    offer = NodeOffer(node_id="alpha", incarnation=ledger.nodes["alpha"], free=free, free_window=1)
    given = await ledger.store.claims.claim(ClaimRequest(offers=[offer], lead=timedelta(seconds=2), limit=10))
    (work,) = given.assignments
    assert [row.image_digest for row in work.assignments.parameters] == ["sha256:first"]


async def test_skip_names_the_run_that_blocks(ledger):
    task = await ledger.task("skip")
    first, second = await ledger.trigger(task), await ledger.trigger(task)
    assert [run_id for run_id, _ in await ledger.claim()] == [first]
    skipped = await ledger.run(second)
    assert (skipped.state, skipped.reason, skipped.blocked_by) == (RunState.SKIPPED, Reason.SKIPPED_OVERLAP, str(first))


async def test_queue_one_keeps_one_waiting(ledger):
    task = await ledger.task("queue", overlap=Overlap.QUEUE_ONE)
    first = await ledger.trigger(task)
    keys = await ledger.claim()
    waiting, surplus = await ledger.trigger(task), await ledger.trigger(task)
    await ledger.claim()
    states = {run.id: run.state for run in await ledger.runs(task)}
    assert states[str(first)] is RunState.ASSIGNED
    assert sorted((states[str(waiting)], states[str(surplus)])) == [RunState.PENDING, RunState.SKIPPED]
    await ledger.report(keys)
    assert [run_id for run_id, _ in await ledger.claim()] == [waiting]


async def test_queue_all_runs_all_in_order_up_to_its_limit(ledger):
    task = await ledger.task("queue", overlap=Overlap.QUEUE_ALL, queue_limit=2)
    asked = [await ledger.trigger(task) for _ in range(4)]
    order = []
    while keys := await ledger.claim():
        order += [run_id for run_id, _ in keys]
        await ledger.report(keys)
    full = [run for run in await ledger.runs(task) if run.reason is Reason.QUEUE_FULL]
    assert order == asked[:3]
    assert [run.id for run in full] == [str(asked[3])]


async def test_what_waits_for_its_turn_is_not_overtaken_by_what_came_later(ledger):
    """The younger one was due, and not yet looked at, when the place became free."""
    task = await ledger.task("queue", overlap=Overlap.QUEUE_ALL)
    first, waiting = await ledger.trigger(task), await ledger.trigger(task)
    held = await ledger.claim()
    assert [run_id for run_id, _ in held] == [first]
    later = await ledger.trigger(task)
    await ledger.report(held)
    taken = await ledger.claim()
    await ledger.report(taken)
    assert [run_id for run_id, _ in [*taken, *await ledger.claim()]] == [waiting, later]


async def test_a_tick_that_another_claim_is_about_to_take_is_not_overtaken_by_the_next(ledger, database_dsn):
    """That one has locked its row, and this one the task."""
    task = await ledger.task("pulse", every(1), kind=NOOP)
    await ledger.materialise()
    first, second = [row["id"] for row in await ledger.written(task)][:2]
    start = (await ledger.run(second)).scheduled_at
    other = await asyncpg.connect(database_dsn)
    try:
        async with other.transaction():
            await other.execute("SELECT FROM run WHERE id = $1 FOR UPDATE", first)
            assert await ledger.claim(now=start) == []
    finally:
        await other.close()
    assert [run_id for run_id, _ in await ledger.claim(now=start)] == [first]


@pytest.mark.parametrize("overlap", [Overlap.CANCEL_OTHER, Overlap.TERMINATE_OTHER])
async def test_a_later_run_can_take_the_place_of_an_earlier_one(ledger, overlap):
    task = await ledger.task("replace", overlap=overlap)
    first = await ledger.trigger(task)
    keys = await ledger.claim()
    await ledger.report(keys, RunState.RUNNING, Reason.UNSPECIFIED)
    second = await ledger.trigger(task)
    assert await ledger.claim() == []
    assert (await ledger.run(first)).cancel_requested
    await ledger.report(keys, RunState.CANCELLED, Reason.REPLACED, exit_code=143)
    assert [run_id for run_id, _ in await ledger.claim()] == [second]


async def test_max_parallel_and_allow(ledger):
    two = await ledger.task("two", max_parallel=2)
    many = await ledger.task("many", overlap=Overlap.ALLOW)
    for _ in range(4):
        await ledger.trigger(two)
        await ledger.trigger(many)
    claimed = await ledger.claim()
    states = Counter(run.state for run in await ledger.runs(two))
    assert states == {RunState.ASSIGNED: 2, RunState.SKIPPED: 2}
    assert len(claimed) == 6


async def test_a_group_shares_its_limit(ledger):
    tasks = [await ledger.task(f"t{n}", group="db", group_limit=2) for n in range(4)]
    for task in tasks:
        await ledger.trigger(task)
    keys = await ledger.claim()
    assert len(keys) == 2
    await ledger.report(keys)
    assert len(await ledger.claim(now=await ledger.now() + timedelta(seconds=1))) == 2


async def test_parallel_claims_never_break_an_overlap_policy(ledger):
    task = await ledger.task("one", overlap=Overlap.QUEUE_ALL)
    for _ in range(20):
        await ledger.trigger(task)
    await asyncio.gather(*(ledger.claim(limit=5) for _ in range(8)))
    live = [run for run in await ledger.runs(task) if run.state is RunState.ASSIGNED]
    assert len(live) == 1


async def test_a_run_no_node_can_take_says_why_and_fails_after_its_deadline(ledger):
    task = await ledger.task("picky", constraints=["node.labels.gpu==true"], start_deadline=timedelta(seconds=30))
    run_id = await ledger.trigger(task)
    assert await ledger.claim() == []
    waiting = await ledger.run(run_id)
    assert "lacks label gpu=true" in waiting.message or "lack label gpu=true" in waiting.message
    await ledger.sweep(await ledger.now() + timedelta(seconds=31))
    failed = await ledger.run(run_id)
    assert (failed.state, failed.reason) == (RunState.FAILED, Reason.NO_NODE)
    assert "gpu=true" in failed.message


async def test_a_waiting_run_is_cancelled_at_once_a_running_one_is_recalled(ledger):
    task = await ledger.task("stop", overlap=Overlap.QUEUE_ALL)
    running, waiting = await ledger.trigger(task), await ledger.trigger(task)
    await ledger.claim()
    request = RequestCancelRequest(run_ids=[str(running), str(waiting)], actor="tester")
    await ledger.store.runs.cancel(request)
    assert (await ledger.run(waiting)).state is RunState.CANCELLED
    assert (await ledger.run(running)).cancel_requested


async def test_a_silent_node_makes_its_runs_unknown_then_lost(ledger):
    task = await ledger.task("lost", on_node_loss=NodeLoss.WAIT, node_loss_wait=timedelta(minutes=2))
    run_id = await ledger.trigger(task)
    keys = await ledger.claim()
    await ledger.report(keys, RunState.RUNNING, Reason.UNSPECIFIED)
    now = await ledger.now()
    await ledger.sweep(now + timedelta(seconds=15))
    assert (await ledger.run(run_id)).state is RunState.UNKNOWN
    await ledger.sweep(now + timedelta(minutes=3))
    lost = await ledger.run(run_id)
    assert (lost.state, lost.reason) == (RunState.FAILED, Reason.NODE_LOST)


@pytest.mark.parametrize(
    ("recall", "reason"),
    [("cancel", Reason.CANCELLED), ("replace", Reason.REPLACED), ("terminate", Reason.REPLACED)],
)
async def test_what_was_to_stop_when_its_node_fell_silent_says_why(ledger, recall, reason):
    run_id = await ledger.trigger(await ledger.task("stop"))
    await ledger.report(await ledger.claim(), RunState.RUNNING, Reason.UNSPECIFIED)
    await ledger.pool.execute("UPDATE run SET recall = $1::text::run_recall", recall)
    now = await ledger.now()
    await ledger.sweep(now + timedelta(seconds=15))
    await ledger.sweep(now + timedelta(minutes=5))
    run = await ledger.run(run_id)
    assert (run.state, run.reason) == (RunState.CANCELLED, reason)


async def test_a_report_of_an_attempt_that_went_to_another_node_is_fenced(ledger):
    task = await ledger.task("moved", on_node_loss=NodeLoss.RERUN)
    run_id = await ledger.trigger(task)
    keys = await ledger.claim()
    await ledger.report(keys, RunState.RUNNING, Reason.UNSPECIFIED)
    await ledger.sweep(await ledger.now() + timedelta(seconds=15))
    await ledger.sweep(await ledger.now() + timedelta(seconds=30))
    await ledger.node("beta")
    again = await ledger.claim("beta", now=await ledger.now() + timedelta(minutes=1))
    assert again == [(run_id, 2)]
    response = await ledger.report(keys, RunState.RUNNING, Reason.UNSPECIFIED)
    assert response.fenced is not None
    assert response.fenced.run_ids == run_id.bytes
    await ledger.report(again, node="beta")
    assert (await ledger.run(run_id)).state is RunState.SUCCEEDED


async def test_a_tick_that_was_put_off_is_taken_up_before_the_one_after_it(ledger):
    task = await ledger.task("pulse", every(1), kind=NOOP)
    await ledger.materialise()
    ticks = [row["id"] for row in await ledger.written(task)][:3]
    start = (await ledger.run(ticks[0])).scheduled_at
    first = await ledger.claim(now=start - timedelta(seconds=2))
    assert await ledger.claim(now=start - timedelta(seconds=1)) == []
    await ledger.report(first)
    claimed = await ledger.claim(now=start)
    assert [run_id for run_id, _ in (*first, *claimed)] == ticks[:2]


async def test_so_it_is_when_nobody_told_it_that_the_place_was_free(ledger):
    # The tick after it can be claimed at the same instant: which of them came first was left to their ids.
    tasks = [await ledger.task(f"pulse-{number}", every(2), kind=NOOP) for number in range(12)]
    await ledger.materialise()
    ticks = [[row["id"] for row in await ledger.written(task)][:3] for task in tasks]
    start = max([(await ledger.run(first)).scheduled_at for first, _, _ in ticks])
    first = await ledger.claim(now=start - timedelta(seconds=2))
    assert await ledger.claim(now=start) == []
    await ledger.report(first)
    second = [tick for _, tick, _ in ticks]
    # As if the report had not seen yet that it was put off.
    put_off = "UPDATE run SET claim_at = scheduled_at + interval '2 seconds' WHERE id = ANY($1)"
    await ledger.pool.execute(put_off, second)
    claimed = await ledger.claim(now=start + timedelta(seconds=2))
    assert {run_id for run_id, _ in claimed} == set(second)
