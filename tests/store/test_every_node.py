"""Tasks that every node runs: each tick has a run for each node that could take it, and each node its own places."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from dts.pb.dts.v1 import (
    NodeChoice,
    Overlap,
    Policies,
    Reason,
    RunState,
    Schedule,
    SetNodeDrainRequest,
    TaskAction,
    TaskChange,
    TaskSpec,
)
from support.ledger import NOOP, PROCESS, Ledger, every

ALL = ("alpha", "beta", "gamma")


@pytest.fixture
async def ledger(database) -> Ledger:
    return await Ledger.with_nodes(database, *ALL)


async def everywhere(ledger: Ledger, **options: object) -> str:
    return await ledger.task("sweep", node=NodeChoice.EVERY, **options)


async def claimed(ledger: Ledger, *names: str) -> dict[str, UUID]:
    """The runs that were given away, by their nodes: the first claim makes them, the second gives them."""
    names = names or ALL
    keys = [*await ledger.claim(*names), *await ledger.claim(*names)]
    return {(await ledger.run(run_id)).node: run_id for run_id, _ in keys}


async def ended(ledger: Ledger, node: str, run_id: UUID, state: RunState = RunState.SUCCEEDED) -> None:
    code = 0 if state is RunState.SUCCEEDED else 1
    reason = Reason.OK if state is RunState.SUCCEEDED else Reason.EXIT_CODE
    attempt = (await ledger.run(run_id)).attempt
    await ledger.report([(run_id, attempt)], state, reason, exit_code=code, node=node)


@pytest.mark.parametrize("kind", ["process", "noop"])
async def test_each_node_has_a_run_of_a_tick(ledger, kind):
    task = await everywhere(ledger, **({"kind": NOOP} if kind == "noop" else {}))
    first = await ledger.trigger(task)
    assert await ledger.claim(*ALL) == []
    runs = await claimed(ledger)
    assert runs.keys() == set(ALL)
    assert first in runs.values()
    assert await ledger.claim(*ALL) == []
    assert len({run.scheduled_at for run in await ledger.runs(task)}) == 1


async def test_only_nodes_that_could_take_it_have_one(ledger):
    await ledger.store.nodes.set_drain(SetNodeDrainRequest(node="beta", drain=True))
    task = await everywhere(ledger, constraints=["node.hostname!=gamma"])
    await ledger.trigger(task)
    assert (await claimed(ledger)).keys() == {"alpha"}


async def test_a_node_of_another_replica_gets_its_run_there_and_nobody_else_does(ledger):
    task = await everywhere(ledger)
    await ledger.trigger(task)
    assert (await claimed(ledger, "alpha", "beta")).keys() == {"alpha", "beta"}
    later = await ledger.now() + timedelta(seconds=5)
    assert await ledger.claim("alpha", "beta", now=later) == []
    (waiting,) = [run for run in await ledger.runs(task) if run.state is RunState.PENDING]
    assert waiting.message == "it is for node gamma alone, which has not taken it yet"
    assert (await claimed(ledger, "gamma")).keys() == {"gamma"}


async def test_places_are_places_on_a_node(ledger):
    task = await everywhere(ledger, overlap=Overlap.SKIP)
    await ledger.trigger(task)
    runs = await claimed(ledger)
    await ended(ledger, "beta", runs["beta"])
    await ledger.trigger(task)
    assert (await claimed(ledger)).keys() == {"beta"}
    skipped = [run for run in await ledger.runs(task) if run.state is RunState.SKIPPED]
    assert sorted(run.blocked_by for run in skipped) == sorted([str(runs["alpha"]), str(runs["gamma"])])


async def test_what_waits_for_a_place_takes_that_of_its_own_node(ledger):
    task = await everywhere(ledger, overlap=Overlap.QUEUE_ALL)
    await ledger.trigger(task)
    runs = await claimed(ledger)
    await ledger.trigger(task)
    assert await claimed(ledger) == {}
    await ended(ledger, "gamma", runs["gamma"])
    assert (await claimed(ledger)).keys() == {"gamma"}


async def test_a_retry_stays_on_its_node(ledger):
    task = await everywhere(ledger, retries=1)
    await ledger.trigger(task)
    runs = await claimed(ledger)
    await ended(ledger, "beta", runs["beta"], RunState.FAILED)
    later = await ledger.now() + timedelta(minutes=1)
    assert await ledger.claim("alpha", "gamma", now=later) == []
    assert await ledger.claim(*ALL, now=later) == [(runs["beta"], 2)]


async def test_where_no_node_could_take_it_it_waits_and_says_why(ledger):
    task = await everywhere(ledger, constraints=["node.labels.gpu==yes"], start_deadline=timedelta(seconds=30))
    run_id = await ledger.trigger(task)
    assert await claimed(ledger) == {}
    run = await ledger.run(run_id)
    assert (run.state, run.message) == (RunState.PENDING, "3 nodes: 3 lack label gpu=yes")
    await ledger.sweep(now=await ledger.now() + timedelta(minutes=1))
    assert (await ledger.run(run_id)).reason is Reason.NO_NODE


async def test_a_run_whose_node_went_away_ends_at_its_start_deadline(ledger):
    task = await everywhere(ledger, start_deadline=timedelta(seconds=30))
    await ledger.trigger(task)
    assert (await claimed(ledger, "alpha", "beta")).keys() == {"alpha", "beta"}
    await ledger.sweep(now=await ledger.now() + timedelta(minutes=1))
    (lost,) = [run for run in await ledger.runs(task) if run.state is RunState.FAILED]
    assert lost.reason is Reason.NO_NODE
    assert "it is for node gamma alone" in lost.message


async def half_claimed(ledger: Ledger, change: TaskChange) -> tuple[datetime, list[asyncpg.Record]]:
    """A coming tick of which alpha and beta have their runs, gamma has not; and what a change leaves of it."""
    task = await everywhere(ledger, schedule=every(2))
    await ledger.materialise()
    soon = await ledger.now() + timedelta(seconds=4)
    tick = next(row["scheduled_at"] for row in await ledger.written(task) if row["scheduled_at"] > soon)
    await ledger.pool.execute("DELETE FROM run WHERE scheduled_at <> $1", tick)
    await ledger.claim("alpha", "beta", now=tick)
    assert len(await ledger.claim("alpha", "beta", now=tick)) == 2
    change.task_id = task
    await ledger.change(change)
    return tick, [row for row in await ledger.written(task) if row["scheduled_at"] == tick]


def changed(schedule: Schedule) -> TaskChange:
    policies = Policies(node=NodeChoice.EVERY)
    spec = TaskSpec(name="sweep", kind=PROCESS, schedule=schedule, policies=policies)
    return TaskChange(action=TaskAction.UPDATE, spec=spec)


async def test_an_edit_that_keeps_the_tick_keeps_the_run_of_each_node(ledger):
    tick, rows = await half_claimed(ledger, changed(every(1)))
    assert {row["pinned"]: (row["state"], row["recall"], row["task_version"]) for row in rows} == {
        "alpha": ("assigned", "withdraw", 1),
        "beta": ("assigned", "withdraw", 1),
        "gamma": ("pending", None, 2),
    }
    await ledger.materialise(now=tick - timedelta(seconds=3))
    again = [row for row in await ledger.written(str(rows[0]["task_id"])) if row["scheduled_at"] == tick]
    assert {row["id"] for row in again} == {row["id"] for row in rows}


@pytest.mark.parametrize(
    "change", [changed(every(86400 * 300)), TaskChange(action=TaskAction.PAUSE), TaskChange(action=TaskAction.DELETE)]
)
async def test_what_ends_the_tick_ends_the_runs_that_have_not_begun(ledger, change):
    _, rows = await half_claimed(ledger, change)
    assert {row["pinned"] for row in rows} == {"alpha", "beta"}
    assert {row["recall"] for row in rows} == {"withdraw"}


async def test_what_has_ended_does_not_run_again_when_its_tick_is_fanned_out_again(ledger):
    """As after an edit that withdrew the tick while it was being claimed."""
    task = await everywhere(ledger)
    first = await ledger.trigger(task)
    runs = await claimed(ledger)
    done = [name for name in ALL if runs[name] != first]
    for name in done:
        await ended(ledger, name, runs[name])
    statement = "UPDATE run SET state = 'pending', pinned = '', node_id = NULL, attempt = 0, slot = NULL WHERE id = $1"
    await ledger.pool.execute(statement, first)
    (again,) = await claimed(ledger)
    assert again not in done
    assert len(await ledger.runs(task)) == 3
