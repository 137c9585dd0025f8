"""Task Execution Service, over both transports."""

from uuid import uuid4

import pytest
from contract import Cases, methods, reached

from dts.pb.dts.v1 import (
    DescribeNodeRequest,
    ExecutorServiceBase,
    ExecutorServiceStub,
    ListAttemptsRequest,
    RunState,
)
from dts.roles.executor.service import ExecutorService
from dts.runtime import clock
from support.executors import ScriptedRunner, process, running
from support.polling import eventually
from support.scheduler import ScriptedScheduler

case = Cases()


@pytest.fixture
def scheduler():
    return ScriptedScheduler()


@pytest.fixture
def runner():
    return ScriptedRunner()


@pytest.fixture
async def node(transport, scheduler, runner, tmp_path):
    async with running(scheduler, tmp_path, runners={"process": runner}) as executor:
        service = ExecutorService(executor, scheduler="10.0.0.1:7461", monotonic=clock.monotonic, now=clock.now)
        async with reached(transport, ExecutorServiceBase, ExecutorServiceStub, service) as contract:
            yield contract


@case
async def describe_node(node, scheduler, runner):  # noqa: ARG001 - every case is given the same
    described = await node.describe_node(DescribeNodeRequest())
    assert (described.node.hostname, described.attached_to, described.unacknowledged) == ("here", "10.0.0.1:7461", 0)


@case
async def list_attempts(node, scheduler, runner):
    assert (await node.list_attempts(ListAttemptsRequest())).attempts == []
    key = (uuid4(), 1)
    scheduler.assign([key], process())
    await eventually(lambda: key in runner.works and runner.works[key].emit)
    (held,) = (await node.list_attempts(ListAttemptsRequest())).attempts
    assert (held.run_id, held.task, held.attempt.number) == (str(key[0]), "work", 1)
    assert held.attempt.state is RunState.RUNNING
    assert held.attempt.started_at is not None
    runner.works[key].end()
    await eventually(lambda: scheduler.final(key))


@pytest.mark.parametrize("method", methods(ExecutorServiceBase))
async def test_every_call_of_an_executor_keeps_its_contract(method, node, scheduler, runner):
    await case[method](node, scheduler, runner)
    assert node.was_called(method)


async def test_an_executor_says_that_its_scheduler_is_away_and_what_waits_for_it(node, scheduler, runner):
    scheduler.acknowledges = False
    key = (uuid4(), 1)
    scheduler.assign([key], process())
    await eventually(lambda: key in runner.works and runner.works[key].emit)
    runner.works[key].end()
    await eventually(lambda: scheduler.final(key))
    scheduler.refuses = True
    scheduler.drop()

    async def away():
        described = await node.describe_node(DescribeNodeRequest())
        return (described.attached_to, described.unacknowledged) == ("", 1)

    await eventually(away)


def test_no_case_is_left_over():
    assert set(case) == set(methods(ExecutorServiceBase))
