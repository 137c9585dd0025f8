from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from dts.pb.dts.v1 import Kind, Node, NoopKind, Reason, RunState, WorkSpec
from dts.roles.executor.executor import Executor
from support.polling import eventually
from support.scheduler import ScriptedScheduler

NOOP = WorkSpec(task_id=str(uuid4()), task="nothing", version=1, kind=Kind(noop=NoopKind()))


async def node() -> Node:
    return Node(id="n1", hostname="here", incarnation=str(uuid4()))


@asynccontextmanager
async def running(scheduler: ScriptedScheduler, data_dir: Path) -> AsyncIterator[Executor]:
    executor = Executor(
        scheduler=scheduler,
        log_store=None,
        data_dir=data_dir,
        node=node,
        runners={},
        monotonic=time.monotonic,
        now=lambda: datetime.now(UTC),
        rand=lambda: 0.5,
    )
    task = asyncio.create_task(executor.run())
    try:
        await eventually(lambda: scheduler.attached)
        yield executor
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_noop_is_reported_until_it_is_acknowledged(tmp_path):
    scheduler = ScriptedScheduler()
    async with running(scheduler, tmp_path):
        key = (uuid4(), 1)
        scheduler.assign([key], NOOP)
        report = await eventually(lambda: scheduler.final(key))
    assert report.state is RunState.SUCCEEDED
    assert report.reason is Reason.OK
    assert report.started_ago >= report.finished_ago >= 0


async def test_ten_thousand_noops_of_one_instant_are_done_in_well_under_a_second(tmp_path):
    scheduler = ScriptedScheduler()
    async with running(scheduler, tmp_path):
        keys = [(uuid4(), 1) for _ in range(10_000)]
        scheduler.assign(keys, NOOP)
        begun = time.monotonic()
        await eventually(lambda: len(scheduler.reports) == len(keys))
        assert time.monotonic() - begun < 0.5
    assert scheduler.batches <= 10
