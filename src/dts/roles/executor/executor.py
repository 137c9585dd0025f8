"""The executor: stays attached to a scheduler, starts what it is given on the instant, and never loses a result."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from dts.domain.columns import pack
from dts.domain.errors import DtsError
from dts.pb.dts.v1 import Assignments, AttemptKeys, Capacity, Hello, Node, Recall
from dts.roles.executor.attachment import Attachment
from dts.roles.executor.attempt import Attempt, Tools
from dts.roles.executor.journal import open_journal
from dts.roles.executor.keys import Key, read_keys, write_keys
from dts.roles.executor.lease import Lease
from dts.roles.executor.outbox import Outbox
from dts.roles.executor.ports import LogPort, NodeSource, SchedulerPort
from dts.roles.executor.recovery import Recovery
from dts.roles.executor.roster import Roster
from dts.roles.executor.shipping import Shipper
from dts.roles.executor.timetable import Monotonic, Timetable
from dts.roles.executor.work import Runner

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
DESCRIBE_SECONDS = 30.0
"""How often the node is looked at anew: an engine may have come or gone."""

GOODBYE_SECONDS = 2.0
"""How long a scheduler may take to hear that we leave."""


class Executor:
    """One per node.

    Args:
        scheduler: where it attaches.
        log_store: where logs go.
        data_dir: keeps the journal; one executor at a time.
        node: describes this machine; its incarnation is one for the life of the process, and a UUID.
        runners: by the name of their kind. `noop` needs none.
        monotonic: seconds that never go back.
        now: the wall clock; only for people and for what must outlive the process.
        rand: from 0 to 1, for jitter.

    Raises:
        FailedPrecondition: another executor uses the directory.
    """

    def __init__(
        self,
        *,
        scheduler: SchedulerPort,
        log_store: LogPort,
        data_dir: Path,
        node: NodeSource,
        runners: Mapping[str, Runner],
        monotonic: Monotonic,
        now: Callable[[], datetime],
        rand: Callable[[], float],
    ) -> None:
        self._scheduler = scheduler
        self._describe = node
        self._now = now
        self._rand = rand
        self._journal = open_journal(data_dir, now)
        self._tools = Tools(
            runners=runners,
            timetable=Timetable(monotonic),
            lease=Lease(),
            outbox=Outbox(),
            journal=self._journal,
            shipper=Shipper(log_store, self._journal, now=now, rand=rand),
            monotonic=monotonic,
            searched={kind: asyncio.Event() for kind in runners},
        )
        self._roster = Roster(self._tools)
        self._node = Node()
        self._link: Attachment | None = None
        self._acknowledged = asyncio.Event()
        self._detached = asyncio.Event()
        self._gone = False

    # -- what others may know

    @property
    def attached(self) -> bool:
        """Whether a scheduler has granted it a lease and the connection stands."""
        return self._link is not None and self._link.welcome is not None

    @property
    def unacknowledged(self) -> int:
        """Results that no scheduler has acknowledged."""
        return len(self._tools.outbox)

    @property
    def attempts(self) -> list[Attempt]:
        """What it holds, without noops."""
        return list(self._roster)

    async def describe(self) -> Node:
        """The node as it is now."""
        return replace(await self._describe(), used=self._roster.used(), running=len(self._roster))

    # -- its life

    async def run(self) -> None:
        """Goes on with what an earlier process left, then attaches again and again until cancelled.

        Cancelled, it leaves alone what has started: the next process on the same directory goes on with it.
        """
        recovery = Recovery(self._tools, self._roster, now=self._now, rand=self._rand)
        try:
            async with asyncio.TaskGroup() as group:
                recovery.start(group)
                group.create_task(self._tools.shipper.run(), name="logs")
                group.create_task(self._stay_attached(), name="attach")
                group.create_task(self._look_around(), name="node")
        finally:
            await self._roster.close()
            self._tools.timetable.close()
            await self._journal.close()

    async def drain(self, seconds: float) -> bool:
        """Takes nothing more, gives back what has not started, and waits for the rest and its acknowledgement.

        Returns:
            Whether all was done in time. What still runs goes on; see `run`.
        """
        self._roster.leave()
        self._say_leaving()
        try:
            async with asyncio.timeout(seconds):
                await self._roster.idle()
                await self._all_acknowledged()
        except TimeoutError:
            return False
        finally:
            await self._say_goodbye()
        return True

    async def _say_goodbye(self) -> None:
        """Ends the lease too, unless something still runs: that is ours until it is over."""
        self._gone = True
        if self._link is None:
            return
        self._link.goodbye(leaving=not self._roster)
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self._detached.wait()

    async def _stay_attached(self) -> None:
        failures = 0
        while not self._gone:
            link = Attachment(self, self._tools.outbox, self._tools.lease, self._tools.monotonic)
            await self._attach(link)
            failures = 0 if link.welcome else failures + 1
            await asyncio.sleep(self._pause(failures))

    async def _attach(self, link: Attachment) -> None:
        outbox, roster = self._tools.outbox, self._roster
        try:
            self._node = self._tools.shipper.node = await self._describe()
            self._link, outbox.ready, roster.give_back = link, link.wake, link.answer_recall
            self._detached.clear()
            await link.run(self._scheduler)
            log.info("the scheduler has ended the connection")
        except DtsError as error:
            log.warning("not attached to a scheduler: %s", error)
        finally:
            self._link, outbox.ready, roster.give_back = None, lambda: None, lambda _: None
            self._detached.set()

    def _pause(self, failures: int) -> float:
        longest: float = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures, 10))
        return longest * (0.5 + self._rand() / 2)

    async def _look_around(self) -> None:
        """Attaches anew when the node can run other kinds than it said."""
        while True:
            await asyncio.sleep(DESCRIBE_SECONDS)
            seen = await self._describe()
            if self._link is not None and _abilities(seen) != _abilities(self._node):
                log.info("what this node can run has changed: %s", ", ".join(seen.kinds))
                self._link.finish()

    def _say_leaving(self) -> None:
        """The first beat tells that we take nothing more; the second keeps the lease for what still runs."""
        if self._link is not None:
            self._link.beat(leaving=True)
            self._link.beat()

    async def _all_acknowledged(self) -> None:
        while self._tools.outbox:
            self._acknowledged.clear()
            await self._acknowledged.wait()

    # -- what the attachment asks and tells

    def hello(self) -> Hello:
        """Who we are and what we hold."""
        held: dict[Key, int] = self._roster.held(self._tools.monotonic())
        return Hello(node=self._node, held=write_keys(held), held_started_ago=pack("q", held.values()))

    def used(self) -> Capacity:
        """What is taken."""
        return self._roster.used()

    def welcomed(self) -> None:
        """Attached: what nobody acknowledged is sent again."""
        log.info("attached to a scheduler")
        self._tools.outbox.send_again()
        if self._roster.leaving:
            self._say_leaving()

    def renewed(self) -> None:
        """The lease lasts longer."""
        self._tools.timetable.at(self._tools.lease.until, self._check_lease)

    def assigned(self, assignments: Assignments) -> None:
        """Takes work."""
        self._roster.assign(assignments)

    def recalled(self, recall: Recall) -> None:
        """Gives back or stops."""
        self._roster.recall(recall)

    def acknowledged(self, keys: AttemptKeys) -> None:
        """Forgets results."""
        self._roster.remember(self._journal.forget(self._tools.outbox.acknowledge(read_keys(keys))))
        self._acknowledged.set()

    def _check_lease(self) -> None:
        if self._tools.lease.holds(self._tools.monotonic()):
            return
        if given_up := self._roster.give_up():
            log.warning("the lease is over: %d attempts that had not started are given up", len(given_up))


def _abilities(node: Node) -> tuple[object, ...]:
    return node.kinds, node.labels, node.engine_labels, node.capacity, node.role
