"""One attachment to a scheduler: what goes up, in which order, and who is told what comes down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Protocol

from dts.domain.errors import Unavailable
from dts.pb.dts.v1 import (
    Assignments,
    AttachRequest,
    AttachResponse,
    AttemptKeys,
    Capacity,
    Heartbeat,
    Hello,
    Recall,
    SwarmNodes,
    Targets,
    Welcome,
)
from dts.roles.executor.distant_clock import DistantClock
from dts.roles.executor.keys import Key, write_keys
from dts.roles.executor.lease import Lease
from dts.roles.executor.outbox import Outbox
from dts.roles.executor.ports import SchedulerPort
from dts.roles.executor.timetable import Monotonic

WELCOME_SECONDS = 10.0
"""How long a scheduler may take to answer a Hello."""


class Orders(Protocol):
    """Who does what the scheduler says."""

    def hello(self) -> Hello:
        """Who we are and what we hold, now."""
        ...

    def used(self) -> Capacity:
        """What is taken."""
        ...

    def targets(self) -> Targets | None:
        """Where commands can run here; the same object as long as it has not changed."""
        ...

    def welcomed(self) -> None:
        """The lease is granted."""
        ...

    def renewed(self) -> None:
        """The lease lasts longer."""
        ...

    def assigned(self, assignments: Assignments) -> None:
        """To prepare and start."""
        ...

    def recalled(self, recall: Recall) -> None:
        """To stop."""
        ...

    def acknowledged(self, keys: AttemptKeys) -> None:
        """To forget."""
        ...


@dataclass(slots=True)
class _Pending:
    """What is to be said besides reports."""

    hello: bool = True
    recalled: dict[Key, None] = field(default_factory=dict)
    swarm: SwarmNodes | None = None
    beat: bool = False


class Attachment(AsyncIterator[AttachRequest]):
    """One connection, from Hello to its end. It is its own source of messages, so that whatever gathered while the
    connection was busy goes out as one batch.
    """

    def __init__(self, orders: Orders, outbox: Outbox, lease: Lease, clock: DistantClock, monotonic: Monotonic) -> None:
        self.welcome: Welcome | None = None
        self._orders = orders
        self._outbox = outbox
        self._lease = lease
        self._clock = clock
        self._monotonic = monotonic
        self._pending = _Pending()
        self._wake = asyncio.Event()
        self._ending = False
        self._leaving = False
        self._asked_at = 0.0
        self._every = 0.0
        self._targets: Targets | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, scheduler: SchedulerPort) -> None:
        """Attaches and serves the connection until it ends.

        Raises:
            Unavailable: the scheduler did not answer, or stopped renewing the lease.
            DtsError: it refused us, or cannot be reached.
        """
        async with AsyncExitStack() as stack:
            responses = scheduler.attach(self)
            if (close := getattr(responses, "aclose", None)) is not None:
                stack.push_async_callback(close)
            try:
                async with asyncio.timeout(WELCOME_SECONDS) as patience:
                    await self._receive(responses, patience)
            except TimeoutError:
                raise Unavailable("the scheduler fell silent") from None
            finally:
                self.finish()
                if self._timer is not None:
                    self._timer.cancel()

    # -- what goes up

    def wake(self) -> None:
        """There is something to send."""
        self._wake.set()

    def answer_recall(self, keys: Iterable[Key]) -> None:
        """These had not started and never will."""
        self._pending.recalled.update(dict.fromkeys(keys))
        self._wake.set()

    def tell_swarm(self, nodes: SwarmNodes) -> None:
        """What the managers of the Swarm say of its nodes."""
        self._pending.swarm = nodes
        self._wake.set()

    def beat(self) -> None:
        """A heartbeat."""
        self._pending.beat = True
        self._wake.set()

    def leave(self) -> None:
        """Says at once, and with every heartbeat from now on, that the node takes nothing more."""
        self._leaving = True
        self.beat()

    def finish(self) -> None:
        """Ends the connection once everything is sent."""
        self._ending = True
        self._wake.set()

    async def __anext__(self) -> AttachRequest:
        """The next message; waits for one."""
        while (message := self._next()) is None:
            if self._ending:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        return message

    def _next(self) -> AttachRequest | None:
        pending = self._pending
        now = self._monotonic()
        if pending.hello:
            pending.hello = False
            self._asked_at = now
            return AttachRequest(hello=self._orders.hello())
        if self.welcome is None:
            return None
        if pending.recalled:
            keys, pending.recalled = pending.recalled, {}
            return AttachRequest(recalled=write_keys(keys))
        if pending.beat:
            pending.beat = False
            return AttachRequest(heartbeat=self._heartbeat(now))
        if pending.swarm is not None:
            nodes, pending.swarm = pending.swarm, None
            return AttachRequest(swarm=nodes)
        reports = self._outbox.take(now, self._clock.at(now))
        return None if reports is None else AttachRequest(reports=reports)

    def _heartbeat(self, now: float) -> Heartbeat:
        targets = self._orders.targets()
        news, self._targets = (targets if targets is not self._targets else None), targets
        return Heartbeat(sequence=self._lease.ask(now), used=self._orders.used(), leaving=self._leaving, targets=news)

    # -- what comes down

    async def _receive(self, responses: AsyncIterator[AttachResponse], patience: asyncio.Timeout) -> None:
        clock = asyncio.get_running_loop().time
        async for response in responses:
            if response.welcome is not None or response.lease is not None:
                self._renew(response)
                patience.reschedule(clock() + max(self._lease.length, 0.1))
            else:
                self._obey(response)

    def _renew(self, response: AttachResponse) -> None:
        if response.lease is not None:
            asked_at = self._lease.renewed(response.lease.sequence)
            if asked_at is not None:
                self._clock.heard(response.lease.now, asked_at=asked_at, heard_at=self._monotonic())
        elif response.welcome is not None and response.welcome.lease is not None:
            self.welcome = response.welcome
            self._lease.granted(response.welcome.lease, self._asked_at)
            self._clock.heard(response.welcome.now, asked_at=self._asked_at, heard_at=self._monotonic())
            self._orders.welcomed()
            self._every = (response.welcome.heartbeat or response.welcome.lease / 4).total_seconds()
            self._beat_later()
            self._wake.set()
        self._orders.renewed()

    def _beat_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._every, self._beat_on)

    def _beat_on(self) -> None:
        self.beat()
        self._beat_later()

    def _obey(self, response: AttachResponse) -> None:
        if response.assignments is not None:
            self._orders.assigned(response.assignments)
        elif response.acknowledged is not None:
            self._orders.acknowledged(response.acknowledged)
        elif response.recall is not None:
            self._orders.recalled(response.recall)
