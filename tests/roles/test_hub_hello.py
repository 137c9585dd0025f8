"""What an executor may say of its node: everybody is told it."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from dts.domain.errors import InvalidArgument
from dts.pb.dts.v1 import (
    AttachRequest,
    Capacity,
    Heartbeat,
    Hello,
    Node,
    RegisterNodeRequest,
    RegisterNodeResponse,
    Resources,
    Targets,
)
from dts.roles.scheduler.checks import possible_targets
from dts.roles.scheduler.hub import Hub


class Registry:
    """Takes every node."""

    async def register_node(self, message: RegisterNodeRequest, /) -> RegisterNodeResponse:
        assert message.hello is not None
        return RegisterNodeResponse(node=message.hello.node)


def node(*, cpus: float = 1, memory: int = 1, slots: int = 1, **more) -> Node:
    capacity = Capacity(slots=slots, resources=Resources(cpus=cpus, memory=memory))
    return Node(**{"id": "n1", "hostname": "n1", "incarnation": str(uuid4()), "capacity": capacity, **more})


async def attached(*messages: AttachRequest) -> int:
    """How many answers came until the executor had said everything."""

    async def said() -> AsyncIterator[AttachRequest]:
        for message in messages:
            yield message

    hub = Hub(Registry(), monotonic=lambda: 0.0)
    return len([answer async for answer in hub.attach(said())])


async def test_an_ordinary_node_is_welcome():
    heartbeat = AttachRequest(heartbeat=Heartbeat(sequence=1, targets=Targets(names=["container/db"])))
    assert await attached(AttachRequest(hello=Hello(node=node(labels={"disk": "ssd"}))), heartbeat) == 1


@pytest.mark.parametrize(
    ("strange", "field"),
    [
        (node(id=""), "id"),
        (node(hostname="a\x1b[31mb"), "hostname"),
        (node(hostname="a\0"), "hostname"),
        (node(hostname="x" * 256), "hostname"),
        (node(incarnation="x"), "incarnation"),
        (node(incarnation=""), "incarnation"),
        (node(labels={"a": "x" * 65536}), "hello.node"),
        (node(cpus=math.nan), "capacity"),
        (node(cpus=math.inf), "capacity"),
        (node(cpus=-1), "capacity"),
        (node(memory=-1), "capacity"),
        (node(slots=-1), "capacity"),
    ],
)
async def test_a_node_that_cannot_be_is_refused_by_its_field(strange, field):
    with pytest.raises(InvalidArgument, match=field):
        await attached(AttachRequest(hello=Hello(node=strange)))


async def test_a_process_that_cannot_be_is_refused():
    with pytest.raises(InvalidArgument, match=r"hello\.process"):
        await attached(AttachRequest(hello=Hello(node=node(), process="x")))


def test_of_targets_those_are_taken_that_can_be():
    told = Targets(names=["container/\0", "x" * 256, *(f"container/{number}" for number in range(3000))])
    assert possible_targets(told) == Targets(names=[f"container/{number}" for number in range(2000)])
    assert possible_targets(Targets()) == Targets()
    assert possible_targets(None) is None
