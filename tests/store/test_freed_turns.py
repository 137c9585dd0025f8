"""Turns that became free are taken, and what a node holds is known, whatever got lost on the way."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from dts.pb.dts.v1 import (
    NodeLoss,
    Overlap,
    Reason,
    RequestCancelRequest,
    RequestedRun,
    RequestRunsRequest,
    RunState,
    Trigger,
)
from dts.store import upkeep
from support.ledger import Ledger


@pytest.fixture
async def ledger(database) -> Ledger:
    made = Ledger.on(database)
    await made.node()
    return made


async def sweep_after(ledger: Ledger, seconds: float) -> None:
    await ledger.sweep(await ledger.now() + timedelta(seconds=seconds))


async def test_the_turn_of_a_run_that_was_cancelled_goes_to_the_next(ledger):
    """Another run holds the other place, so it does not look as if nobody did."""
    task = await ledger.task("two", overlap=Overlap.QUEUE_ALL, max_parallel=2)
    first, second, third, fourth = [await ledger.trigger(task) for _ in range(4)]
    held = await ledger.claim()
    assert [run_id for run_id, _ in held] == [first, second]
    await ledger.report(held[:1])
    await ledger.store.runs.cancel(RequestCancelRequest(run_ids=[str(third)]))
    await ledger.sweep()
    assert await ledger.claim() == [(fourth, 1)]


async def test_runs_that_wait_long_for_their_node_hide_no_others(ledger, monkeypatch):
    monkeypatch.setattr(upkeep, "BATCH", 1)
    patient = await ledger.task("patient", on_node_loss=NodeLoss.WAIT, node_loss_wait=timedelta(days=1))
    hasty = await ledger.task("hasty", on_node_loss=NodeLoss.RERUN)
    first, second = await ledger.trigger(patient), await ledger.trigger(hasty)
    await ledger.report(await ledger.claim(), RunState.RUNNING, Reason.UNSPECIFIED)
    await ledger.pool.execute("UPDATE node SET lease_until = now() - interval '1 second'")
    await ledger.sweep()
    await ledger.pool.execute("UPDATE run SET unknown_at = unknown_at - interval '1 second' WHERE id = $1", first)
    await sweep_after(ledger, 60)
    assert (await ledger.run(first)).state is RunState.UNKNOWN
    assert (await ledger.run(second)).state is RunState.PENDING


async def test_a_request_that_is_repeated_after_its_run_ended_runs_nothing_again(ledger):
    """The answer to the first one was lost."""
    task = await ledger.task("once")
    asked = RequestedRun(id=str(uuid4()))
    request = RequestRunsRequest(task_id=task, trigger=Trigger.MANUAL, runs=[asked])
    await ledger.store.runs.request(request)
    await ledger.report(await ledger.claim())
    (told,) = await ledger.store.runs.request(request)
    assert (told.id, told.state) == (asked.id, RunState.SUCCEEDED)
    assert await ledger.claim() == []


async def test_a_repeated_request_of_several_is_told_all_of_its_runs_however_they_stand(ledger):
    task, now = await ledger.task("several"), await ledger.now()
    asked = [RequestedRun(id=str(uuid4()), scheduled_at=now - n * timedelta(hours=1)) for n in (3, 2, 1)]
    request = RequestRunsRequest(task_id=task, trigger=Trigger.BACKFILL, runs=asked, overlap=Overlap.QUEUE_ALL)
    await ledger.store.runs.request(request)
    await ledger.report(await ledger.claim())
    told = await ledger.store.runs.request(request)
    assert [run.id for run in told] == [run.id for run in asked]
    assert [run.state for run in told] == [RunState.SUCCEEDED, RunState.PENDING, RunState.PENDING]


async def test_a_run_that_is_sent_again_after_a_silence_is_not_taken_for_lost(ledger):
    task = await ledger.task("pulls", on_node_loss=NodeLoss.FAIL)
    run_id = await ledger.trigger(task)
    await ledger.claim()
    await ledger.pool.execute("UPDATE node SET lease_until = now() - interval '1 second'")
    await ledger.sweep()
    assert (await ledger.run(run_id)).state is RunState.UNKNOWN
    await ledger.node()
    assert (await ledger.run(run_id)).state is RunState.ASSIGNED
    await ledger.pool.execute("UPDATE node SET lease_until = now() + interval '1 hour'")
    await sweep_after(ledger, 60)
    assert (await ledger.run(run_id)).state is RunState.ASSIGNED


async def test_what_has_started_is_not_asked_back_any_more(ledger):
    """An edit crossed its start; then its node was lost, and `rerun` counts."""
    task = await ledger.task("crossed", on_node_loss=NodeLoss.RERUN)
    run_id = await ledger.trigger(task)
    held = await ledger.claim()
    await ledger.pool.execute("UPDATE run SET recall = 'withdraw'")
    await ledger.report(held, RunState.RUNNING, Reason.UNSPECIFIED)
    await sweep_after(ledger, 15)
    await sweep_after(ledger, 60)
    assert (await ledger.run(run_id)).state is RunState.PENDING


async def test_what_was_to_be_given_back_and_started_is_stopped_by_the_next(ledger):
    task = await ledger.task("endless", overlap=Overlap.TERMINATE_OTHER)
    run_id = await ledger.trigger(task)
    held = await ledger.claim()
    await ledger.report(held, RunState.RUNNING, Reason.UNSPECIFIED)
    await ledger.pool.execute("UPDATE run SET recall = 'withdraw'")
    await ledger.trigger(task)
    await ledger.claim()
    recall = await ledger.pool.fetchval("SELECT recall::text FROM run WHERE id = $1", run_id)
    assert recall == "terminate"
