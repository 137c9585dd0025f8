"""Which node takes a run.

Filters as in SwarmKit's scheduler: each knows whether a node passes and how to say, for people, why nodes did not.
Among the nodes that pass comes first what the task prefers, then what spreads its runs, then the least loaded one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from dts.domain.constraints import Constraint, Preference, value_of
from dts.pb.dts.v1 import Capacity, Node, NodeState, Resources


@dataclass(frozen=True, slots=True)
class Need:
    """What a run needs of its node, and what it would like. Processors and bytes.

    prefer: adds up; a node that meets more of it comes first.
    every: each node that could have it has a run of its own.
    target: what the node must have for a command to run in it; see `kinds.target_of`.
    spread: attributes of nodes over whose values the live runs of the task are spread, the most important first.
    """

    kind: str
    constraints: tuple[Constraint, ...] = ()
    prefer: tuple[Preference, ...] = ()
    spread: tuple[str, ...] = ()
    cpus: float = 0.0
    memory: int = 0
    weightless: bool = False
    target: str = ""
    every: bool = False


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

    def leave(self, need: Need) -> None:
        """Gives back what `take` reserved."""
        if need.weightless:
            self.window += 1
            return
        self.slots += 1
        self.cpus += need.cpus
        self.memory += need.memory
        self.taken_slots -= 1
        self.taken_cpus -= need.cpus
        self.taken_memory -= need.memory


class Fleet:
    """Nodes that are attached to the same replica, or to others; remembers which of them fit."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes
        self._fit: dict[tuple[str, tuple[Constraint, ...], str], list[str]] = {}

    def named(self, ids: Sequence[str]) -> list[Node]:
        """Those with these ids."""
        wanted = set(ids)
        return [node for node in self.nodes if node.id in wanted]

    def fit(self, need: Need) -> list[str]:
        """The ids of those that can take such runs if they have room."""
        key = (need.kind, need.constraints, need.target)
        known = self._fit.get(key)
        if known is None:
            known = [node.id for node in self.nodes if mismatch(need, node) is None]
            self._fit[key] = known
        return known


@dataclass(frozen=True, slots=True)
class Refusal:
    """No node takes the run; `message` counts the reasons."""

    message: str


COULD = "could take it"

Merit = tuple[int, tuple[int, ...]]
"""How much a task would like a node; the greater the better."""


INDIFFERENT: Merit = (0, ())
"""The merit of every node where a task does not care."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """Where the live runs of a task are.

    nodes: all that are known. runs: how many there are on each, by its id.
    """

    nodes: Sequence[Node] = ()
    runs: Mapping[str, int] = field(default_factory=dict)

    def merit(self, need: Need, node: Node) -> Merit:
        """What the node is worth to the task, whatever its load."""
        if not (need.prefer or need.spread):
            return INDIFFERENT
        liked = sum(preference.weight for preference in need.prefer if preference.constraint.matches(node))
        return liked, tuple(-self._beside(key, node) for key in need.spread)

    def _beside(self, key: str, node: Node) -> int:
        """Runs on nodes that have the same value as this one."""
        value = value_of(key, node)
        alike = (other.id for other in self.nodes if value_of(key, other) == value)
        return sum(self.runs.get(other, 0) for other in alike)


NOBODY = Crowd()


def choose(
    need: Need, rooms: list[Room], *, avoid: str = "", turn: int = 0, crowd: Crowd = NOBODY, others: Sequence[Node] = ()
) -> Room | Refusal:
    """The node that shall have a run; another one than `avoid` where there is any.

    Args:
        need: of the run.
        rooms: nodes that could have it.
        avoid: the id of the node where its last attempt was.
        turn: any number, such as a run's id: of nodes that are equally good each has its turn.
        crowd: the live runs of the task, where it is to be spread.
        others: nodes that others decide about, for the words of a refusal.
    """
    best: Room | None = None
    rank: tuple[bool, Merit, float] | None = None
    first = turn % len(rooms) if rooms else 0
    for index in range(first, first + len(rooms)):
        room = rooms[index % len(rooms)]
        if objection(need, room) is not None:
            continue
        its_rank = (room.node.id != avoid, crowd.merit(need, room.node), _load(need, room))
        if rank is None or its_rank > rank:
            best, rank = room, its_rank
    return best if best is not None else Refusal(refusal(need, rooms, others))


def refusal(need: Need, rooms: list[Room], others: Sequence[Node] = ()) -> str:
    """Such as `3 nodes: 2 lack label gpu=true, 1 is draining`."""
    reasons = [objection(need, room) or COULD for room in rooms]
    return summary(reasons + [mismatch(need, node) or "has no room" for node in others])


def summary(reasons: Sequence[str]) -> str:
    """Counts what nodes say: `3 nodes: 2 lack label gpu=true, 1 is draining`."""
    if not reasons:
        return "no node is attached"
    total = f"{len(reasons)} node{'s' if len(reasons) > 1 else ''}"
    counted = (f"{count} {_plural(reason, count)}" for reason, count in Counter(reasons).most_common())
    return f"{total}: " + ", ".join(counted)


def standing(need: Need, nodes: Sequence[Node]) -> list[tuple[Node, str]]:
    """What each node says to a run that waits, for people; `could take it` where nothing is in the way."""
    return [(node, objection(need, _room_of(node)) or COULD) for node in nodes]


def nowhere(need: Need, nodes: Sequence[Node]) -> str:
    """Why none of the nodes that take work could have such a run, idle as they may be; empty if one could.

    Empty, too, where no node takes work just now: there is nothing to say of what they will be.
    """
    ready = [node for node in nodes if node.state is NodeState.READY]
    reasons = [objection(need, idle(node)) for node in ready]
    return "" if None in reasons or not reasons else summary([reason for reason in reasons if reason])


def would_take(need: Need, node: Node) -> bool:
    """Whether a node that drains could have such a run if it took work again."""
    return node.state is NodeState.DRAINING and objection(need, idle(replace(node, state=NodeState.READY))) is None


def in_full(need: Need, node: Node, reason: str) -> str:
    """What a node says, with why it does not run a kind: the whole of it is for people and is not counted."""
    why = node.missing_kinds.get(need.kind)
    return f"{reason}: {why}" if why and reason == _lacks(need.kind) else reason


def _lacks(kind: str) -> str:
    return f"does not run {kind} tasks"


def idle(node: Node) -> Room:
    """What a node has when it has nothing to do."""
    capacity = node.capacity or Capacity()
    most = capacity.resources or Resources()
    return Room(node, capacity.slots, most.cpus, most.memory, window=1)


def _room_of(node: Node) -> Room:
    """What is free on a node by what it last told."""
    capacity, used = node.capacity or Capacity(), node.used or Capacity()
    most, taken = capacity.resources or Resources(), used.resources or Resources()
    return Room(node, capacity.slots - used.slots, most.cpus - taken.cpus, most.memory - taken.memory, window=1)


def _plural(reason: str, count: int) -> str:
    verb, _, rest = reason.partition(" ")
    return f"{_MANY.get(verb, verb)} {rest}" if count > 1 else reason


_MANY = {"is": "are", "has": "have", "lacks": "lack", "does": "do", "could": "could"}


def objection(need: Need, room: Room) -> str | None:
    """Why a node cannot take a run, as a verb phrase; None if it can."""
    return mismatch(need, room.node) or _shortage(need, room)


def mismatch(need: Need, node: Node) -> str | None:
    """Why a node cannot take such runs however idle it is, as a verb phrase; None if it can."""
    if node.state is not NodeState.READY:
        return _STANDS.get(node.state, "is not known")
    if need.kind not in node.kinds:
        return _lacks(need.kind)
    for constraint in need.constraints:
        if not constraint.matches(node):
            return constraint.explain(node)
    if need.target and need.target not in node.targets:
        what, _, name = need.target.partition("/")
        return f"has no {name} that runs" if what == "container" else f"has no container of the service {name}"
    return None


_STANDS = {
    NodeState.DRAINING: "is draining",
    NodeState.UNKNOWN: "is silent",
    NodeState.DOWN: "is down",
    NodeState.NO_EXECUTOR: "has no executor",
}


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


def _load(need: Need, room: Room) -> float:
    # Not by its truth, which betterproto2 finds by looking at every field: this is asked for each run and node.
    total = room.node.capacity.slots if room.node.capacity is not None else 0
    return room.window if need.weightless else room.slots / max(total, 1)
