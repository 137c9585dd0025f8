"""What a replica believes a node to hold: it gives no more than there is room for, and no less."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

from dts.domain.columns import pack, pack_keys
from dts.pb.dts.v1 import (
    AttachRequest,
    Capacity,
    ClaimResponse,
    FindOverdueResponse,
    Hello,
    Node,
    NodeAssignments,
    Recall,
    RecordResponse,
    RegisterNodeResponse,
    Reports,
    Resources,
    TakeBackResponse,
    Weights,
)
from dts.roles.scheduler.duties import ASK_SECONDS, Duties
from dts.roles.scheduler.hub import Hub
from support.executors import process
from support.polling import eventually
from support.scheduler import assignments

KEY = (uuid4(), 1)
WEIGHTS = Weights(attempts=pack_keys([KEY]), cpus_milli=pack("i", [500]), memory=pack("q", [1]))


class Ledger:
    """Says what the test says."""

    def __init__(self):
        self.registered = RegisterNodeResponse()
        self.recorded = RecordResponse()
        self.claimed = ClaimResponse()
        self.overdue = False
        self.while_claiming = lambda: asyncio.sleep(0)

    async def register_node(self, message, /):
        return replace(self.registered, node=message.hello.node)

    async def take_back(self, message, /):  # noqa: ARG002
        return TakeBackResponse()

    async def find_overdue(self, message, /):
        return FindOverdueResponse(node_ids=message.node_ids if self.overdue else [])

    async def record(self, message, /):  # noqa: ARG002
        return self.recorded

    async def claim(self, message, /):  # noqa: ARG002
        await self.while_claiming()
        return self.claimed


class Executor:
    """One connection."""

    def __init__(self):
        self._up: asyncio.Queue[AttachRequest] = asyncio.Queue()

    def say(self, message):
        self._up.put_nowait(message)

    async def messages(self) -> AsyncIterator[AttachRequest]:
        while True:
            yield await self._up.get()

    async def attend(self, hub):
        capacity = Capacity(slots=1, resources=Resources(cpus=1, memory=1))
        self.say(
            AttachRequest(hello=Hello(node=Node(id="n1", hostname="n1", incarnation=str(uuid4()), capacity=capacity)))
        )
        async for _ in hub.attach(self.messages()):
            pass


@asynccontextmanager
async def attached(hub: Hub) -> AsyncIterator[Executor]:
    executor = Executor()
    heard = asyncio.Event()
    hub.room_freed = heard.set
    task = asyncio.create_task(executor.attend(hub))
    await heard.wait()
    yield executor
    task.cancel()
    await asyncio.wait([task])


def free(hub: Hub) -> int:
    (offer,) = hub.offers()
    return offer.free.slots


async def test_an_attempt_that_runs_without_leave_holds_no_room_once_it_was_told_to_stop():
    ledger = Ledger()
    hub = Hub(ledger, monotonic=lambda: 0.0)
    async with attached(hub) as executor:
        hub.session("n1").assign(assignments([KEY], process()), WEIGHTS, read_at=0.0)
        assert free(hub) == 0
        ledger.recorded = RecordResponse(fenced=pack_keys([KEY]))
        freed = asyncio.Event()
        hub.room_freed = freed.set
        executor.say(AttachRequest(reports=Reports()))
        await freed.wait()
        assert free(hub) == 1


async def test_what_is_asked_back_with_the_welcome_takes_its_room_until_the_node_has_answered():
    ledger = Ledger()
    ledger.registered = RegisterNodeResponse(recalls=[Recall(attempts=pack_keys([KEY]), unstarted_only=True)])
    hub = Hub(ledger, monotonic=lambda: 0.0)
    async with attached(hub) as executor:
        (before,) = hub.offers()
        freed = asyncio.Event()
        hub.room_freed = freed.set
        executor.say(AttachRequest(recalled=pack_keys([KEY])))
        await freed.wait()
        (after,) = hub.offers()
        assert after.free_window == before.free_window + 1


async def test_what_was_claimed_for_an_earlier_connection_is_not_counted_twice():
    """The node's next Hello was answered with it: the database saw the claim first."""
    ledger = Ledger()
    hub = Hub(ledger, monotonic=lambda: 0.0)
    duties = Duties(ledger, hub, keep=timedelta(days=1), monotonic=lambda: 0.0)
    work = NodeAssignments(node_id="n1", assignments=assignments([KEY], process()), weights=WEIGHTS)
    ledger.claimed = ClaimResponse(assignments=[work])
    async with attached(hub):
        await duties.claim()
        assert free(hub) == 0
        others = []

        async def attach_anew():
            others.append(attached(hub))
            await others[0].__aenter__()

        ledger.while_claiming = attach_anew
        hub.session("n1").release(pack_keys([KEY]))
        await duties.claim()
        assert free(hub) == 1
        await others[0].__aexit__(None, None, None)


async def test_a_node_that_says_nothing_of_what_it_should_have_started_is_asked_anew_now_and_then():
    ledger, now = Ledger(), 0.0
    hub = Hub(ledger, monotonic=lambda: now)
    duties = Duties(ledger, hub, keep=timedelta(days=1), monotonic=lambda: now)
    async with attached(hub):
        ledger.overdue = True
        await duties.ask_again()
        assert hub.session("n1")  # it may have been sent again with the Hello
        now = ASK_SECONDS + 1
        ledger.overdue = False
        await duties.ask_again()
        assert hub.session("n1")
        ledger.overdue = True
        await duties.ask_again()
        await eventually(lambda: hub.session("n1") is None)
