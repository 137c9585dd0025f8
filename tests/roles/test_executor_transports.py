from __future__ import annotations

import asyncio
from uuid import uuid4

from dts.pb.dts.v1 import RunState, SchedulerServiceBase, SchedulerServiceStub
from support.executors import NOOP, ScriptedRunner, make_executor, process
from support.polling import eventually
from support.rpc import both_transports, reach
from support.scheduler import ScriptedScheduler


class Served(SchedulerServiceBase):
    """The scripted scheduler as a service."""

    def __init__(self, script):
        self.script = script

    async def attach(self, messages):
        async for response in self.script.attach(messages):
            yield response


@both_transports
async def test_an_executor_attaches_works_and_attaches_again(transport, tmp_path):
    script, runner = ScriptedScheduler(), ScriptedRunner()
    async with reach(transport, Served(script), SchedulerServiceStub) as scheduler:
        executor = make_executor(scheduler, tmp_path, runners={"process": runner})
        task = asyncio.create_task(executor.run())
        await eventually(lambda: executor.attached)
        key, noops = (uuid4(), 1), [(uuid4(), 1) for _ in range(5000)]
        script.assign([key], process())
        script.assign(noops, NOOP)
        await eventually(lambda: script.of(key) and script.final(noops[-1]))
        script.drop()
        await eventually(lambda: len(script.hellos) == 2)
        await eventually(lambda: executor.attached)
        assert list(script.held()) == [key]
        runner.works[key].end(0)
        report = await eventually(lambda: script.final(key))
        assert report.state is RunState.SUCCEEDED
        assert await executor.drain(5)
        assert script.heartbeats[-1].leaving
        await eventually(lambda: not script.attached)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


@both_transports
async def test_a_cancelled_executor_lets_go_of_its_connection(transport, tmp_path):
    script = ScriptedScheduler()
    async with reach(transport, Served(script), SchedulerServiceStub) as scheduler:
        executor = make_executor(scheduler, tmp_path)
        task = asyncio.create_task(executor.run())
        await eventually(lambda: executor.attached)
        task.cancel()
        await asyncio.wait([task])
        await eventually(lambda: not script.attached)


@both_transports
async def test_a_scheduler_that_is_away_is_tried_again(transport, tmp_path):
    script = ScriptedScheduler(refuses=True)
    async with reach(transport, Served(script), SchedulerServiceStub) as scheduler:
        executor = make_executor(scheduler, tmp_path)
        task = asyncio.create_task(executor.run())
        await asyncio.sleep(0.3)
        assert not executor.attached
        script.refuses = False
        await eventually(lambda: executor.attached)
        task.cancel()
        await asyncio.wait([task])
