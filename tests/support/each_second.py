"""Tasks that are due each second and write down each instant that they really ran for."""

from __future__ import annotations

import itertools
from datetime import timedelta
from pathlib import Path

from dts.pb.dts.v1 import (
    Interval,
    Kind,
    ListRunsRequest,
    Overlap,
    Policies,
    ProcessKind,
    Rule,
    Run,
    RunState,
    Schedule,
    TaskSpec,
)
from support.system import Calls

SECOND = timedelta(seconds=1)


def witness(name: str, folder: Path) -> TaskSpec:
    """Writes down each instant that it really ran for."""
    command = ["sh", "-c", f'echo "$DTS_SCHEDULED_AT" >> {folder}/{name}']
    schedule = Schedule(rules=[Rule(every=Interval(period=SECOND))])
    policies = Policies(overlap=Overlap.ALLOW)
    return TaskSpec(name=name, schedule=schedule, kind=Kind(process=ProcessKind(command=command)), policies=policies)


async def finished(calls: Calls, task: str) -> list[Run]:
    answer = await calls.scheduler.list_runs(ListRunsRequest(task=task, states=[RunState.SUCCEEDED], page_size=1000))
    return answer.runs


async def more_than(calls: Calls, task: str, count: int) -> bool:
    return len(await finished(calls, task)) > count


async def agrees(calls: Calls, name: str, folder: Path) -> bool:
    """No instant is missing between the first and the last, and what really ran is what the ledger says."""
    runs = await finished(calls, name)
    written = (folder / name).read_text().split()
    instants = sorted(run.scheduled_at for run in runs if run.scheduled_at is not None)
    assert {b - a for a, b in itertools.pairwise(instants)} == {SECOND}
    assert len(set(written)) == len(written)
    return {f"{at:%Y-%m-%dT%H:%M:%S}" for at in instants} <= {text[:19] for text in written}
