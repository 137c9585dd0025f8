"""Work may start late, never early: from the database's clock over a scheduler to a node, whatever takes long."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from dts.pb.dts.v1 import (
    Assignments,
    AttachRequest,
    Capacity,
    ClaimRequest,
    ClaimResponse,
    Hello,
    Node,
    NodeAssignments,
    RegisterNodeRequest,
    RegisterNodeResponse,
    Resources,
    Weights,
)
from dts.roles.executor.assigned import AssignmentReader
from dts.roles.executor.distant_clock import DistantClock
from dts.roles.scheduler.duties import Duties
from dts.roles.scheduler.hub import Hub
from support.executors import ScriptedRunner, process, running
from support.polling import eventually
from support.scheduler import ScriptedScheduler, assignments

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
KEY = (uuid4(), 1)


class BusyLedger:
    """Reads its clock at the very end of what takes it long."""

    def __init__(self) -> None:
        self.now = 100.0
        self.read_at = 0.0

    async def register_node(self, message: RegisterNodeRequest, /) -> RegisterNodeResponse:
        assert message.hello is not None
        self._takes_long()
        return RegisterNodeResponse(node=message.hello.node, resend=assignments([KEY], process()))

    async def claim(self, _: ClaimRequest, /) -> ClaimResponse:
        self._takes_long()
        work = NodeAssignments(node_id="n1", assignments=assignments([KEY], process()), weights=Weights())
        return ClaimResponse(assignments=[work])

    def _takes_long(self) -> None:
        self.now += 4
        self.read_at = self.now


async def hello() -> AsyncIterator[AttachRequest]:
    capacity = Capacity(slots=1, resources=Resources(cpus=1, memory=1))
    yield AttachRequest(hello=Hello(node=Node(id="n1", hostname="n1", incarnation=str(uuid4()), capacity=capacity)))
    await eventually(lambda: False)


async def test_what_is_sent_is_never_said_to_be_older_than_it_is():
    """Neither with a Welcome nor after a claim: from its age a node reckons when work is due."""
    ledger = BusyLedger()
    hub = Hub(ledger, monotonic=lambda: ledger.now)
    duties = Duties(ledger, hub, keep=timedelta(days=1), monotonic=lambda: ledger.now)
    answers = hub.attach(hello())
    assert (await anext(answers)).welcome
    for claims in (False, True):
        if claims:
            await duties.claim()
        ledger.now += 0.5
        sent = (await anext(answers)).assignments
        assert sent is not None
        assert sent.age / 1e6 == ledger.now - ledger.read_at
    await answers.aclose()


def due(message: Assignments, clock: DistantClock, *, received_at: float) -> float:
    [one] = AssignmentReader().read(message, received_at=received_at, clock=clock).others
    return one.due


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (NOON + 3 * SECOND, 105),  # it was on its way for as long as it seems
        (NOON + 9 * SECOND, 109.5),  # the clock was set: it cannot have been read after the message was sent
    ],
)
def test_a_node_that_knows_the_databases_clock_needs_no_age(told, expected):
    clock = DistantClock()
    clock.heard(NOON, asked_at=100, heard_at=100)
    message = assignments([KEY], process(), start_in=2_000_000, age=500_000)
    message.read_at = told
    assert due(message, clock, received_at=108) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("told", [None, NOON - 3600 * SECOND])
def test_where_it_is_not_told_or_was_just_put_back_the_age_counts(told):
    clock = DistantClock()
    clock.heard(NOON, asked_at=100, heard_at=100)
    message = assignments([KEY], process(), start_in=2_000_000, age=500_000)
    message.read_at = told
    assert due(message, clock, received_at=108) == 109.5
    assert due(message, DistantClock(), received_at=108) == 109.5


async def test_what_was_long_on_its_way_starts_on_its_instant_if_that_is_still_to_come(tmp_path):
    """And not so long after it as the message took."""
    begun = time.monotonic()
    scheduler = ScriptedScheduler(clock=lambda: NOON + timedelta(seconds=time.monotonic() - begun))
    runner = ScriptedRunner()
    async with running(scheduler, tmp_path, runners={"process": runner}):
        read_at = scheduler.clock()
        scheduler.assign([KEY], process(), start_in=3, read_at=read_at - 2 * SECOND)
        await eventually(lambda: scheduler.of(KEY))
    started = NOON + timedelta(seconds=runner.works[KEY].started_at - begun)
    assert timedelta(0) <= started - (read_at + SECOND) < SECOND
