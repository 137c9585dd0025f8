"""The executor: stays attached to a scheduler, starts what it is given on the instant, and never loses a result."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from uuid import UUID, uuid5

from dts.domain.columns import pack
from dts.domain.errors import DtsError
from dts.pb.dts.v1 import Assignments, AttemptKeys, Capacity, Hello, Node, Recall, SwarmNodes, Targets
from dts.roles.executor.attachment import Attachment
from dts.roles.executor.attempt import Attempt, Tools, Traced
from dts.roles.executor.distant_clock import DistantClock, SkewWatch
from dts.roles.executor.journal import open_journal
from dts.roles.executor.keys import Key, read_keys, write_keys
from dts.roles.executor.lease import Lease
from dts.roles.executor.outbox import Outbox
from dts.roles.executor.ports import LogPort, NodeSource, SchedulerPort
from dts.roles.executor.recovery import Recovery
from dts.roles.executor.rivals import RivalWatch
from dts.roles.executor.roster import Roster
from dts.roles.executor.shipping import Shipper
from dts.roles.executor.timetable import Monotonic, Started, Timetable
from dts.roles.executor.work import Runner

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
DESCRIBE_SECONDS = 5.0
"""How often the node is looked at anew: an engine may have come, gone, or hang. What it does not say in five seconds
counts as missing, so that within ten seconds nothing new is sent that would need it."""

GOODBYE_SECONDS = 2.0
"""How long a scheduler may take to hear that we leave."""


class Executor:
    """One per node.

    Args:
        scheduler: where it attaches.
        log_store: where logs go.
        data_dir: keeps the journal; one executor at a time.
        node: describes this machine; its incarnation is a UUID, new for each process. Each connection derives its own.
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
            clock=DistantClock(),
            outbox=Outbox(),
            journal=self._journal,
            shipper=Shipper(log_store, self._journal, now=now, rand=rand),
            monotonic=monotonic,
            searched={kind: asyncio.Event() for kind in runners},
        )
        self._skew = SkewWatch()
        self._rivals = RivalWatch()
        self._roster = Roster(self._tools)
        self._node = Node()
        self._process = ""
        self._targets: Targets | None = None
        self._attachments = 0
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

    @property
    def held(self) -> int:
        """How many attempts are not over, noops included."""
        return len(self._roster)

    @property
    def slots(self) -> int:
        """How many slots the node last said that it has."""
        return self._node.capacity.slots if self._node.capacity is not None else 0

    def on_start(self, started: Started) -> None:
        """Who is told of every start, and how late it was."""
        self._tools.timetable.started = started

    def trace(self, traced: Traced) -> None:
        """Makes spans of attempts from here on, no-ops left out."""
        self._tools.traced = traced

    async def describe(self) -> Node:
        """The node as it is now."""
        return replace(await self._describe(), used=self._roster.used(), running=len(self._roster))

    def tell_swarm(self, nodes: SwarmNodes) -> bool:
        """Passes on what the managers of the Swarm say of its nodes; whether a scheduler hears it."""
        if self._link is None or self._link.welcome is None:
            return False
        self._link.tell_swarm(nodes)
        return True

    def tell_targets(self, targets: Targets) -> None:
        """Passes on where commands can run here."""
        self._targets = targets
        if self._link is not None and self._link.welcome is not None:
            self._link.beat()

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
        if self._link is not None:
            self._link.leave()
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
        """The lease ends with it, unless something still runs: that is ours until the lease is over."""
        self._gone = True
        if self._link is None:
            return
        self._link.beat()
        self._link.finish()
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self._detached.wait()

    async def _stay_attached(self) -> None:
        failures = 0
        while not self._gone:
            link = Attachment(self, self._tools.outbox, self._tools.lease, self._tools.clock, self._tools.monotonic)
            begun = self._tools.monotonic()
            await self._attach(link)
            if link.welcome:
                self._rivals.ended(self._node, seconds=self._tools.monotonic() - begun)
            failures = 0 if link.welcome else failures + 1
            await asyncio.sleep(self._pause(failures))

    async def _attach(self, link: Attachment) -> None:
        outbox, roster = self._tools.outbox, self._roster
        try:
            self._node = self._anew(await self._describe())
            self._tools.shipper.send_as(self._node)
            self._link, outbox.ready, roster.give_back = link, link.wake, link.answer_recall
            self._detached.clear()
            await link.run(self._scheduler)
            log.info("the scheduler has ended the connection")
        except DtsError as error:
            log.warning("not attached to a scheduler: %s", error)
        finally:
            self._link, outbox.ready, roster.give_back = None, lambda: None, lambda _: None
            self._detached.set()

    def _anew(self, node: Node) -> Node:
        """With an incarnation for this connection: what a scheduler decides for an earlier one is void."""
        self._attachments += 1
        self._process = node.incarnation
        return replace(node, incarnation=str(uuid5(UUID(node.incarnation), str(self._attachments))))

    def _pause(self, failures: int) -> float:
        longest: float = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures, 10))
        return longest * (0.5 + self._rand() / 2)

    async def _look_around(self) -> None:
        """Attaches anew when the node can run other kinds than it said; looks at once when an attempt noticed it."""
        unable = self._roster.unable
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(DESCRIBE_SECONDS):
                    await unable.wait()
            unable.clear()
            seen = await self._describe()
            if self._link is not None and _abilities(seen) != _abilities(self._node):
                log.info("what this node can run has changed: %s", ", ".join(seen.kinds))
                self._link.finish()

    async def _all_acknowledged(self) -> None:
        while self._tools.outbox:
            self._acknowledged.clear()
            await self._acknowledged.wait()

    # -- what the attachment asks and tells

    def hello(self) -> Hello:
        """Who we are and what we hold."""
        self._keep_to_lease()  # also for what came after the lease was over
        now = self._tools.monotonic()
        held: dict[Key, int] = self._roster.held(now)
        return Hello(
            node=self._node,
            held=write_keys(held),
            held_started_ago=pack("q", held.values()),
            process=self._process,
            connection=self._attachments,
            sent_at=self._tools.clock.at(now),
        )

    def used(self) -> Capacity:
        """What is taken."""
        return self._roster.used()

    def targets(self) -> Targets | None:
        """Where commands can run here."""
        return self._targets

    def welcomed(self) -> None:
        """Attached: what nobody acknowledged is sent again."""
        log.info("attached to a scheduler")
        self._tools.outbox.send_again()
        if self._targets is not None and self._link is not None:
            self._link.beat()
        if self._roster.leaving and self._link is not None:
            self._link.leave()

    def renewed(self) -> None:
        """The lease lasts longer."""
        clock = self._tools.clock
        self._skew.look(self._now(), clock.at(self._tools.monotonic()), error=clock.error)
        self._tools.timetable.at(self._tools.lease.until, self._watch_lease)

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

    def _watch_lease(self) -> None:
        """A renewal that is late would make it good again; but for what was given up the scheduler would wait in vain,
        so this connection ends, and the next one begins with what is held.
        """
        if not self._keep_to_lease() and self._link is not None and self._link.welcome is not None:
            self._link.finish()

    def _keep_to_lease(self) -> bool:
        """Whether it lasts; if not, nothing is held that has not started."""
        if self._tools.lease.holds(self._tools.monotonic()):
            return True
        if given_up := self._roster.give_up():
            log.warning("the lease is over: %d attempts that had not started are given up", len(given_up))
        return False


def _abilities(node: Node) -> tuple[object, ...]:
    return node.kinds, node.labels, node.engine_labels, node.capacity, node.role
