"""Commands in containers go to nodes that have the container."""

from __future__ import annotations

import pytest

from dts.pb.dts.v1 import ExecKind, Kind, NodeLease, RenewLeasesRequest, RunState, Targets
from support.ledger import LEASE, Ledger

KINDS = ["exec", "noop"]
VACUUM = Kind(exec=ExecKind(service="shop_db", command=["vacuumdb"]))


@pytest.fixture
async def ledger(database) -> Ledger:
    ledger = Ledger.on(database)
    for name in ("alpha", "beta"):
        await ledger.node(name, hostname=name, kinds=KINDS)
    return ledger


async def tell(ledger: Ledger, name: str, *targets: str, incarnation: str = "") -> None:
    lease = NodeLease(node_id=name, incarnation=incarnation or ledger.nodes[name], targets=Targets(names=list(targets)))
    await ledger.store.nodes.renew(RenewLeasesRequest(leases=[lease], lease=LEASE))


async def test_a_command_goes_to_the_node_that_has_its_service_and_follows_it(ledger):
    task = await ledger.task("vacuum", kind=VACUUM)
    await tell(ledger, "alpha", "container/web", "service/web")
    await tell(ledger, "beta", "container/shop_db.1.x", "service/shop_db")
    first = await ledger.trigger(task)
    keys = await ledger.claim("alpha", "beta")
    assert (await ledger.run(first)).node == "beta"
    await ledger.report(keys, node="beta")
    await tell(ledger, "beta")
    await tell(ledger, "alpha", "container/web", "service/shop_db")
    second = await ledger.trigger(task)
    await ledger.claim("alpha", "beta")
    assert (await ledger.run(second)).node == "alpha"


async def test_where_nobody_has_it_the_run_waits_and_says_why(ledger):
    task = await ledger.task("vacuum", kind=VACUUM)
    await tell(ledger, "alpha", "container/shop_db")
    run_id = await ledger.trigger(task)
    assert await ledger.claim("alpha", "beta") == []
    run = await ledger.run(run_id)
    assert run.state is RunState.PENDING
    assert run.message == "2 nodes: 2 have no container of the service shop_db"


async def test_it_is_left_to_the_replica_of_the_scheduler_that_has_the_node(ledger):
    task = await ledger.task("vacuum", kind=Kind(exec=ExecKind(container="db", command=["true"])))
    await tell(ledger, "beta", "container/db")
    run_id = await ledger.trigger(task)
    assert await ledger.claim("alpha") == []
    assert len(await ledger.claim("beta")) == 1
    assert (await ledger.run(run_id)).node == "beta"


async def test_what_was_told_stays_until_it_is_told_anew_and_strangers_tell_nothing(ledger):
    older = ledger.nodes["alpha"]
    await tell(ledger, "alpha", "container/a", "container/b")
    lease = NodeLease(node_id="alpha", incarnation=older)
    await ledger.store.nodes.renew(RenewLeasesRequest(leases=[lease], lease=LEASE))
    await ledger.node("alpha", hostname="alpha", kinds=KINDS)
    await tell(ledger, "alpha", "container/c", incarnation=older)
    shown = {node.id: node.targets for node in await ledger.store.nodes.all()}
    assert shown == {"alpha": ["container/a", "container/b"], "beta": []}
    await tell(ledger, "alpha", "container/b", "container/d")
    assert (await ledger.store.nodes.all())[0].targets == ["container/b", "container/d"]


async def test_what_an_earlier_connection_told_is_not_stored_after_the_next_one_came(ledger):
    older = ledger.nodes["alpha"]
    await ledger.node("alpha", hostname="alpha", kinds=KINDS)
    await tell(ledger, "alpha", "container/new")
    # Its lease was renewed before the node registered anew.
    late = NodeLease(node_id="alpha", incarnation=older, targets=Targets(names=["container/old"]))
    await ledger.store.nodes._store_targets([late])
    assert (await ledger.store.nodes.all())[0].targets == ["container/new"]
