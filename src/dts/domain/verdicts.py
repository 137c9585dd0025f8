"""What a claim looks at and what it can decide, as values."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from dts.domain.placement import Crowd, Fleet, Need, Room
from dts.domain.policies import Effective
from dts.pb.dts.v1 import Node, Overlap, Reason, RunState

Place = tuple[UUID, str]
"""A task, and the node whose runs of it share places; no node where all share them."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pending run that a claim has locked.

    overlap: the policy that applies, a request's own included.
    locked: nobody else decides on the runs of its task (and group) at this moment.
    last_node: where its previous attempt ran; another one is preferred.
    meant_for: the node that an earlier claim left it to.
    pinned: the node that alone may have it; empty: any. Places are places on that node.
    elder_claim_at: when an elder run of its place that is pending too can be claimed; None if there is none.
    """

    run_id: UUID
    task_id: UUID
    not_before: datetime
    start_by: datetime
    overlap: Overlap
    policies: Effective
    need: Need
    slot: int | None = None
    group_slot: int | None = None
    serial: bool = False
    locked: bool = True
    from_backfill: bool = False
    last_node: str = ""
    meant_for: str | None = None
    pinned: str = ""
    elder_claim_at: datetime | None = None

    @property
    def place(self) -> Place:
        """Whose places it needs one of."""
        return self.task_id, self.pinned

    @property
    def places(self) -> float:
        """How many there are."""
        return math.inf if self.overlap is Overlap.ALLOW else self.policies.max_parallel

    @property
    def waits_in_line(self) -> bool:
        """Whether it takes its turn among the runs of its task; one that is tried again holds its place already."""
        return self.serial and self.slot is None


@dataclass(frozen=True, slots=True)
class Holder:
    """A live run that holds a place of its task."""

    run_id: UUID
    slot: int
    state: RunState
    recalled: bool


@dataclass(slots=True)
class Queue:
    """The runs of a task that wait for their turn; `newest` is the last that came."""

    length: int = 0
    newest: UUID | None = None


@dataclass(frozen=True, slots=True)
class Assign:
    """Give it to a node, in these places."""

    candidate: Candidate
    node_id: str
    slot: int | None
    group_slot: int | None


@dataclass(frozen=True, slots=True)
class Defer:
    """Look again at `claim_at`; None: when its turn comes."""

    run_id: UUID
    claim_at: datetime | None
    message: str
    blocked_by: UUID | None = None


@dataclass(frozen=True, slots=True)
class Leave:
    """Leave it to the replica that has this node."""

    run_id: UUID
    node_id: str


@dataclass(frozen=True, slots=True)
class FanOut:
    """Every one of these nodes has a run of its own."""

    run_id: UUID
    nodes: list[Node]


@dataclass(frozen=True, slots=True)
class End:
    """It is over without having started."""

    run_id: UUID
    state: RunState
    reason: Reason
    message: str
    blocked_by: UUID | None = None


@dataclass(frozen=True, slots=True)
class MakeRoom:
    """Stop a live run, because a later one takes its place."""

    run_id: UUID
    kill: bool


@dataclass(slots=True)
class Verdicts:
    """All that a claim decided."""

    assign: list[Assign] = field(default_factory=list)
    defer: list[Defer] = field(default_factory=list)
    leave: list[Leave] = field(default_factory=list)
    fan_out: list[FanOut] = field(default_factory=list)
    end: list[End] = field(default_factory=list)
    make_room: list[MakeRoom] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Situation:
    """What stands around the candidates; updated as verdicts are reached.

    lead: runs that start within this time are claimed ahead.
    here, elsewhere: the nodes of the rooms, and those that other replicas have.
    live: how many live runs tasks that are to be spread have, by task and node.
    elders: when runs that this claim puts off can be claimed again, by place.
    """

    now: datetime
    lead: timedelta
    rooms: list[Room]
    holders: dict[Place, list[Holder]]
    queues: dict[Place, Queue]
    groups: dict[str, set[int]]
    here: Fleet = field(default_factory=lambda: Fleet([]))
    elsewhere: Fleet = field(default_factory=lambda: Fleet([]))
    live: dict[UUID, dict[str, int]] = field(default_factory=dict)
    elders: dict[Place, datetime] = field(default_factory=dict)

    @property
    def at_hand(self) -> datetime:
        """What can be claimed up to here is claimed now, ahead of its instant."""
        return self.now + self.lead

    def elder_at(self, candidate: Candidate) -> datetime | None:
        """When an elder run of its place can be claimed: one that this claim passed over, or another; None without."""
        return self.elders.get(candidate.place, candidate.elder_claim_at)

    def crowd(self, task_id: UUID) -> Crowd:
        """Where the live runs of a task are."""
        return Crowd([*self.here.nodes, *self.elsewhere.nodes], self.live.get(task_id, {}))
