"""Whoever defines a task hears at once if no node could take it."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from dts.pb.dts.v1 import (
    ApplyTasksRequest,
    ContainerKind,
    CreateTaskRequest,
    ExecKind,
    Kind,
    NoopKind,
    Policies,
    ProcessKind,
    Resources,
    TaskSpec,
    UpdateTaskRequest,
)
from dts.roles.database.service import DatabaseService
from dts.roles.definition.service import DefinitionService
from support.ledger import Ledger

NOW = datetime(2026, 3, 27, 12, 0, tzinfo=UTC)
PROCESS = Kind(process=ProcessKind(command=["true"]))
CONTAINER = Kind(container=ContainerKind(image="alpine:3"))


@pytest.fixture
def world(database):
    return Ledger.on(database)


@pytest.fixture
def service(world):
    chance = random.Random(1)
    return DefinitionService(DatabaseService(world.store), now=lambda: NOW, rand=chance.getrandbits)


def spec(kind=PROCESS, name="job", **policies):
    return TaskSpec(name=name, kind=kind, policies=Policies(**policies))


async def warned(service, wanted):
    answer = await service.create_task(CreateTaskRequest(spec=wanted, dry_run=True))
    return [notice.message for notice in answer.warnings if notice.code == "placement.nowhere"]


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (spec(CONTAINER), "2 nodes: 2 do not run container tasks"),
        (spec(constraints=["node.labels.disk==ssd"]), "2 nodes: 2 lack label disk=ssd"),
        (spec(resources=Resources(cpus=65)), "2 nodes: 2 have 64 of 65 cpus free"),
        (spec(Kind(exec=ExecKind(service="web", command=["true"]))), "2 nodes: 2 do not run exec tasks"),
    ],
)
async def test_what_no_node_could_take_is_said_when_it_is_defined(wanted, why, service, world):
    for name in ("alpha", "beta"):
        await world.node(name, kinds=["process", "noop"])
    assert await warned(service, wanted) == [f"no node could take it now: {why}"]


async def test_one_node_that_could_take_it_is_enough(service, world):
    await world.node("alpha", kinds=["noop"])
    await world.node("beta", kinds=["process"])
    assert await warned(service, spec()) == []


async def test_where_no_node_is_known_nothing_is_said(service):
    assert await warned(service, spec(CONTAINER)) == []


async def test_an_update_and_a_file_say_it_too(service, world):
    await world.node("alpha", kinds=["noop"])
    await service.create_task(CreateTaskRequest(spec=spec(Kind(noop=NoopKind()))))
    updated = await service.update_task(UpdateTaskRequest(task="job", spec=spec()))
    applied = await service.apply_tasks(ApplyTasksRequest(specs=[spec(), spec(Kind(noop=NoopKind()), "fine")]))
    said = [[notice.code for notice in each.warnings] for each in (updated, *applied.tasks)]
    assert said == [["placement.nowhere"], ["placement.nowhere"], []]
