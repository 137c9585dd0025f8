"""The executor: stays attached to a scheduler, starts what it is given on the instant, and never loses a result."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from dts.domain.columns import pack
from dts.domain.errors import DtsError
from dts.pb.dts.v1 import Assignments, AttemptKeys, Capacity, Hello, Node, Recall
from dts.roles.executor.assigned import AssignmentReader
from dts.roles.executor.attachment import Attachment
from dts.roles.executor.keys import Key, read_keys, write_keys
from dts.roles.executor.lease import Lease
from dts.roles.executor.noop import Noops
from dts.roles.executor.outbox import Outbox
from dts.roles.executor.ports import LogPort, NodeSource, SchedulerPort
from dts.roles.executor.timetable import Monotonic, Timetable
from dts.roles.executor.work import Runner

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0


class Executor:
    """One per node.

    Args:
        scheduler: where it attaches.
        log_store: where logs go.
        data_dir: keeps the journal.
        node: describes this machine.
        runners: by the name of their kind.
        monotonic: seconds that never go back.
        now: the wall clock; only for people and for what must outlive the process.
        rand: from 0 to 1, for jitter.
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
        self._monotonic = monotonic
        self._rand = rand
        self._lease = Lease()
        self._outbox = Outbox()
        self._timetable = Timetable(monotonic)
        self._reader = AssignmentReader()
        self._noops = Noops(self._timetable, self._outbox, self._lease, monotonic)
        self._node = Node()
        self._link: Attachment | None = None

    async def run(self) -> None:
        """Attaches, again and again, until cancelled."""
        failures = 0
        while True:
            link = Attachment(self, self._outbox, self._lease, self._monotonic)
            await self._attach(link)
            failures = 0 if link.welcome else failures + 1
            await asyncio.sleep(self._pause(failures))

    async def _attach(self, link: Attachment) -> None:
        try:
            self._node = await self._describe()
            self._link, self._outbox.ready = link, link.wake
            await link.run(self._scheduler)
        except DtsError as error:
            log.warning("not attached: %s", error)
        finally:
            self._link, self._outbox.ready = None, lambda: None

    def _pause(self, failures: int) -> float:
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failures, 10))
        return longest * (0.5 + self._rand() / 2)

    # -- what the attachment asks and tells

    def hello(self) -> Hello:
        """Who we are and what we hold."""
        held: list[Key] = list(self._noops)
        ago = [-1] * len(held)
        return Hello(node=self._node, held=write_keys(held), held_started_ago=pack("q", ago))

    def used(self) -> Capacity:
        """What is taken."""
        return Capacity()

    def welcomed(self) -> None:
        """Attached: what nobody acknowledged is sent again."""
        self._outbox.send_again()

    def assigned(self, assignments: Assignments) -> None:
        """Takes work."""
        batch = self._reader.read(assignments, received_at=self._monotonic())
        for (due, start_by), keys in batch.noops.items():
            self._noops.add(keys, due=due, start_by=start_by)

    def recalled(self, recall: Recall) -> None:
        """Gives back or stops."""

    def acknowledged(self, keys: AttemptKeys) -> None:
        """Forgets results."""
        self._outbox.acknowledge(read_keys(keys))
