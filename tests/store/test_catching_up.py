"""After an outage: what was missed is made up for, the oldest first, once each (F2)."""

from __future__ import annotations

import asyncio
import itertools
from datetime import datetime, timedelta

import pytest

from dts.domain.ledger import HORIZON
from dts.pb.dts.v1 import Catchup, MaterialiseRequest, MaterialiseResponse, Overlap, Reason, TaskAction, TaskChange
from dts.store.ledger import RUNS_PER_PASS
from dts.store.store import Store
from support.ledger import NOOP, Ledger, every

MINUTE = timedelta(minutes=1)
TASKS = 100
MISSED = 20
POLICIES = {"catchup": Catchup.ALL, "catchup_window": timedelta(hours=1), "catchup_max": 1000, "overlap": Overlap.ALLOW}
WHOLE_BACKLOG = POLICIES | {"catchup_max": 10_000}


@pytest.fixture
def ledger(database) -> Ledger:
    return Ledger.on(database)


async def test_a_hundred_tasks_catch_up_oldest_first_and_each_tick_once(ledger):
    """By three replicas at once, of which each would do."""
    tasks = [await ledger.task(f"minutely-{number}", every(60), kind=NOOP, **POLICIES) for number in range(TASKS)]
    await ledger.node()
    now = (await ledger.now()).replace(second=30, microsecond=0)
    for task in tasks:
        await ledger.rewind(task, now - MISSED * MINUTE)
    await asyncio.gather(*(ledger.materialise(now) for _ in range(3)))
    instants = {row["id"]: row["scheduled_at"] for row in await ledger.pool.fetch("SELECT id, scheduled_at FROM run")}
    claimed: list[list] = []
    while keys := await ledger.claim(now=now, limit=500):
        claimed.append([instants[run_id] for run_id, _ in keys])
        await ledger.report(keys)
    assert sum(len(batch) for batch in claimed) == TASKS * MISSED
    assert all(max(batch) <= min(later) for batch, later in itertools.pairwise(claimed))
    for task in tasks[:5]:
        runs = await ledger.runs(task)
        assert [run.reason for run in runs] == [Reason.OK] * MISSED
        assert len({run.scheduled_at for run in runs}) == MISSED


async def visit(ledger: Ledger, now: datetime) -> MaterialiseResponse:
    """One pass of one replica."""
    return await ledger.store.ledger.materialise(MaterialiseRequest(horizon=HORIZON, limit=500, now=now))


async def test_a_backlog_is_written_in_pieces_and_keeps_no_coming_tick_waiting(ledger):
    """500 tasks with a million ticks each in one transaction would reach its limits again and again, for ever."""
    behind = [await ledger.task(f"behind-{number}", every(1), kind=NOOP, **WHOLE_BACKLOG) for number in range(6)]
    now = (await ledger.now()).replace(microsecond=0)
    for task in behind:
        await ledger.rewind(task, now - timedelta(seconds=2000))
    punctual = await ledger.task("punctual", every(2), kind=NOOP)
    await ledger.rewind(punctual, now)
    first = await visit(ledger, now)
    assert await ledger.written(punctual) != []
    written, more = [first.runs], first.more
    while more:  # whoever hears so comes at once
        visited = await visit(ledger, now)
        written.append(visited.runs)
        more = visited.more
    assert (await visit(ledger, now)).runs == 0
    assert max(written) <= RUNS_PER_PASS
    assert len(written) > 2
    for task in behind:
        instants = [row["scheduled_at"] for row in await ledger.written(task)]
        assert instants == [now + timedelta(seconds=second) for second in range(-1999, 11)]


async def test_a_pass_that_has_no_more_time_to_plan_leaves_the_rest_due(ledger):
    seconds = itertools.count(step=10)
    ledger.store = Store.on(ledger.pool, rand=lambda: 0.5, monotonic=lambda: next(seconds))
    tasks = [await ledger.task(f"minutely-{number}", every(60), kind=NOOP, **POLICIES) for number in range(3)]
    now = (await ledger.now()).replace(second=30, microsecond=0)
    for task in tasks:
        await ledger.rewind(task, now - MISSED * MINUTE)
    visited = [await visit(ledger, now) for _ in range(4)]
    assert [each.runs for each in visited] == [MISSED, MISSED, MISSED, 0]
    assert [each.more for each in visited] == [True, True, False, False]


async def test_an_edit_settles_a_backlog_of_many_pages_before_it_counts(ledger):
    task = await ledger.task("behind", every(1), kind=NOOP, **WHOLE_BACKLOG)
    before = await ledger.now()
    await ledger.rewind(task, before - timedelta(seconds=2500))
    await ledger.change(TaskChange(action=TaskAction.PAUSE, task_id=task))
    rows = await ledger.pool.fetch("SELECT scheduled_at FROM run_history ORDER BY scheduled_at")
    instants = [row["scheduled_at"] for row in rows]
    assert [later - at for at, later in itertools.pairwise(instants)] == [timedelta(seconds=1)] * (len(instants) - 1)
    assert before - timedelta(seconds=2500) < instants[0] < before - timedelta(seconds=2498)
    assert instants[-1] > before - timedelta(seconds=1)
