"""Nodes: who they are, how long they are believed, and what they hold."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest

from dts.domain.columns import pack, pack_keys, unpack_ids, unpack_keys
from dts.domain.errors import FailedPrecondition, InvalidArgument, NotFound
from dts.pb.dts.v1 import (
    Capacity,
    FindRecallsRequest,
    Hello,
    Kind,
    Node,
    NodeLease,
    NodeLoss,
    NodeState,
    ProcessKind,
    Reason,
    RegisterNodeRequest,
    RegisterNodeResponse,
    RenewLeasesRequest,
    RenewLeasesResponse,
    RequestCancelRequest,
    Resources,
    RunState,
    SetNodeDrainRequest,
    StoreSwarmRequest,
    SwarmNode,
    TakeBackRequest,
    TaskAction,
    TaskChange,
    TaskSpec,
)
from support.ledger import LEASE, Key, Ledger, every

MOMENT = timedelta(seconds=1)


@pytest.fixture
async def ledger(database) -> Ledger:
    return Ledger.on(database)


async def hello(
    ledger: Ledger, held: dict[Key, int], *, name: str = "alpha", sent_at: datetime | None = None
) -> RegisterNodeResponse:
    """The node's process has started again: it says what it holds, and since when in microseconds."""
    ledger.nodes[name] = str(uuid4())
    node = Node(
        id=name,
        hostname=name,
        incarnation=ledger.nodes[name],
        kinds=["process"],
        capacity=Capacity(slots=100, resources=Resources(cpus=64, memory=1 << 36)),
    )
    ago = pack("q", list(held.values()))
    message = Hello(node=node, held=pack_keys(list(held)), held_started_ago=ago, sent_at=sent_at)
    return await ledger.store.nodes.register(RegisterNodeRequest(hello=message, lease=LEASE))


async def connects(ledger: Ledger, process: UUID, number: int) -> str:
    """A Hello of a process over one of its connections arrives; answers with the incarnation."""
    node = Node(id="alpha", hostname="alpha", incarnation=str(uuid4()), kinds=["process"])
    message = Hello(node=node, process=str(process), connection=number)
    await ledger.store.nodes.register(RegisterNodeRequest(hello=message, lease=LEASE))
    return node.incarnation


async def test_a_hello_of_an_elder_connection_does_not_take_the_place_of_a_younger_one(ledger):
    """A scheduler that was frozen reads it long after the executor has given it up."""
    process = uuid4()
    ledger.nodes["alpha"] = await connects(ledger, process, 2)
    with pytest.raises(FailedPrecondition, match="younger connection"):
        await connects(ledger, process, 1)
    assert (await beat(ledger)).renewed == ["alpha"]
    await connects(ledger, process, 3)
    assert (await beat(ledger)).renewed == []


async def test_connections_of_another_process_are_counted_anew(ledger):
    await connects(ledger, uuid4(), 7)
    ledger.nodes["alpha"] = await connects(ledger, uuid4(), 1)
    assert (await beat(ledger)).renewed == ["alpha"]


async def beat(
    ledger: Ledger, name: str = "alpha", *, leaving: bool = False, incarnation: str = ""
) -> RenewLeasesResponse:
    lease = NodeLease(
        node_id=name, incarnation=incarnation or ledger.nodes[name], used=Capacity(slots=3), leaving=leaving
    )
    return await ledger.store.nodes.renew(RenewLeasesRequest(leases=[lease], lease=LEASE))


async def shown(ledger: Ledger, name: str = "alpha") -> Node:
    return next(node for node in await ledger.store.nodes.all() if node.id == name)


async def lease_until(ledger: Ledger, name: str = "alpha") -> datetime:
    until: datetime = await ledger.pool.fetchval("SELECT lease_until FROM node WHERE id = $1", name)
    return until


async def silent_for(ledger: Ledger, seconds: float, name: str = "alpha") -> None:
    """As if the last heartbeat were so long ago."""
    await ledger.pool.execute(
        "UPDATE node SET lease_until = lease_until - $2::interval, last_seen_at = last_seen_at - $2::interval"
        " WHERE id = $1",
        name,
        timedelta(seconds=seconds),
    )


async def given_an_hour_ago(ledger: Ledger) -> None:
    """As if every run had been."""
    await ledger.pool.execute(
        "UPDATE run SET (assigned_at, not_before) = (now() - $1::interval, now() - $1)", timedelta(hours=1)
    )


async def claimed(ledger: Ledger, **policies: object) -> UUID:
    """A run that alpha was given."""
    run_id = await ledger.trigger(await ledger.task(f"t{uuid4().hex[:8]}", **policies))
    assert (run_id, 1) in await ledger.claim()
    return run_id


async def recalls(ledger: Ledger, *names: str) -> list[tuple[str, list[Key], Reason, bool, bool]]:
    found = await ledger.store.nodes.recalls(FindRecallsRequest(node_ids=list(names or ("alpha",))))
    return [
        (
            entry.node_id,
            unpack_keys(entry.recall.attempts),
            Reason(entry.recall.reason),
            entry.recall.kill,
            entry.recall.unstarted_only,
        )
        for entry in found
    ]


# -- leases


async def test_a_node_is_ready_for_as_long_as_it_is_heard(ledger):
    await ledger.node()
    assert (await shown(ledger)).state is NodeState.READY
    await silent_for(ledger, 7)
    assert (await shown(ledger)).state is NodeState.UNKNOWN
    await silent_for(ledger, 4)
    assert (await shown(ledger)).state is NodeState.DOWN
    assert (await beat(ledger)).renewed == []
    await ledger.node()
    assert (await beat(ledger)).renewed == ["alpha"]
    assert (await shown(ledger)).state is NodeState.READY
    assert (await shown(ledger)).used == Capacity(slots=3)


async def test_many_leases_are_renewed_at_once_and_those_of_strangers_are_not(ledger):
    await ledger.node("alpha")
    await ledger.node("beta")
    leases = [NodeLease(node_id=name, incarnation=ledger.nodes[name]) for name in ("alpha", "beta")]
    leases.append(NodeLease(node_id="gamma", incarnation=str(uuid4())))
    response = await ledger.store.nodes.renew(RenewLeasesRequest(leases=leases, lease=LEASE))
    assert sorted(response.renewed) == ["alpha", "beta"]


async def test_an_older_incarnation_gets_no_lease_and_its_reports_change_nothing(ledger):
    older = await ledger.node()
    run_id = await claimed(ledger)
    await hello(ledger, {(run_id, 1): 1000})
    until = await lease_until(ledger)
    assert (await beat(ledger, incarnation=older)).renewed == []
    assert (await beat(ledger, incarnation=older, leaving=True)).renewed == []
    assert await lease_until(ledger) == until
    for state in (RunState.RUNNING, RunState.SUCCEEDED):
        with pytest.raises(FailedPrecondition):
            await ledger.report([(run_id, 1)], state, Reason.UNSPECIFIED, incarnation=older)
    assert (await ledger.run(run_id)).state is RunState.RUNNING
    back = TakeBackRequest(node_id="alpha", incarnation=older, attempts=pack_keys([(run_id, 1)]))
    assert (await ledger.store.results.take_back(back)).returned == 0
    assert (await beat(ledger)).renewed == ["alpha"]


async def test_a_node_that_attaches_again_is_the_same_a_new_process_is_registered_anew(ledger):
    incarnation = await ledger.node()
    first = await ledger.pool.fetchval("SELECT registered_at FROM node")
    node = Node(id="alpha", hostname="alpha", incarnation=incarnation)
    await ledger.store.nodes.register(RegisterNodeRequest(hello=Hello(node=node), lease=LEASE))
    assert await ledger.pool.fetchval("SELECT registered_at FROM node") == first
    await ledger.node()
    assert await ledger.pool.fetchval("SELECT registered_at FROM node") > first
    assert len(await ledger.store.nodes.all()) == 1


async def test_a_hello_without_a_node_is_refused(ledger):
    for message in (None, Hello(), Hello(node=Node())):
        with pytest.raises(InvalidArgument):
            await ledger.store.nodes.register(RegisterNodeRequest(hello=message, lease=LEASE))


# -- what a node holds when it comes back


async def test_what_the_node_never_got_is_sent_again(ledger):
    await ledger.node()
    run_id = await claimed(ledger)
    response = await hello(ledger, {})
    assert response.resend is not None
    assert unpack_ids(response.resend.run_ids) == [run_id]
    assert response.resend.read_at == response.now
    assert unpack_keys(response.weights.attempts) == [(run_id, 1)]
    assert (await ledger.run(run_id)).state is RunState.ASSIGNED
    assert (await ledger.run(run_id)).attempt == 1


async def test_what_the_node_holds_is_its_own_and_takes_its_room(ledger):
    await ledger.node()
    waiting, running = await claimed(ledger), await claimed(ledger)
    await given_an_hour_ago(ledger)
    await silent_for(ledger, 20)
    await ledger.sweep()
    assert (await ledger.run(running)).state is RunState.UNKNOWN
    response = await hello(ledger, {(waiting, 1): -1, (running, 1): 5_000_000})
    assert (response.resend, response.recalls) == (None, [])
    assert set(unpack_keys(response.weights.attempts)) == {(waiting, 1), (running, 1)}
    assert (await ledger.run(waiting)).state is RunState.ASSIGNED
    run = await ledger.run(running)
    assert run.state is RunState.RUNNING
    assert timedelta(seconds=4) < await ledger.now() - run.started_at < timedelta(seconds=15)


async def test_what_the_node_should_not_hold_is_recalled_and_fenced(ledger):
    await ledger.node()
    run_id = await claimed(ledger)
    await ledger.report([(run_id, 1)])
    strange = (uuid4(), 1)
    response = await hello(ledger, {(run_id, 1): 1000, (run_id, 2): -1, strange: -1})
    [recall] = response.recalls
    assert set(unpack_keys(recall.attempts)) == {(run_id, 1), (run_id, 2), strange}
    assert recall.fenced


async def test_what_ran_and_is_gone_is_unknown_until_its_result_comes_or_the_patience_ends(ledger):
    await ledger.node()
    reported, silent = (
        await claimed(ledger, on_node_loss=NodeLoss.FAIL),
        await claimed(ledger, on_node_loss=NodeLoss.FAIL),
    )
    await ledger.report([(reported, 1), (silent, 1)], RunState.RUNNING, Reason.UNSPECIFIED)
    response = await hello(ledger, {})
    assert response.resend is None
    assert (await ledger.run(silent)).state is RunState.UNKNOWN
    await ledger.report([(reported, 1)])
    assert (await ledger.run(reported)).state is RunState.SUCCEEDED
    await ledger.sweep(await ledger.now() + timedelta(seconds=11))
    lost = await ledger.run(silent)
    assert (lost.state, lost.reason) == (RunState.FAILED, Reason.NODE_LOST)


async def test_what_a_hello_spent_on_its_way_is_no_part_of_the_run(ledger):
    """A lossy network or a frozen scheduler keeps it: the times of what is held count from when it was made."""
    await ledger.node()
    run_id = await claimed(ledger)
    await given_an_hour_ago(ledger)
    sent_at = await ledger.now() - timedelta(seconds=20)
    await hello(ledger, {(run_id, 1): 5_000_000}, sent_at=sent_at)
    assert (await ledger.run(run_id)).started_at == sent_at - timedelta(seconds=5)


async def test_what_a_hello_says_began_neither_before_it_was_given_nor_after_it_is_told(ledger):
    await ledger.node()
    early, late = await claimed(ledger), await claimed(ledger)
    await hello(ledger, {(early, 1): 3_600_000_000, (late, 1): 0}, sent_at=await ledger.now() + timedelta(hours=1))
    run = await ledger.run(early)
    assert run.started_at == run.attempts[-1].assigned_at
    assert (await ledger.run(late)).started_at <= await ledger.now()


# -- recalls


async def test_a_cancelled_run_is_recalled_from_its_node_until_it_is_over(ledger):
    await ledger.node("alpha")
    run_id = await claimed(ledger)
    await ledger.node("beta")
    assert await recalls(ledger, "alpha", "beta") == []
    await ledger.store.runs.cancel(RequestCancelRequest(run_ids=[str(run_id)]))
    asked = [("alpha", [(run_id, 1)], Reason.CANCELLED, False, False)]
    assert await recalls(ledger, "alpha", "beta") == asked
    assert await recalls(ledger, "beta", "alpha") == asked
    assert await recalls(ledger, "beta") == []
    await ledger.report([(run_id, 1)], RunState.CANCELLED, Reason.CANCELLED)
    assert await recalls(ledger) == []


async def test_a_recall_is_kept_for_a_node_that_is_away(ledger):
    await ledger.node()
    run_id = await claimed(ledger)
    await ledger.report([(run_id, 1)], RunState.RUNNING, Reason.UNSPECIFIED)
    await ledger.store.runs.cancel(RequestCancelRequest(run_ids=[str(run_id)]))
    response = await hello(ledger, {(run_id, 1): 1000})
    assert response.recalls == []
    assert await recalls(ledger) == [("alpha", [(run_id, 1)], Reason.CANCELLED, False, False)]


async def withdrawn(ledger: Ledger, **policies: object) -> tuple[str, UUID]:
    """A task whose coming tick was handed to alpha before its schedule was changed to one without that tick."""
    await ledger.node()
    task = await ledger.task("ahead", every(2), **policies)
    await ledger.materialise()
    now = await ledger.now()
    rows = [row for row in await ledger.written(task) if row["scheduled_at"] > now + 4 * MOMENT]
    run_id: UUID = rows[0]["id"]
    await ledger.pool.execute("DELETE FROM run WHERE id <> $1", run_id)
    assert await ledger.claim(now=rows[0]["scheduled_at"]) == [(run_id, 1)]
    spec = TaskSpec(name="ahead", kind=Kind(process=ProcessKind(command=["true"])), schedule=every(86400 * 300))
    await ledger.change(TaskChange(action=TaskAction.UPDATE, task_id=task, spec=spec))
    return task, run_id


async def test_a_tick_that_an_edit_took_away_is_recalled_unless_it_has_started_and_then_gone(ledger):
    task, run_id = await withdrawn(ledger)
    assert await recalls(ledger) == [("alpha", [(run_id, 1)], Reason.CANCELLED, False, True)]
    response = await ledger.take_back((run_id, 1))
    assert (response.returned, response.ended) == (0, 1)
    assert run_id not in {row["id"] for row in await ledger.written(task)}


async def test_a_tick_that_an_edit_took_away_does_not_run_because_its_node_died(ledger):
    task, run_id = await withdrawn(ledger)
    await silent_for(ledger, 20)
    now = await ledger.now()
    await ledger.sweep(now)
    await ledger.sweep(now + timedelta(days=1))
    assert run_id not in {row["id"] for row in await ledger.written(task)}


async def test_a_tick_that_an_edit_took_away_and_the_node_never_got_is_asked_back_at_once(ledger):
    """It was in doubt instead, and with a node that is attached again and again it was lost with it in the end."""
    task, run_id = await withdrawn(ledger, on_node_loss=NodeLoss.FAIL)
    response = await hello(ledger, {})
    assert response.resend is None
    [recall] = response.recalls
    assert (unpack_keys(recall.attempts), recall.unstarted_only, recall.fenced) == ([(run_id, 1)], True, False)
    assert (await ledger.run(run_id)).state is RunState.ASSIGNED
    await ledger.sweep(await ledger.now() + timedelta(seconds=11))
    assert (await ledger.run(run_id)).reason is not Reason.NODE_LOST
    assert (await ledger.take_back((run_id, 1))).ended == 1
    assert run_id not in {row["id"] for row in await ledger.written(task)}


async def test_a_tick_that_an_edit_took_away_may_have_its_result_on_the_way(ledger):
    _, run_id = await withdrawn(ledger)
    await hello(ledger, {})
    await ledger.report([(run_id, 1)])
    assert (await ledger.run(run_id)).state is RunState.SUCCEEDED


# -- drain and resume


async def test_a_drained_node_takes_nothing_new_and_keeps_what_it_has(ledger):
    await ledger.node()
    held = await claimed(ledger)
    drained = await ledger.store.nodes.set_drain(SetNodeDrainRequest(node="alpha", drain=True, note="new disk"))
    assert (drained.state, drained.drain_note, drained.running) == (NodeState.DRAINING, "new disk", 1)
    renewed = await beat(ledger)
    assert (renewed.renewed, renewed.draining) == (["alpha"], ["alpha"])
    waiting = await ledger.trigger(await ledger.task("waiting"))
    assert await ledger.claim() == []
    assert "1 is draining" in (await ledger.run(waiting)).message
    assert (await ledger.run(held)).state is RunState.ASSIGNED
    resumed = await ledger.store.nodes.set_drain(SetNodeDrainRequest(node="alpha", drain=False))
    assert (resumed.state, resumed.drain_note) == (NodeState.READY, "")
    assert (await beat(ledger)).draining == []
    assert await ledger.claim(now=await ledger.now() + timedelta(minutes=1)) == [(waiting, 1)]


async def test_a_node_stays_drained_when_its_process_starts_again(ledger):
    await ledger.node()
    await ledger.store.nodes.set_drain(SetNodeDrainRequest(node="alpha", drain=True))
    await ledger.node()
    assert (await shown(ledger)).state is NodeState.DRAINING


async def test_a_node_is_drained_by_its_hostname_and_an_unknown_one_is_not_found(ledger):
    await ledger.node("n1", hostname="big-machine")
    drained = await ledger.store.nodes.set_drain(SetNodeDrainRequest(node="big-machine", drain=True))
    assert drained.id == "n1"
    with pytest.raises(NotFound):
        await ledger.store.nodes.set_drain(SetNodeDrainRequest(node="nobody", drain=True))


# -- leaving


async def test_a_node_that_leaves_with_nothing_is_gone_at_once(ledger):
    await ledger.node()
    assert (await beat(ledger, leaving=True)).renewed == ["alpha"]
    assert (await shown(ledger)).state is NodeState.DOWN


async def test_a_node_that_leaves_keeps_its_lease_while_it_holds_attempts(ledger):
    await ledger.node()
    run_id = await claimed(ledger)
    await ledger.report([(run_id, 1)], RunState.RUNNING, Reason.UNSPECIFIED)
    await silent_for(ledger, 5)
    before = await lease_until(ledger)
    await beat(ledger, leaving=True)
    assert await lease_until(ledger) > before
    await ledger.sweep()
    assert (await ledger.run(run_id)).state is RunState.RUNNING
    assert (await shown(ledger)).state is NodeState.DRAINING
    await ledger.report([(run_id, 1)])
    await beat(ledger, leaving=True)
    assert (await shown(ledger)).state is NodeState.DOWN


async def test_a_node_that_leaves_takes_nothing_new_whatever_its_later_heartbeats_say(ledger):
    await ledger.node()
    await claimed(ledger)
    await beat(ledger, leaving=True)
    await beat(ledger)
    assert (await shown(ledger)).state is NodeState.DRAINING
    waiting = await ledger.trigger(await ledger.task("waiting"))
    assert await ledger.claim() == []
    assert "1 is draining" in (await ledger.run(waiting)).message


async def test_a_node_that_falls_silent_while_it_leaves_is_given_up_like_any_other(ledger):
    await ledger.node()
    run_id = await claimed(ledger)
    await ledger.report([(run_id, 1)], RunState.RUNNING, Reason.UNSPECIFIED)
    await beat(ledger, leaving=True)
    await silent_for(ledger, 20)
    assert (await shown(ledger)).state is NodeState.DOWN
    await ledger.sweep()
    assert (await ledger.run(run_id)).state is RunState.UNKNOWN


async def test_a_node_that_left_and_comes_back_takes_work_again(ledger):
    await ledger.node()
    await beat(ledger, leaving=True)
    await ledger.node()
    assert (await shown(ledger)).state is NodeState.READY
    await claimed(ledger)


@pytest.mark.parametrize(
    ("availability", "leases", "state", "note"),
    [
        ("active", 0, NodeState.READY, ""),
        ("active", 2, NodeState.DOWN, ""),
        ("pause", 0, NodeState.DRAINING, "paused in the Swarm"),
        ("pause", 2, NodeState.DOWN, ""),
        ("drain", 0, NodeState.DRAINING, "drained in the Swarm"),
        ("drain", 0.8, NodeState.DRAINING, "drained in the Swarm"),
        ("drain", 2, NodeState.NO_EXECUTOR, "drained in the Swarm"),
    ],
)
async def test_a_node_whose_executor_the_swarm_took_away_is_not_told_as_silent(
    ledger, availability, leases, state, note
):
    await ledger.node("alpha")
    nodes = [SwarmNode(id="alpha", hostname="alpha", availability=availability)]
    await ledger.store.nodes.store_swarm(StoreSwarmRequest(nodes=nodes))
    await silent_for(ledger, leases * LEASE.total_seconds())
    found = await shown(ledger)
    assert (found.state, found.drain_note) == (state, note)
