"""Commands in containers that somebody else runs, on a real engine."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from dts.docker.engine import Engine
from dts.docker.execs import SERVICE_LABEL, ExecOutput, Execs, ExecState
from dts.domain.errors import DtsError, Unavailable
from dts.domain.node_policy import NodePolicy
from dts.pb.dts.v1 import ExecKind, Kind, LogStream, Reason, Replicas, WorkSpec
from dts.roles.executor.exec.runner import ExecRunner
from dts.roles.executor.work import Ended, Job, Refused, Work
from support.engine import IMAGE, Api
from support.polling import eventually

pytestmark = pytest.mark.docker

SLEEP = ["sh", "-c", "trap exit TERM; while :; do sleep 0.1; done"]


class Host:
    """Containers of others on the engine of the tests."""

    def __init__(self, engine: Engine, api: Api) -> None:
        self.engine = engine
        self.api = api
        self.made: list[str] = []

    async def runs(self, name: str, *, service: str = "", **host: object) -> str:
        labels = {SERVICE_LABEL: service} if service else {}
        config = {"Image": IMAGE, "Cmd": SLEEP, "Labels": labels, "HostConfig": host}
        container = await self.engine.create(name, config)
        self.made.append(container)
        await self.engine.start(container)
        return container

    def has_shell(self, container: str) -> bool:
        pid = self.api.inspect(container)["State"]["Pid"]
        return Path(f"/proc/{pid}/root/bin/sh").is_symlink() or Path(f"/proc/{pid}/root/bin/sh").exists()

    def processes(self, container: str) -> list[str]:
        """Their whole command lines; without `ww`, ps cuts them or not after where its engine was started from."""
        top = json.loads(self.api.call("GET", f"/containers/{container}/top?ps_args=-eww%20-o%20pid,args"))
        return [row[-1] for row in top["Processes"]]


@pytest.fixture
async def host(docker_host: str) -> AsyncIterator[Host]:
    engine = Engine.connect(docker_host)
    host = Host(engine, Api(docker_host))
    yield host
    for container in host.made:
        await engine.remove(container, force=True)
    await engine.close()


@pytest.fixture
def runner(host, tmp_path) -> ExecRunner:
    return ExecRunner(engine=host.engine, home=tmp_path / "execs", node="n1")


def named(prefix: str) -> str:
    return f"{prefix}-{uuid4().hex[:8]}"


def job(*command: str, run_id: UUID | None = None, **kind) -> Job:
    spec = WorkSpec(task="vacuum", kind=Kind(exec=ExecKind(command=list(command), **kind)))
    return Job(run_id or uuid4(), 1, datetime(2026, 3, 1, tzinfo=UTC), None, spec, {"who": "me"}, math.inf)


def shell(script: str, **kind) -> Job:
    return job("sh", "-c", script, **kind)


class Heard:
    """What a command printed."""

    def __init__(self) -> None:
        self.out, self.err = b"", b""
        self.event = asyncio.Event()

    async def emit(self, stream: LogStream, content: bytes) -> None:
        if stream is LogStream.STDOUT:
            self.out += content
        else:
            self.err += content
        self.event.set()


@asynccontextmanager
async def started(runner: ExecRunner, asked: Job) -> AsyncIterator[tuple[Work, Heard, asyncio.Task[Ended]]]:
    work, heard = await runner.prepare(asked), Heard()
    await work.start()
    waiting = asyncio.create_task(work.wait(heard.emit))
    try:
        yield work, heard, waiting
    finally:
        waiting.cancel()
        await asyncio.wait([waiting])
        await work.discard()


async def ran(runner: ExecRunner, asked: Job) -> tuple[int | None, Heard]:
    async with started(runner, asked) as (_, heard, waiting):
        return (await asyncio.wait_for(waiting, 30)).exit_code, heard


async def test_a_command_runs_where_the_container_is_and_its_exit_code_counts(host, runner, tmp_path):
    name = named("db")
    await host.runs(name)
    asked = shell(
        'echo "$DTS_TASK $DTS_NODE $DTS_PARAM_WHO $A $(pwd) $0"; echo bad >&2; exit 3',
        container=name,
        env={"A": "{{ attempt }}"},
        working_dir="/tmp",
    )
    code, heard = await ran(runner, asked)
    assert (code, heard.out, heard.err) == (3, b"vacuum n1 me 1 /tmp sh\n", b"bad\n")
    assert list((tmp_path / "execs").iterdir()) == []


async def test_of_a_service_the_eldest_replica_is_taken_or_all(host, runner):
    service = named("web")
    names = [f"{service}.{number}.x" for number in (2, 1)]
    for name in names:
        await host.runs(name, service=service)
    await host.runs(named("other"), service=service + "2")
    code, heard = await ran(runner, shell("hostname >/dev/null; echo here", service=service))
    assert (code, heard.out) == (0, b"here\n")
    script = 'mkdir /tmp/once && echo "first half"; printf rest; test "$(ls /tmp)" = once'
    code, heard = await ran(runner, shell(script, service=service, replicas=Replicas.ALL))
    assert code == 0
    assert sorted(heard.out.decode().splitlines()) == sorted(
        f"{name}| {line}" for name in names for line in ("first half", "rest")
    )
    code, heard = await ran(runner, shell("rmdir /tmp/once; exit 4", service=service))
    assert code == 4
    code, heard = await ran(runner, shell("test -d /tmp/once || exit 5", service=service, replicas=Replicas.ALL))
    assert code == 5


@pytest.mark.usefixtures("host")
async def test_what_does_not_run_here_is_refused(runner):
    for kind, words in (({"container": "nobody"}, "no container nobody"), ({"service": "x"}, "of the service x")):
        with pytest.raises(Refused, match=f"{words} runs on node n1") as refused:
            await runner.prepare(shell("true", **kind))
        assert (refused.value.reason, refused.value.final) == (Reason.ENGINE_ERROR, False)


async def test_a_program_that_is_not_there_is_told(host, runner):
    name = named("db")
    await host.runs(name)
    work = await runner.prepare(job("/no/such/program", container=name))
    await work.start()
    heard = Heard()
    assert (await work.wait(heard.emit)).exit_code in {126, 127}
    assert b"/no/such/program" in heard.out + heard.err
    await work.discard()


async def test_the_policy_of_the_node_has_the_last_word(host, tmp_path):
    name, service = named("db"), named("web")
    await host.runs(name, service=service)
    for denied in (name, service):
        policy = NodePolicy(execs=("*", f"!{denied}"))
        runner = ExecRunner(engine=host.engine, home=tmp_path, node="n1", policy=lambda policy=policy: policy)
        with pytest.raises(Refused, match=f"does not allow a command in {denied}") as refused:
            await runner.prepare(shell("true", container=name))
        assert (refused.value.reason, refused.value.final) == (Reason.POLICY_DENIED, True)


@pytest.mark.parametrize(
    ("reach", "words"),
    [
        ({"PidMode": "host"}, "which has the processes of the machine"),
        ({"Binds": ["{socket}:/x"]}, "which has the path {socket} of the machine, and with it an engine"),
    ],
)
async def test_a_container_that_has_its_machine_is_no_place_for_commands(host, runner, reach, words, docker_host):
    socket = docker_host.removeprefix("unix://")
    name = named("agent")
    binds = [bind.format(socket=socket) for bind in reach.get("Binds", [])]
    await host.runs(name, **{**reach, "Binds": binds})
    with pytest.raises(Refused, match=words.format(socket=socket)) as refused:
        await runner.prepare(shell("true", container=name))
    assert (refused.value.reason, refused.value.final) == (Reason.POLICY_DENIED, True)


async def test_what_is_stopped_gets_the_signal_and_its_grace(host, runner):
    name = named("db")
    container = await host.runs(name)
    asked = shell("trap 'echo bye; exit 9' TERM; echo up; while :; do sleep 0.1; done", container=name)
    async with started(runner, asked) as (work, heard, waiting):
        await heard.event.wait()
        await work.stop(grace=timedelta(seconds=20))
        assert (await asyncio.wait_for(waiting, 10)).exit_code == 9
    assert heard.out == b"up\nbye\n"
    assert (await host.engine.inspect(container)).alive


async def test_what_ignores_the_signal_is_killed_with_its_children_and_nothing_else(host, runner):
    name = named("db")
    container = await host.runs(name)
    asked = shell("trap '' TERM; sleep 1001 & echo up; while :; do sleep 1002; done", container=name)
    async with started(runner, asked) as (work, heard, waiting):
        await heard.event.wait()
        await eventually(lambda: "sleep 1002" in host.processes(container))
        await work.stop(grace=timedelta(0))
        assert (await asyncio.wait_for(waiting, 10)).exit_code == 137
    assert not any(one.startswith("sleep 100") for one in host.processes(container))
    assert (await host.engine.inspect(container)).alive


async def test_a_container_that_ends_takes_its_command_along(host, runner):
    name = named("db")
    container = await host.runs(name)
    async with started(runner, shell("echo up; while :; do sleep 0.1; done", container=name)) as (_, heard, waiting):
        await heard.event.wait()
        await host.engine.kill(container)
        assert (await asyncio.wait_for(waiting, 30)).exit_code in {137, None}


async def test_what_an_executor_left_is_ended_by_the_next(host, runner, tmp_path):
    name = named("db")
    container = await host.runs(name)
    asked = shell("sleep 1003", container=name)
    async with started(runner, asked) as (_, _, waiting):
        await eventually(lambda: "sleep 1003" in host.processes(container))
        waiting.cancel()  # as an executor that is killed
        await asyncio.wait([waiting])
        later = ExecRunner(engine=host.engine, home=tmp_path / "execs", node="n1")
        assert await later.find([asked]) == {}
        assert "sleep 1003" not in host.processes(container)
        assert list((tmp_path / "execs").iterdir()) == []
    assert (await host.engine.inspect(container)).alive


async def test_where_no_shell_is_the_stop_says_so(host, runner):
    name = named("db")
    await host.runs(name)
    asked = shell("rm /bin/sh; echo up; while :; do sleep 0.1; done", container=name)
    async with started(runner, asked) as (work, heard, waiting):
        await heard.event.wait()
        with pytest.raises(DtsError, match=r"it takes sh, tr and grep there \(126\)"):
            await work.kill()
        assert not waiting.done()


async def test_a_command_of_another_user_than_root_is_killed_with_its_children(host, runner):
    name = named("db")
    container = await host.runs(name)
    asked = shell("sleep 1004 & echo up; while :; do sleep 0.1; done", container=name, user="1000:1000")
    async with started(runner, asked) as (work, heard, waiting):
        await heard.event.wait()
        await work.kill()
        assert (await asyncio.wait_for(waiting, 10)).exit_code == 137
    assert "sleep 1004" not in host.processes(container)


async def test_a_child_that_became_another_user_is_killed_too(host, runner):
    name = named("db")
    container = await host.runs(name)
    passwd = "mkdir -p /etc; echo 'me:x:1000:1000::/:/bin/sh' > /etc/passwd; echo 'me:x:1000:' > /etc/group"
    child = f"{passwd}; busybox su me -c 'id -u; exec sleep 1006' & echo up; wait"
    async with started(runner, shell(child, container=name)) as (work, heard, waiting):
        await heard.event.wait()
        await eventually(lambda: "sleep 1006" in host.processes(container))
        await work.kill()
        await asyncio.wait_for(waiting, 10)
    assert b"1000" in heard.out
    assert "sleep 1006" not in host.processes(container)


async def test_what_a_stopped_command_leaves_behind_is_killed_and_of_one_that_ended_it_is_not(host, runner):
    name = named("db")
    container = await host.runs(name)
    left = "(trap '' TERM; exec sleep 1005) >/dev/null 2>&1 &"
    async with started(runner, shell(f"{left} exit 0", container=name)) as (_, _, waiting):
        assert (await asyncio.wait_for(waiting, 20)).exit_code == 0
    assert host.processes(container).count("sleep 1005") == 1
    script = f"{left} trap 'exit 9' TERM; echo up; while :; do sleep 0.1; done"
    async with started(runner, shell(script, container=name)) as (work, heard, waiting):
        await heard.event.wait()
        await eventually(lambda: host.processes(container).count("sleep 1005") == 2)
        stopping = asyncio.create_task(work.stop(grace=timedelta(seconds=10)))
        assert (await asyncio.wait_for(waiting, 20)).exit_code == 9
        stopping.cancel()  # as an attempt does
    assert host.processes(container).count("sleep 1005") == 1


async def test_where_one_container_has_no_shell_the_others_are_signalled_all_the_same(host, runner):
    service = named("web")
    for number in (1, 2):
        await host.runs(f"{service}.{number}.x", service=service)
    await ran(runner, shell("rm /bin/sh", service=service))
    async with started(runner, job("sleep", "1007", service=service, replicas=Replicas.ALL)) as (work, _, _):
        await eventually(lambda: all("sleep 1007" in host.processes(one) for one in host.made))
        with pytest.raises(DtsError, match="no signal can be sent"):
            await work.kill()
        # Which of the two is the eldest is not known, since engines tell seconds: the one without a shell is.
        sleeping = [one for one in host.made if "sleep 1007" in host.processes(one)]
        assert sleeping == [one for one in host.made if not host.has_shell(one)]
        assert len(sleeping) == 1


class Deaf(Execs):
    """Starts commands, and loses the answer."""

    async def start(self, exec_id: str) -> ExecOutput:
        (await super().start(exec_id)).close()
        raise Unavailable("the engine went away")


async def test_a_command_whose_start_is_in_doubt_is_ended_and_its_exit_code_is_not_believed(host, runner):
    name = named("db")
    await host.runs(name)
    work = await runner.prepare(shell("sleep 1; exit 7", container=name))
    honest, work._execs = work._execs, Deaf(host.engine)
    await work.start()
    work._execs = honest
    heard = Heard()
    assert (await asyncio.wait_for(work.wait(heard.emit), 20)).exit_code is None
    assert b"broke off" in heard.err
    await work.discard()


class Early(Execs):
    """Looks before the engine has begun: it answers a start first."""

    looks = 0
    begins_after = 1

    async def look(self, exec_id: str) -> ExecState:
        self.looks += 1
        early = self.looks <= self.begins_after
        return ExecState(running=False, exit_code=None) if early else await super().look(exec_id)


async def test_a_command_that_is_looked_at_before_it_began_has_its_true_exit_code(host, runner):
    name = named("db")
    await host.runs(name)
    for script, code in (("exit 0", 0), ("sleep 1; exit 7", 7)):
        work = await runner.prepare(shell(script, container=name))
        await work.start()
        work._execs = Early(host.engine)
        assert (await asyncio.wait_for(work.wait(Heard().emit), 20)).exit_code == code
        await work.discard()


async def test_a_command_that_is_stopped_before_it_began_does_not_run_on(host, runner):
    name = named("db")
    container = await host.runs(name)
    work = await runner.prepare(shell("exec sleep 4321", container=name))
    await work.start()
    honest, work._execs = work._execs, Early(host.engine)
    work._execs.begins_after = 3
    waiting = asyncio.create_task(work.wait(Heard().emit))
    await asyncio.sleep(0)
    await asyncio.wait_for(work.stop(grace=timedelta(seconds=0.5)), 20)
    await asyncio.wait_for(waiting, 20)
    work._execs = honest
    assert [line for line in host.processes(container) if "4321" in line] == []
    await work.discard()


async def test_one_of_several_that_never_started_costs_the_others_nothing(host, runner):
    service = named("web")
    for number in (1, 2):
        await host.runs(f"{service}.{number}.x", service=service)

    class Once(Execs):
        lost = 0

        async def start(self, exec_id: str) -> ExecOutput:
            self.lost += 1
            if self.lost == 1:
                raise Unavailable("the engine went away")
            return await super().start(exec_id)

    work = await runner.prepare(shell("sleep 1; echo done", service=service, replicas=Replicas.ALL))
    work._execs = Once(host.engine)
    await work.start()
    heard = Heard()
    assert (await asyncio.wait_for(work.wait(heard.emit), 20)).exit_code == 126
    assert b"| done" in heard.out
    assert b"never started" in heard.err
    await work.discard()


async def test_a_note_that_cannot_be_read_holds_nothing_up(runner, tmp_path):
    for name, content in ((f"{uuid4()}.1.json", ""), (f"{uuid4()}.2.json", "[1]"), ("other.json", "[]")):
        (tmp_path / "execs" / name).write_text(content)
    assert await runner.find([]) == {}
    assert list((tmp_path / "execs").iterdir()) == []
