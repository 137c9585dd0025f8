"""Sixty tasks on three nodes, while the services of dts are replaced one after the other."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from dts.domain.errors import NotFound
from dts.pb.dts.v1 import (
    ApplyTasksRequest,
    DeleteTaskRequest,
    ListNodesRequest,
    ListRunsRequest,
    PauseTaskRequest,
    Reason,
    Run,
    RunState,
    TaskSpec,
)
from support.polling import eventually
from support.system import Calls
from swarm.lab import Lab
from swarm.load import VOLUME, disagreements, expected_ticks, read_witnesses, specs
from swarm.stack import Stack, task_image, witnesses

pytestmark = pytest.mark.timeout(1500)

MINUTES = float(os.environ.get("DTS_LAB_MINUTES", "1"))
"""How long the load goes on after the updates; CI has less time than the five minutes that were published."""

SPREAD = 0.2
"""How far the runs of a node may be from the mean of the three."""

UPDATED = ("database", "definition", "scheduler", "gateway", "executor")


@pytest.fixture
async def calls(stack: Stack) -> AsyncIterator[Calls]:
    async with stack.system.calls() as calls:
        yield calls


async def all_runs(calls: Calls, task: str) -> list[Run]:
    found: list[Run] = []
    token = ""
    while True:
        page = await calls.scheduler.list_runs(ListRunsRequest(task=task, page_size=1000, page_token=token))
        found += page.runs
        if not (token := page.next_page_token):
            return found


def instants(runs: Sequence[Run], period: timedelta) -> Counter[datetime]:
    """The ticks that the rows stand for."""
    found: Counter[datetime] = Counter()
    for run in runs:
        found.update(run.scheduled_at + number * period for number in range(run.ticks))
    return found


def with_witness(tasks: Sequence[TaskSpec]) -> set[str]:
    """The tasks whose containers write down that they ran."""
    return {task.name for task in tasks if task.kind.container is not None}


async def pause(calls: Calls, tasks: Sequence[TaskSpec]) -> None:
    for task in tasks:
        await calls.tasks.pause_task(PauseTaskRequest(task=task.name, note="the load is over"))


async def delete(calls: Calls, tasks: Sequence[TaskSpec]) -> None:
    """What an earlier load left."""
    for task in tasks:
        with suppress(NotFound):
            await calls.tasks.delete_task(DeleteTaskRequest(task=task.name))


async def checked(calls: Calls, lab: Lab, tasks: Sequence[TaskSpec], since: datetime, until: datetime) -> list[Run]:
    """Every tick has one row, and what was seen to run is what the ledger says."""
    everything: list[Run] = []
    for task in tasks:
        runs = await all_runs(calls, task.name)
        everything += runs
        period = task.schedule.rules[0].every.period
        rows = instants(runs, period)
        expected = expected_ticks(period, since, until)
        assert [tick for tick in expected if rows[tick] != 1] == [], task.name
    nodes = (await calls.scheduler.list_nodes(ListNodesRequest())).nodes
    hostnames = {node.id: node.hostname for node in nodes}
    seen = read_witnesses(witnesses(lab, VOLUME))
    ids = {run.id for run in everything}
    ours = {me: witness for me, witness in seen.items() if me.partition(".")[0] in ids}
    assert disagreements([run for run in everything if run.task in with_witness(tasks)], ours, hostnames) == []
    assert ours
    return everything


async def test_sixty_tasks_on_three_nodes_while_every_service_is_replaced(stack, lab, calls, record_property):
    tasks = specs(task_image())
    await delete(calls, tasks)
    applied = await calls.tasks.apply_tasks(ApplyTasksRequest(specs=tasks))
    assert len(applied.tasks) == len(tasks)
    since = datetime.now(UTC) + timedelta(seconds=12)
    for service in UPDATED:
        await asyncio.to_thread(stack.update, service)
    updated = datetime.now(UTC) + timedelta(seconds=5)
    await asyncio.sleep(MINUTES * 60)  # the load has a length; nothing is waited for
    until = datetime.now(UTC) - timedelta(seconds=1)

    async def caught_up() -> bool:
        late = await calls.scheduler.list_runs(
            ListRunsRequest(
                until=until, states=[RunState.PENDING, RunState.ASSIGNED, RunState.RUNNING, RunState.UNKNOWN]
            )
        )
        return not late.runs

    await pause(calls, tasks)
    await eventually(caught_up, within=120)
    runs = await checked(calls, lab, tasks, since, until)
    states = Counter(str(run.state) for run in runs for _ in range(run.ticks))
    record_property("runs", dict(states))
    pinned = {task.name: task.policies.constraints[0] for task in tasks if task.policies.constraints}
    assert [run for run in runs if run.task in pinned and run.node and not pinned[run.task].endswith(run.node)] == []
    # While its executor was replaced a node could take nothing.
    load = Counter(run.node for run in runs if run.node and run.scheduled_at > updated)
    record_property("runs on each node", dict(load))
    mean = sum(load.values()) / len(lab.nodes)
    assert all(abs(count / mean - 1) <= SPREAD for count in load.values()), load
    assert {(run.reason, run.exit_code) for run in runs if run.state is RunState.FAILED} == {(Reason.EXIT_CODE, 3)}
