"""A session: one attached executor, what it was given, and what is on its way to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from dts.domain.columns import count_ids, unpack, unpack_keys
from dts.pb.dts.v1 import (
    Assignments,
    AttachResponse,
    AttemptKeys,
    Capacity,
    Heartbeat,
    LeaseRenewed,
    Node,
    NodeLease,
    NodeOffer,
    Recall,
    Resources,
    Targets,
    Weights,
    Welcome,
)

LEASE = timedelta(seconds=10)
"""How long a node is believed after its last heartbeat."""

HEARTBEAT = LEASE / 4
"""How often an executor says that it is alive: two lost ones must not cost the lease."""

WINDOW = 20_000
"""How many attempts without weight a node may hold; bounds its memory and the queue towards it."""

Key = tuple[UUID, int]


@dataclass(frozen=True, slots=True)
class Weight:
    """What an attempt takes from its node. Thousandths of a processor, and bytes."""

    cpus_milli: int
    memory: int


class Session:
    """One attached executor. Only the replica that it is attached to gives it work, so its room is counted here."""

    def __init__(self, node: Node, monotonic: Callable[[], float]) -> None:
        self.node = node
        self.draining = False
        self.leaving = False
        self._monotonic = monotonic
        self._outgoing: asyncio.Queue[AttachResponse | _Work | None] = asyncio.Queue()
        self._weights: dict[Key, Weight] = {}
        self._weightless = 0
        self._heartbeat: Heartbeat | None = None
        self._targets: Targets | None = None
        self.began_at = self.heard_at = monotonic()

    # -- towards the executor

    def welcome(self, now: datetime | None) -> None:
        """Says that the lease is granted. now: by the database's clock."""
        self._outgoing.put_nowait(AttachResponse(welcome=Welcome(lease=LEASE, heartbeat=HEARTBEAT, now=now)))

    def assign(self, assignments: Assignments, weights: Weights | None, *, read_at: float) -> None:
        """Hands over attempts. read_at: monotonic time by which the database's clock had been read."""
        taken = _weights(weights)
        self._weights.update(taken)
        self._weightless += count_ids(assignments.run_ids) - len(taken)
        self._outgoing.put_nowait(_Work(assignments, read_at))

    def adopt(self, weights: Weights | None, held: int) -> None:
        """Counts what the executor holds already: `held` attempts, of which those with weight are listed."""
        taken = _weights(weights)
        self._weights.update(taken)
        self._weightless += max(0, held - len(taken))

    def send_again(self, assignments: Assignments, *, read_at: float) -> None:
        """Hands over attempts that never reached the executor; they are counted already."""
        self._outgoing.put_nowait(_Work(assignments, read_at))

    def settle(self, keys: AttemptKeys) -> None:
        """These attempts are over: their room is free again, and the executor may forget them."""
        settled = unpack_keys(keys)
        if not settled:
            return
        heavy = sum(self._weights.pop(key, None) is not None for key in settled) if self._weights else 0
        self._weightless = max(0, self._weightless - (len(settled) - heavy))
        self._outgoing.put_nowait(AttachResponse(acknowledged=keys))

    def release(self, keys: AttemptKeys) -> None:
        """These attempts were given back."""
        for key in unpack_keys(keys):
            if self._weights.pop(key, None) is None:
                self._weightless = max(0, self._weightless - 1)

    def recall(self, recall: Recall) -> None:
        """Asks the executor to stop or give back attempts."""
        self._outgoing.put_nowait(AttachResponse(recall=recall))

    def renewed(self, lease: NodeLease, sequence: int, now: datetime | None) -> None:
        """Says that the lease was renewed at `now` of the database; what was stored with it is not stored again."""
        if self._targets is lease.targets:
            self._targets = None
        self._outgoing.put_nowait(AttachResponse(lease=LeaseRenewed(sequence=sequence, now=now)))

    def close(self) -> None:
        """Ends the stream after what is on its way."""
        self._outgoing.put_nowait(None)

    async def next_response(self) -> AttachResponse | None:
        """The next message for the executor; None when the session is closed."""
        item = await self._outgoing.get()
        if isinstance(item, _Work):
            age = round((self._monotonic() - item.read_at) * 1_000_000)
            return AttachResponse(assignments=replace(item.assignments, age=age))
        return item

    # -- from the executor

    def heard(self, heartbeat: Heartbeat) -> None:
        """Keeps a heartbeat until the lease is renewed with it."""
        self._heartbeat = heartbeat
        if heartbeat.targets is not None:  # that there are none is news, too: a message of no content is false
            self._targets = heartbeat.targets
        self.leaving = self.leaving or heartbeat.leaving
        self.heard_at = self._monotonic()

    def take_heartbeat(self) -> tuple[NodeLease, int] | None:
        """The renewal that the last heartbeat asks for, and its sequence; once."""
        heartbeat, self._heartbeat = self._heartbeat, None
        if heartbeat is None:
            return None
        lease = NodeLease(
            node_id=self.node.id,
            incarnation=self.node.incarnation,
            used=heartbeat.used or Capacity(),
            leaving=self.leaving,
            targets=self._targets,
        )
        return lease, heartbeat.sequence

    # -- what is free

    def offer(self) -> NodeOffer | None:
        """What the node could take now, which may be nothing; None if it is to take nothing at all."""
        if self.draining or self.leaving:
            return None
        capacity = self.node.capacity or Capacity()
        total = capacity.resources or Resources()
        free = Capacity(
            slots=max(0, capacity.slots - len(self._weights)),
            resources=Resources(
                cpus=total.cpus - sum(weight.cpus_milli for weight in self._weights.values()) / 1000,
                memory=total.memory - sum(weight.memory for weight in self._weights.values()),
            ),
        )
        window = max(0, WINDOW - self._weightless)
        return NodeOffer(node_id=self.node.id, incarnation=self.node.incarnation, free=free, free_window=window)


@dataclass(frozen=True, slots=True)
class _Work:
    assignments: Assignments
    read_at: float


def _weights(weights: Weights | None) -> dict[Key, Weight]:
    keys = unpack_keys(weights.attempts) if weights else []
    if weights is None or not keys:
        return {}
    cpus = unpack("i", weights.cpus_milli, rows=len(keys), field="weights.cpus_milli")
    memory = unpack("q", weights.memory, rows=len(keys), field="weights.memory")
    return {key: Weight(cpu, byte) for key, cpu, byte in zip(keys, cpus, memory, strict=True)}
