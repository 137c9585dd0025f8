"""Two replicas of the scheduler, each with nodes of its own: who claims what."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from uuid import UUID

import pytest

from dts.pb.dts.v1 import Overlap
from support.ledger import Ledger

LATER = timedelta(seconds=1.6)


@pytest.fixture
async def ledger(database) -> Ledger:
    ledger = Ledger.on(database)
    for name in ("alpha", "beta", "gamma"):
        await ledger.node(name, hostname=name)
    return ledger


async def waiting(ledger: Ledger, count: int, **policies: object) -> list[UUID]:
    task = await ledger.task("many", overlap=Overlap.ALLOW, **policies)
    return [await ledger.trigger(task) for _ in range(count)]


async def holders(ledger: Ledger) -> Counter[str]:
    rows = await ledger.pool.fetch("SELECT coalesce(node_id, '') AS node FROM run")
    return Counter(row["node"] for row in rows)


async def test_the_first_replica_to_look_leaves_the_others_their_share(ledger):
    await waiting(ledger, 90)
    mine = await ledger.claim("alpha")
    assert 15 <= len(mine) <= 45
    assert await ledger.claim("alpha") == []
    others = await ledger.claim("beta", "gamma")
    assert len(mine) + len(others) == 90
    spread = await holders(ledger)
    assert spread["beta"] == pytest.approx(spread["gamma"], abs=1)


async def test_what_was_left_is_taken_by_anybody_after_a_second(ledger):
    await waiting(ledger, 30)
    mine = await ledger.claim("alpha")
    now = await ledger.now()
    rest = await ledger.claim("alpha", now=now + LATER)
    assert len(mine) + len(rest) == 30


async def test_a_run_that_only_another_replicas_node_may_take_is_left_to_it_at_once(ledger):
    await waiting(ledger, 5, constraints=["node.hostname==gamma"])
    assert await ledger.claim("alpha") == []
    assert len(await ledger.claim("beta", "gamma")) == 5
    assert await holders(ledger) == {"gamma": 5}


async def test_a_run_for_a_full_node_goes_where_there_is_room(ledger):
    await waiting(ledger, 60)
    mine = await ledger.claim("alpha", slots=2)
    assert len(mine) <= 2
    assert len(await ledger.claim("beta", "gamma")) >= 1
    now = await ledger.now()
    await ledger.claim("beta", "gamma", now=now + LATER)
    assert (await holders(ledger))[""] == 0


async def test_a_node_that_is_gone_gets_no_share(ledger):
    await ledger.pool.execute("UPDATE node SET lease_until = now() - interval '1 second' WHERE id <> 'alpha'")
    await waiting(ledger, 30)
    assert len(await ledger.claim("alpha")) == 30


async def test_a_node_of_another_replica_that_a_task_prefers_comes_first(ledger):
    await waiting(ledger, 5, prefer=["node.hostname==gamma"])
    assert await ledger.claim("alpha") == []
    assert len(await ledger.claim("beta", "gamma")) == 5
    assert await holders(ledger) == {"gamma": 5}


async def test_a_preferred_node_without_room_blocks_nothing(ledger):
    await waiting(ledger, 5, prefer=["node.hostname==gamma"])
    await ledger.claim("alpha")
    await ledger.pool.execute("UPDATE node SET draining = true WHERE id = 'gamma'")
    now = await ledger.now()
    assert len(await ledger.claim("alpha", "beta", now=now + LATER)) == 5


async def test_live_runs_are_spread_whoever_claims_them(ledger):
    runs = await waiting(ledger, 31, spread=["node.hostname"])
    for replica in (("alpha",), ("beta", "gamma"), ("alpha",), ("beta", "gamma")):
        await ledger.claim(*replica, slots=40)
    spread = await holders(ledger)
    assert spread.total() == len(runs)
    assert spread[""] == 0
    assert max(spread.values()) - min(spread.values()) <= 1
