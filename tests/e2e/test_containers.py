"""Containers from a definition to a result, on a real engine, in one process and in five."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, timedelta

import pytest
import pytest_asyncio

from dts.pb.dts.v1 import (
    CancelRunRequest,
    ContainerKind,
    CreateTaskRequest,
    Kind,
    ListNodesRequest,
    LogStream,
    Node,
    NodeState,
    Policies,
    PullPolicy,
    Reason,
    Resources,
    Run,
    RunState,
    TailLogsRequest,
    TaskSpec,
    TriggerTaskRequest,
    WatchRunRequest,
)
from support.engine import IMAGE, Api, docker_host
from support.polling import eventually
from support.postgres import TestServer, open_directory
from support.system import Calls, System, dev, five

__all__ = ["docker_host"]

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

MIB = 1024 * 1024
NODE = "node-of-the-test"
TOLD = ("TASK", "RUN_ID", "ATTEMPT", "NODE", "SCHEDULED_AT", "PREVIOUS_SUCCESS_AT", "PARAM_COLOR")
UNTIL_ASKED = "trap go=1 USR1; echo begun; until test $go; do sleep 0.1; done; seq 1000; exit 5"
BEGUN = "begun\n"
WHOLE = BEGUN + "".join(f"{n}\n" for n in range(1, 1001))


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["dev", "five"])
async def system(request: pytest.FixtureRequest, postgres: TestServer, docker_host: str) -> AsyncIterator[System]:
    """dts on the engine of the tests; in the end it has left nothing there."""
    dsn = await postgres.create()
    environment = {"DTS_DSN": dsn, "DOCKER_HOST": docker_host, "DTS_NODE_NAME": NODE}
    with open_directory() as data:
        running = dev if request.param == "dev" else five
        async with running(data, environment=environment) as system:
            yield system
            await eventually(lambda: not Api(docker_host).containers("dts.run"))
    await postgres.drop(dsn)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def calls(system: System) -> AsyncIterator[Calls]:
    """The public services of the system."""
    async with system.calls() as services:
        yield services


@pytest.fixture
def api(docker_host: str) -> Api:
    """The engine, past dts."""
    return Api(docker_host)


async def create(calls: Calls, name: str, script: str, *, policies: Policies | None = None, **kind) -> None:
    given = {"image": IMAGE, "pull": PullPolicy.NEVER, "command": ["sh", "-c", script]} | kind
    spec = TaskSpec(name=name, kind=Kind(container=ContainerKind(**given)), policies=policies)
    await calls.tasks.create_task(CreateTaskRequest(spec=spec))


async def trigger(calls: Calls, task: str, **options) -> Run:
    response = await calls.scheduler.trigger_task(TriggerTaskRequest(task=task, **options))
    assert response.run is not None
    return response.run


async def end_of(calls: Calls, run: Run) -> Run:
    """The run once it is over: only then does the engine of these tests say no more."""
    last = run
    async for answer in calls.scheduler.watch_run(WatchRunRequest(run=run.id)):
        assert answer.run is not None
        last = answer.run
    return last


async def run_once(calls: Calls, name: str, script: str, *, policies: Policies | None = None, **kind) -> Run:
    await create(calls, name, script, policies=policies, **kind)
    return await end_of(calls, await trigger(calls, name))


async def output(calls: Calls, run: Run, stream: LogStream = LogStream.STDOUT, *, follow: bool = True) -> str:
    chunks = [
        chunk
        async for answer in calls.scheduler.tail_logs(TailLogsRequest(run=run.id, follow=follow))
        for chunk in answer.chunks
    ]
    return b"".join(chunk.content for chunk in chunks if chunk.stream is stream).decode()


async def has_printed(calls: Calls, run: Run, text: str) -> None:
    async def printed() -> bool:
        return text in await output(calls, run, follow=False)

    await eventually(printed, within=20)


async def test_a_container_runs_and_what_it_prints_is_kept(calls):
    run = await run_once(calls, "greet", "echo hello; echo there >&2")
    assert (run.state, run.reason, run.exit_code) == (RunState.SUCCEEDED, Reason.OK, 0)
    assert await output(calls, run) == "hello\n"
    assert await output(calls, run, LogStream.STDERR) == "there\n"
    (attempt,) = run.attempts
    assert attempt.image_digest.startswith("sha256:")
    assert len(attempt.handle) == 64


async def test_the_exit_code_of_a_container_is_that_of_the_run(calls):
    run = await run_once(calls, "broken", "exit 3")
    assert (run.state, run.reason, run.exit_code) == (RunState.FAILED, Reason.EXIT_CODE, 3)


async def test_a_container_knows_who_it_is_and_templates_are_filled_in(calls):
    lines = "; ".join(f'echo "$DTS_{name}"' for name in TOLD)
    env = {"DAY": "{{ scheduled_at | date }}", "WHAT": "{{ task }} in {{ param.COLOR }}"}
    await create(calls, "told", f'{lines}; echo "$DAY $WHAT"; echo "try {{{{ attempt }}}}"', env=env)
    run = await end_of(calls, await trigger(calls, "told", parameters={"COLOR": "red"}))
    assert run.scheduled_at is not None
    instant = run.scheduled_at.astimezone(UTC)
    assert (await output(calls, run)).splitlines() == [
        *("told", run.id, "1", NODE, instant.isoformat().replace("+00:00", "Z"), "", "red"),
        f"{instant:%Y-%m-%d} told in red",
        "try 1",
    ]


async def test_a_container_over_its_time_is_asked_to_stop_and_killed_after_the_grace(calls):
    run = await run_once(
        calls,
        "endless",
        "trap 'echo asked' TERM; while :; do sleep 0.1; done",
        policies=Policies(timeout=timedelta(seconds=1), stop_grace=timedelta(seconds=1)),
    )
    assert (run.state, run.reason) == (RunState.TIMED_OUT, Reason.TIMEOUT)
    assert await output(calls, run) == "asked\n"
    assert run.attempts[0].exit_code == 137
    assert timedelta(seconds=1.9) <= took(run) < timedelta(seconds=15)


async def test_a_container_that_heeds_the_stop_signal_is_not_killed(calls):
    run = await run_once(
        calls,
        "orderly",
        "trap 'echo tidy; exit 4' INT; while :; do sleep 0.1; done",
        stop_signal="SIGINT",
        policies=Policies(timeout=timedelta(seconds=1), stop_grace=timedelta(seconds=30)),
    )
    assert (run.state, run.reason, run.attempts[0].exit_code) == (RunState.TIMED_OUT, Reason.TIMEOUT, 4)
    assert await output(calls, run) == "tidy\n"
    assert took(run) < timedelta(seconds=20)


def took(run: Run) -> timedelta:
    assert run.started_at is not None
    assert run.finished_at is not None
    return run.finished_at - run.started_at


async def test_a_container_can_be_cancelled_while_it_runs(calls, api):
    await create(calls, "long", "echo begun; exec sleep 300")
    run = await trigger(calls, "long")
    await has_printed(calls, run, "begun")
    await calls.scheduler.cancel_run(CancelRunRequest(run=run.id))
    ended = await end_of(calls, run)
    assert (ended.state, ended.reason) == (RunState.CANCELLED, Reason.CANCELLED)
    await eventually(lambda: not api.containers(f"dts.run={run.id}"))


async def test_an_image_that_is_missing_and_never_pulled_fails_the_run_with_a_sentence(calls, api):
    run = await run_once(calls, "no-image", "true", image="no-such-image:9")
    assert (run.state, run.reason) == (RunState.FAILED, Reason.IMAGE_PULL)
    assert "does not have the image no-such-image:9" in run.message
    assert "never to pull" in run.message
    assert not api.created(f"dts.run={run.id}")


async def test_a_container_that_needs_more_memory_than_its_limit_is_told_from_one_that_fails(calls):
    run = await run_once(
        calls,
        "hungry",
        "exec dd if=/dev/zero of=/dev/null bs=64M count=8",
        policies=Policies(resources=Resources(memory=16 * MIB)),
    )
    assert (run.state, run.reason, run.exit_code) == (RunState.FAILED, Reason.OOM_KILLED, 137)


@pytest.mark.parametrize("ends", ["after the next start", "while nobody looks"])
async def test_a_container_outlives_kill_9_of_all_of_dts_and_the_next_start_takes_it_over(postgres, api, ends):
    dsn = await postgres.create()
    with open_directory() as data:
        environment = {"DTS_DSN": dsn, "DOCKER_HOST": api.host}
        async with dev(data, environment=environment) as first, first.calls() as calls:
            await create(calls, "survivor", UNTIL_ASKED)
            run = await trigger(calls, "survivor")
            await has_printed(calls, run, BEGUN)
            before = (await node_of(calls)).incarnation
            await first.programs["dev"].kill()
        (container,) = (one["Id"] for one in api.containers(f"dts.run={run.id}"))
        assert api.inspect(container)["State"]["Running"]
        if ends == "while nobody looks":
            await go_on(api, container)
        async with dev(data, environment=environment) as second, second.calls() as calls:
            if ends == "after the next start":
                await eventually(lambda: is_taken_over(calls, before))
                await go_on(api, container)
            ended = await end_of(calls, run)
            assert (ended.state, ended.reason, ended.exit_code) == (RunState.FAILED, Reason.EXIT_CODE, 5)
            assert [attempt.handle for attempt in ended.attempts] == [container]
            assert await output(calls, run) == WHOLE
            assert api.created(f"dts.run={run.id}") == [container]
            await eventually(lambda: not api.containers("dts.run"))
    await postgres.drop(dsn)


async def go_on(api: Api, container: str) -> None:
    """Lets the container come to its end."""
    api.call("POST", f"/containers/{container}/kill?signal=USR1")
    await eventually(lambda: not any(one["State"] == "running" for one in api.containers("dts.run")))


async def node_of(calls: Calls) -> Node:
    (node,) = (await calls.scheduler.list_nodes(ListNodesRequest())).nodes
    return node


async def is_taken_over(calls: Calls, before: str) -> bool:
    """Whether another incarnation of the node says that it holds the run."""
    node = await node_of(calls)
    return node.state is NodeState.READY and node.incarnation != before and node.running == 1
