"""From the release before to this one, a role at a time and while tasks run: nothing is lost, nothing runs twice.

The release before is the newest tag below this commit, or whatever DTS_UPGRADE_FROM names to git.
"""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from dts.pb.dts.v1 import (
    CreateTaskRequest,
    GetRunRequest,
    Kind,
    ListRunsRequest,
    ProcessKind,
    Run,
    RunState,
    SchedulerServiceStub,
    TaskDefinitionServiceStub,
    TaskSpec,
    TriggerTaskRequest,
)
from dts.rpc.address import HostPort
from dts.rpc.channel import connect
from dts.rpc.stubs import stub
from support.each_second import agrees, finished, more_than, witness
from support.polling import eventually
from support.pooler import free_port
from support.postgres import TestServer, open_directory
from support.system import ROLES, TOKEN, Calls, Program, start

PROJECT = Path(__file__).parents[2]
PEERS = ("database", "definition", "scheduler")
TASKS = ("first", "second", "third")


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", "-C", PROJECT, *arguments], capture_output=True, check=True).stdout


def release_before() -> str:
    """What to upgrade from."""
    asked = os.environ.get("DTS_UPGRADE_FROM")
    if asked:
        return asked
    try:
        tags = git("tag", "--list", "v*", "--merged", "HEAD^", "--sort=-version:refname").decode().split()
    except (OSError, subprocess.CalledProcessError):  # the checkout has no past
        tags = []
    if not tags:
        pytest.skip("there is no release before this one: no tag v… below this commit")
    return tags[0]


@dataclass
class Installation:
    """The roles as processes of two releases. home: a directory it may fill. before: what to give to processes of the
    release before."""

    home: Path
    dsn: str
    before: Mapping[str, str]
    ports: dict[str, tuple[int, int]] = field(
        default_factory=lambda: {role: (free_port(), free_port()) for role in ROLES}
    )
    programs: dict[tuple[str, int], Program] = field(default_factory=dict)

    def environment(self, release: int) -> dict[str, str]:
        """Of processes; each may call both replicas of a role. release: 0 for the one before, 1 for this."""
        peers = {
            f"DTS_{role.upper()}_ADDR": ",".join(f"127.0.0.1:{port}" for port in self.ports[role]) for role in PEERS
        }
        own = {"DTS_DSN": self.dsn, "DTS_TOKEN": TOKEN, "DTS_ALLOW_PROCESS": "true", "DTS_NODE_NAME": "alpha"}
        return {**own, **peers, **({} if release else self.before)}

    async def begin(self, role: str, release: int, *options: str) -> None:
        """Starts a role; it has the directory of the one before."""
        home = self.home / role
        home.mkdir(exist_ok=True)
        without = f"DTS_{role.upper()}_ADDR"
        environment = {name: text for name, text in self.environment(release).items() if name != without}
        self.programs[role, release] = await start(
            *("serve", "--role", role, *options),
            *("--grpc", f"127.0.0.1:{self.ports[role][release]}", "--http", "127.0.0.1:0"),
            environment={**environment, "DTS_DATA": str(home)},
            log=self.home / f"{role}-{release}.log",
        )

    async def end(self, role: str, release: int) -> None:
        """Ends a role in good order."""
        assert await self.programs.pop((role, release)).stop() == 0

    async def end_all(self) -> None:
        """Whatever is left."""
        for program in list(self.programs.values()):
            await program.stop()

    @asynccontextmanager
    async def calls(self, release: int) -> AsyncIterator[Calls]:
        """The public services, by the gateway of a release."""
        with closing(connect([HostPort("127.0.0.1", self.ports["gateway"][release])], token=TOKEN)) as channel:
            yield Calls(stub(TaskDefinitionServiceStub, channel), stub(SchedulerServiceStub, channel))


@asynccontextmanager
async def installed_before(home: Path, dsn: str) -> AsyncIterator[Installation]:
    """The release before, whole and running."""
    source = home / "before"
    with tarfile.open(fileobj=io.BytesIO(git("archive", release_before()))) as archive:
        archive.extractall(source, filter="data")
    installation = Installation(home, dsn, before={"PYTHONPATH": str(source / "src")})
    async with AsyncExitStack() as stack:
        stack.push_async_callback(installation.end_all)
        for role in ROLES:
            await installation.begin(role, 0, *(["--migrate"] if role == "database" else []))
        yield installation


async def more_ticks(calls: Calls, name: str, count: int = 2) -> None:
    """Waits until so many more have run."""
    ended = len(await finished(calls, name))
    await eventually(partial(more_than, calls, name, ended + count - 1), within=60)


async def run_of(calls: Calls, run: Run, state: RunState) -> bool:
    answer = await calls.scheduler.get_run(GetRunRequest(run=run.id))
    assert answer.run is not None
    return answer.run.state is state


@pytest.mark.timeout(300)
async def test_each_role_is_replaced_while_tasks_run(postgres: TestServer):
    dsn = await postgres.create(migrated=False)
    with open_directory() as home:
        folder = home / "witness"
        folder.mkdir(mode=0o777)
        async with installed_before(home, dsn) as installation:
            async with installation.calls(0) as calls:
                for name in TASKS:
                    await calls.tasks.create_task(CreateTaskRequest(spec=witness(name, folder)))
                long = await begun_by_hand(calls, folder)
                await more_ticks(calls, TASKS[0])
                for role in ("database", "definition", "scheduler"):
                    await installation.begin(role, 1, *(["--migrate"] if role == "database" else []))
                    await more_ticks(calls, TASKS[0])  # by both
                    await installation.end(role, 0)
                    await more_ticks(calls, TASKS[0])
                await installation.end("executor", 0)
                await installation.begin("executor", 1)
                await more_ticks(calls, TASKS[0])
            await installation.begin("gateway", 1)
            await installation.end("gateway", 0)
            async with installation.calls(1) as calls:
                await more_ticks(calls, TASKS[0])
                (folder / "go").touch()
                await eventually(lambda: run_of(calls, long, RunState.SUCCEEDED), within=30)
                assert (folder / "long").read_text().split() == ["begun", "ended"]
                for name in TASKS:
                    await eventually(partial(agrees, calls, name, folder))
                await nothing_else_happened(calls)
    await postgres.drop(dsn)


async def begun_by_hand(calls: Calls, folder: Path) -> Run:
    """A run that outlives every process of the release before."""
    script = f"echo begun >> {folder}/long; until [ -e {folder}/go ]; do sleep 0.1; done; echo ended >> {folder}/long"
    spec = TaskSpec(name="long", kind=Kind(process=ProcessKind(command=["sh", "-c", script])))
    await calls.tasks.create_task(CreateTaskRequest(spec=spec))
    run = (await calls.scheduler.trigger_task(TriggerTaskRequest(task="long"))).run
    assert run is not None
    await eventually((folder / "long").exists, within=30)
    return run


async def nothing_else_happened(calls: Calls) -> None:
    """No run of any task failed or was skipped. What had not begun on a node that stopped may have another attempt."""
    others = [RunState.FAILED, RunState.SKIPPED, RunState.CANCELLED, RunState.UNKNOWN, RunState.TIMED_OUT]
    assert (await calls.scheduler.list_runs(ListRunsRequest(states=others))).runs == []
