"""The nodes of a replay: who has room, who waits for it, and the times in which somebody does."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from dts.domain.placement import Need, Refusal, Room, choose, idle, mismatch, summary
from dts.domain.replay_figures import NAMED, ZERO, NodeFigures, Shortage, Worst
from dts.pb.dts.v1 import Capacity, Node, NodeState, Resources

K = TypeVar("K")
T = TypeVar("T")


class Rooms:
    """The nodes that take work, empty at first. Without any, everything has room: there is nothing to say of places."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        ready = [node for node in nodes if node.state is NodeState.READY]
        self._rooms = [idle(node) for node in ready]
        self._figures = {node.id: _figures(node) for node in ready}
        self._fit: dict[Need, list[Room]] = {}
        self._turn = 0

    def figures(self) -> list[NodeFigures]:
        """Of each node, by name."""
        return sorted(self._figures.values(), key=lambda node: node.name)

    def fit(self, need: Need) -> list[Room]:
        """The nodes that could have such a run if they were idle."""
        known = self._fit.get(need)
        if known is None:
            known = [room for room in self._rooms if mismatch(need, room.node) is None]
            self._fit[need] = known
        return known

    def nowhere(self, need: Need) -> str:
        """What the nodes say if none of them could have such a run; empty if one could, or none is known."""
        if not self._rooms or self.fit(need):
            return ""
        return summary([mismatch(need, room.node) or "" for room in self._rooms])

    def take(self, need: Need, pinned: str, at: datetime) -> Room | Refusal | None:
        """A node for a run that one of them could have; None where nothing is taken of any."""
        if not self._rooms or need.weightless:
            return None
        self._turn += 1
        fit = self.fit(need)
        chosen = choose(need, [room for room in fit if room.node.id == pinned] if pinned else fit, turn=self._turn)
        if isinstance(chosen, Room):
            chosen.take(need)
            figures = self._figures[chosen.node.id]
            figures.has(at, runs=chosen.taken_slots, cpus=chosen.taken_cpus, memory=chosen.taken_memory)
        return chosen


def simplified(need: Need) -> Need:
    """A need as a replay can judge it: in which containers commands can run, and what lives where, is not foreseen."""
    return replace(need, target="", spread=())


def _figures(node: Node) -> NodeFigures:
    capacity = node.capacity or Capacity()
    resources = capacity.resources or Resources()
    return NodeFigures(node.hostname, capacity.slots, resources.cpus, resources.memory)


@dataclass(slots=True)
class _Episode:
    begins: datetime
    words: str
    most: int = 0
    longest: timedelta = ZERO
    tasks: dict[str, None] = field(default_factory=dict)


class Waiters(Generic[K, T]):
    """Runs that wait for room, in the order in which they came; those with the same need behind each other."""

    def __init__(self) -> None:
        self._queues: dict[K, deque[T]] = {}
        self._count = 0
        self._episode: _Episode | None = None
        self.worst: Worst[Shortage] = Worst()

    def add(self, need: K, item: T, *, task: str, at: datetime, words: str) -> None:
        """One more waits."""
        self._queues.setdefault(need, deque()).append(item)
        self._count += 1
        episode = self._episode = self._episode or _Episode(at, words)
        episode.most = max(episode.most, self._count)
        if len(episode.tasks) < NAMED:
            episode.tasks[task] = None

    def needs(self) -> list[K]:
        """Each need for which somebody waits."""
        return list(self._queues)

    def first(self, need: K) -> T | None:
        """Who has waited longest for it; None if nobody does."""
        queue = self._queues.get(need)
        return queue[0] if queue else None

    def remove(self, need: K, wait: timedelta, at: datetime) -> None:
        """Takes the first of a need away after it has waited so long."""
        queue = self._queues[need]
        queue.popleft()
        self._count -= 1
        if not queue:
            del self._queues[need]
        if self._episode is not None:
            self._episode.longest = max(self._episode.longest, wait)
            if self._count == 0:
                self.close(at)

    def close(self, at: datetime) -> None:
        """Ends the time in which somebody waits."""
        if self._episode is not None:
            it = self._episode
            wait = it.longest
            self.worst.add(wait.total_seconds(), Shortage(it.begins, at, wait, it.most, tuple(it.tasks), it.words))
            self._episode = None

    def left(self) -> Iterator[T]:
        """Those that still wait."""
        for queue in self._queues.values():
            yield from queue
