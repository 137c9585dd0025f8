"""Which node takes a run.

Filters as in SwarmKit's scheduler: each knows whether a node passes and how to say, for people, why nodes did not.
Among the nodes that pass, the least loaded one is chosen.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from dts.domain.constraints import Constraint
from dts.pb.dts.v1 import Node, NodeState


@dataclass(frozen=True, slots=True)
class Need:
    """What a run needs of its node. Processors and bytes."""

    kind: str
    constraints: tuple[Constraint, ...] = ()
    cpus: float = 0.0
    memory: int = 0
    weightless: bool = False


@dataclass(slots=True)
class Room:
    """A node and what is free on it; `take` counts down."""

    node: Node
    slots: int
    cpus: float
    memory: int
    window: int
    taken_slots: int = field(default=0)
    taken_cpus: float = field(default=0.0)
    taken_memory: int = field(default=0)

    def take(self, need: Need) -> None:
        """Reserves what the run needs."""
        if need.weightless:
            self.window -= 1
            return
        self.slots -= 1
        self.cpus -= need.cpus
        self.memory -= need.memory
        self.taken_slots += 1
        self.taken_cpus += need.cpus
        self.taken_memory += need.memory


@dataclass(frozen=True, slots=True)
class Refusal:
    """No node takes the run; `message` counts the reasons."""

    message: str


def choose(need: Need, rooms: list[Room], *, avoid: str = "") -> Room | Refusal:
    """The least loaded node that can take the run; another one than `avoid` where there is any."""
    best: Room | None = None
    for room in rooms:
        if objection(need, room) is None and (best is None or _rank(need, room, avoid) > _rank(need, best, avoid)):
            best = room
    return best if best is not None else Refusal(refusal(need, rooms))


def refusal(need: Need, rooms: list[Room]) -> str:
    """Such as `3 nodes: 2 lack label gpu=true, 1 is draining`."""
    if not rooms:
        return "no node is attached"
    counts = Counter(objection(need, room) or "could take it" for room in rooms)
    total = f"{len(rooms)} node{'s' if len(rooms) > 1 else ''}"
    return f"{total}: " + ", ".join(f"{count} {reason}" for reason, count in counts.most_common())


def objection(need: Need, room: Room) -> str | None:
    """Why a node cannot take a run, as a verb phrase; None if it can."""
    node = room.node
    if node.state is not NodeState.READY:
        return f"is {node.state.name.lower() if node.state.name else 'unknown'}"
    if need.kind not in node.kinds:
        return f"does not run {need.kind} tasks"
    for constraint in need.constraints:
        if not constraint.matches(node):
            return constraint.explain(node)
    return _shortage(need, room)


def _shortage(need: Need, room: Room) -> str | None:
    if need.weightless:
        return None if room.window > 0 else "has its hands full"
    if room.slots < 1:
        return "has no free slot"
    if need.cpus > room.cpus:
        return f"has {max(room.cpus, 0):g} of {need.cpus:g} cpus free"
    if need.memory > room.memory:
        return f"has {max(room.memory, 0) >> 20} of {need.memory >> 20} MiB free"
    return None


def _rank(need: Need, room: Room, avoid: str) -> tuple[bool, float]:
    total = room.node.capacity.slots if room.node.capacity else 0
    load = room.window if need.weightless else room.slots / max(total, 1)
    return room.node.id != avoid, load
