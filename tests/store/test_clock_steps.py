"""Clocks that jump: that of the database, and those of a country."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from uuid import UUID

import pytest

from dts.pb.dts.v1 import Catchup, Cron, FindTasksRequest, Overlap, Reason, Rule, RunState, Schedule
from support.ledger import NOOP, Ledger, every

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def ledger(database) -> Ledger:
    return Ledger.on(database)


async def work_at(ledger: Ledger, now) -> list:
    """What a scheduler and a node do at an instant; answers with the attempts that ran."""
    await ledger.materialise(now)
    ran = await ledger.claim(now=now)
    await ledger.report(ran)
    return ran


@pytest.mark.parametrize("catchup", [Catchup.LATEST, Catchup.ALL, Catchup.NONE])
async def test_a_clock_that_jumps_an_hour_ahead_and_back_runs_no_tick_twice_and_hides_none(ledger, catchup):
    policies = {"catchup": catchup, "catchup_window": 2 * HOUR, "catchup_max": 1000, "overlap": Overlap.ALLOW}
    task = await ledger.task("pulse", every(60), kind=NOOP, **policies)
    await ledger.node()
    begin = (await ledger.now()).replace(second=0, microsecond=0) + MINUTE  # on a tick
    ran = await work_at(ledger, begin)
    ran += await work_at(ledger, begin + HOUR)
    # Back to where it was, and on from there until what was ahead is past.
    for minutes in range(75):
        ran += await work_at(ledger, begin + minutes * MINUTE)
    assert max(Counter(run_id for run_id, _ in ran).values()) == 1
    runs = [run for run in await ledger.runs(task) if run.scheduled_at <= begin + 74 * MINUTE]
    instants = Counter(run.scheduled_at + number * MINUTE for run in runs for number in range(max(run.ticks, 1)))
    assert set(instants.values()) == {1}
    assert max(instants) - min(instants) == (len(instants) - 1) * MINUTE
    assert len(instants) == 75
    assert {run.state for run in runs} <= {RunState.SUCCEEDED, RunState.SKIPPED}
    assert {run.reason for run in runs} <= {Reason.OK, Reason.MISSED}


async def test_a_cursor_never_goes_back_with_the_clock(ledger):
    await ledger.task("pulse", every(1), kind=NOOP)
    now = await ledger.now()
    await ledger.materialise(now + HOUR)
    there = await ledger.pool.fetchval("SELECT upto FROM task_cursor")
    await ledger.pool.execute("UPDATE task_cursor SET visit_at = $1", now)  # even if somebody looks
    await ledger.materialise(now)
    assert await ledger.pool.fetchval("SELECT upto FROM task_cursor") == there


async def test_a_start_looks_at_every_schedule_anew_since_its_zones_may_have_changed(ledger):
    """The zones that ship with dts are newer than those by which the next tick was found."""
    daily = Schedule(rules=[Rule(cron=Cron(expression="30 4 * * *"))], timezone="Europe/Berlin")
    task = await ledger.task("report", daily)
    await ledger.materialise()
    [found] = await ledger.store.tasks.find(FindTasksRequest(tasks=[task]))
    await ledger.pool.execute(
        "UPDATE task_cursor SET next_due_at = next_due_at + interval '1 hour', visit_at = visit_at + interval '1 hour'"
    )
    assert await ledger.store.ledger.look_anew() == 1
    await ledger.materialise()
    [again] = await ledger.store.tasks.find(FindTasksRequest(tasks=[task]))
    assert again.next_due_at == found.next_due_at
    assert await ledger.pool.fetchval("SELECT visit_at FROM task_cursor") < found.next_due_at


async def test_tasks_that_are_looked_at_anew_stand_before_nothing_that_is_due(ledger):
    """A start of a process put all of them, thousands, in front of every tick that became due meanwhile."""
    await ledger.pool.execute(
        "WITH made AS ("
        " INSERT INTO task (id, name, version, spec, created_at, updated_at)"
        " SELECT gen_random_uuid(), 't' || n, 1, '', now(), now() FROM generate_series(1, 12000) n RETURNING id"
        ") INSERT INTO task_cursor (task_id, version, upto, next_due_at, visit_at)"
        " SELECT id, 1, now(), at, at FROM made, LATERAL (SELECT now() + interval '1 day' * random() AS at) AS due"
    )
    pulse = await ledger.task("pulse", every(1), kind=NOOP)
    soon = await ledger.now() + timedelta(milliseconds=1)
    await ledger.pool.execute("UPDATE task_cursor SET visit_at = $2 WHERE task_id = $1", UUID(pulse), soon)
    assert await ledger.store.ledger.look_anew() in {12000, 12001}
    visits = await ledger.pool.fetch("SELECT task_id, next_due_at, visit_at FROM task_cursor ORDER BY visit_at")
    assert str(visits[0]["task_id"]) == pulse
    within = [row for row in visits if row["visit_at"] <= soon + timedelta(seconds=1)]
    assert 100 < len(within) <= 250
    begun = visits[1]["visit_at"]
    assert timedelta(seconds=50) < max(row["visit_at"] for row in visits) - begun < timedelta(seconds=70)
    dues = [row["next_due_at"] for row in visits[1:]]
    assert dues == sorted(dues)
