"""All of dts with 256 file descriptors, and more work than they are enough for (F40)."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dts.domain.runs import FINAL
from dts.pb.dts.v1 import (
    CreateTaskRequest,
    GetRunRequest,
    Kind,
    Overlap,
    Policies,
    ProcessKind,
    RunState,
    TaskSpec,
    TriggerTaskRequest,
)
from support.polling import eventually
from support.postgres import open_directory
from support.system import DTS, TOKEN, Calls, System, start

RUNS = 120
LIMIT = 256


@pytest.fixture
async def data() -> AsyncIterator[Path]:
    with open_directory() as directory:
        directory.chmod(0o777)
        yield directory


@pytest.fixture
async def system(data: Path, database_dsn: str) -> AsyncIterator[System]:
    """One process with few descriptors, which believes that it has room for all of the work."""
    prlimit = shutil.which("prlimit")
    if prlimit is None:
        pytest.skip("there is no prlimit on this machine")
    environment = {"DTS_TOKEN": TOKEN, "DTS_DATA": str(data), "DTS_DSN": database_dsn, "DTS_SLOTS": str(RUNS)}
    program = await start(
        *("dev", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"),
        environment=environment,
        log=data / "dts.log",
        command=(prlimit, f"--nofile={LIMIT}", *DTS),
    )
    try:
        yield System(program.grpc, program.http, data, environment, {"dev": program})
    finally:
        await program.stop()


async def test_too_few_descriptors_fail_single_runs_with_a_sentence_and_nothing_else(system: System, data: Path):
    script = f"while [ ! -e {data}/go ]; do sleep 0.1; done; echo $DTS_RUN_ID >> {data}/ended"
    spec = TaskSpec(
        name="crowd",
        kind=Kind(process=ProcessKind(command=["sh", "-c", script])),
        policies=Policies(overlap=Overlap.ALLOW, max_parallel=1000),
    )
    async with system.calls() as calls:
        await calls.tasks.create_task(CreateTaskRequest(spec=spec))
        runs = [await triggered(calls) for _ in range(RUNS)]
        await eventually(lambda: all_begun(calls, runs), within=30)
        (data / "go").touch()
        await eventually(lambda: all_over(calls, runs), within=30)
        found = [await shown(calls, run) for run in runs]
        succeeded = {run.id for run in found if run.state is RunState.SUCCEEDED}
        refused = [run for run in found if run.state is not RunState.SUCCEEDED]
        assert succeeded
        assert refused  # else the limit was not reached
        assert succeeded <= set((data / "ended").read_text().split())
        assert {run.message for run in refused} == {"the process could not be started: Too many open files"}
        last = await triggered(calls)
        await eventually(lambda: all_over(calls, [last]), within=20)
        assert (await shown(calls, last)).state is RunState.SUCCEEDED
    assert system.programs["dev"].process.returncode is None


async def triggered(calls: Calls) -> str:
    answer = await calls.scheduler.trigger_task(TriggerTaskRequest(task="crowd"))
    assert answer.run is not None
    return answer.run.id


async def shown(calls: Calls, run_id: str):
    answer = await calls.scheduler.get_run(GetRunRequest(run=run_id))
    assert answer.run is not None
    return answer.run


async def all_begun(calls: Calls, runs: list[str]) -> bool:
    states = [(await shown(calls, run)).state for run in runs]
    return all(state in {RunState.RUNNING, *FINAL} for state in states)


async def all_over(calls: Calls, runs: list[str]) -> bool:
    return all([(await shown(calls, run)).state in FINAL for run in runs])
