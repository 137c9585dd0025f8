"""An engine that is away for a while under a dts that goes on."""

from __future__ import annotations

import pytest

from dts.pb.dts.v1 import (
    ContainerKind,
    CreateTaskRequest,
    GetRunRequest,
    Kind,
    PullPolicy,
    Reason,
    Run,
    RunState,
    TaskSpec,
    TriggerTaskRequest,
    WatchRunRequest,
)
from support.engine import IMAGE, own_engine
from support.polling import eventually
from support.postgres import open_directory
from support.system import dev

__all__ = ["own_engine"]

pytestmark = pytest.mark.docker


async def test_a_run_that_comes_due_while_the_engine_is_away_waits_for_it(own_engine, database_dsn):
    environment = {"DTS_DSN": database_dsn, "DOCKER_HOST": own_engine.host}
    kind = ContainerKind(image=IMAGE, pull=PullPolicy.NEVER, command=["true"])
    with open_directory() as data:
        async with dev(data, environment=environment) as system, system.calls() as calls:
            await calls.tasks.create_task(CreateTaskRequest(spec=TaskSpec(name="late", kind=Kind(container=kind))))
            own_engine.kill()
            run = (await calls.scheduler.trigger_task(TriggerTaskRequest(task="late"))).run

            async def waiting() -> Run | None:
                seen = (await calls.scheduler.get_run(GetRunRequest(run=run.id))).run
                return seen if "does not run container tasks" in seen.message else None

            assert (await eventually(waiting, within=20)).state is RunState.PENDING
            own_engine.start()
            async for answer in calls.scheduler.watch_run(WatchRunRequest(run=run.id)):
                run = answer.run
            assert (run.state, run.reason) == (RunState.SUCCEEDED, Reason.OK), run.message
