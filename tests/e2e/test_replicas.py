"""Several schedulers without a leader: one may be killed or frozen, and every tick still runs exactly once."""

from __future__ import annotations

import itertools
import signal
from datetime import timedelta
from pathlib import Path

from dts.pb.dts.v1 import (
    CreateTaskRequest,
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
from support.polling import eventually
from support.postgres import TestServer, open_directory
from support.system import TOKEN, Calls, Program, System, five, start

SECOND = timedelta(seconds=1)


def witness(name: str, folder: Path) -> TaskSpec:
    """Writes down each instant that it really ran for."""
    command = ["sh", "-c", f'echo "$DTS_SCHEDULED_AT" >> {folder}/{name}']
    schedule = Schedule(rules=[Rule(every=Interval(period=SECOND))])
    policies = Policies(overlap=Overlap.ALLOW)
    return TaskSpec(name=name, schedule=schedule, kind=Kind(process=ProcessKind(command=command)), policies=policies)


async def second_scheduler(system: System, dsn: str) -> Program:
    home = system.data / "scheduler2"
    home.mkdir()
    environment = {
        "DTS_TOKEN": TOKEN,
        "DTS_DATA": str(home),
        "DTS_DSN": dsn,
        "DTS_DATABASE_ADDR": system.programs["database"].grpc,
    }
    arguments = ("serve", "--role", "scheduler", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")
    return await start(*arguments, environment=environment, log=system.data / "scheduler2.log")


async def finished(calls: Calls, task: str) -> list[Run]:
    answer = await calls.scheduler.list_runs(ListRunsRequest(task=task, states=[RunState.SUCCEEDED], page_size=1000))
    return answer.runs


async def more_than(calls: Calls, task: str, count: int) -> bool:
    return len(await finished(calls, task)) > count


async def test_a_frozen_scheduler_holds_nothing_up_and_nothing_runs_twice(postgres: TestServer):
    dsn = await postgres.create()
    with open_directory() as data:
        folder = data / "witness"
        folder.mkdir(mode=0o777)
        async with five(data, environment={"DTS_DSN": dsn}) as system, system.calls() as calls:
            other = await second_scheduler(system, dsn)
            for n in range(3):
                await calls.tasks.create_task(CreateTaskRequest(spec=witness(f"w{n}", folder)))
            await eventually(lambda: more_than(calls, "w0", 3), within=30)
            other.process.send_signal(signal.SIGSTOP)
            count = len(await finished(calls, "w0"))
            await eventually(lambda: more_than(calls, "w0", count + 5), within=30)
            other.process.send_signal(signal.SIGCONT)
            await eventually(lambda: more_than(calls, "w0", count + 8), within=30)
            await other.kill()
            await eventually(lambda: more_than(calls, "w0", count + 11), within=30)
            for n in range(3):
                await eventually(lambda name=f"w{n}": agrees(calls, name, folder))
    await postgres.drop(dsn)


async def agrees(calls: Calls, name: str, folder: Path) -> bool:
    """No instant is missing between the first and the last, and what really ran is what the ledger says."""
    runs = await finished(calls, name)
    written = (folder / name).read_text().split()
    instants = sorted(run.scheduled_at for run in runs)
    assert {b - a for a, b in itertools.pairwise(instants)} == {SECOND}
    assert len(set(written)) == len(written)
    return {f"{at:%Y-%m-%dT%H:%M:%S}" for at in instants} <= {text[:19] for text in written}
