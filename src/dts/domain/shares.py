"""How the coming ticks fall upon nodes, if each is dealt evenly among the nodes that could take it.

Which node takes a run is decided when it begins, by what is free then. Long before, an even share is the best guess;
for tasks that only one node can take, and for those that each node takes, it is what will be.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dts.domain.placement import Need, mismatch
from dts.pb.dts.v1 import Node, NodeState

Minutes = Mapping[int, float]
"""How many tasks are due in a minute, by its number."""


@dataclass(frozen=True, slots=True)
class Share:
    """What falls upon a node.

    peaks: for each cell of so many minutes, the most that falls into one of them.
    """

    node: Node
    peaks: Sequence[float]

    @property
    def fullness(self) -> float:
        """The highest peak, in parts of what the node can have at once."""
        slots = self.node.capacity.slots if self.node.capacity else 0
        return max(self.peaks, default=0) / max(slots, 1)


def shares(ticks: Mapping[Need, Minutes], nodes: Sequence[Node], *, cells: int, cell: int) -> list[Share]:
    """The shares of nodes that take work, the fullest first.

    Args:
        ticks: in the minutes of all cells, by what they need; those that take no slot of a node are left out.
        nodes: all that are known.
        cells: how many there are.
        cell: how many minutes each has.
    """
    ready = [node for node in nodes if node.state is NodeState.READY]
    fallen = _by_takers(ticks, ready)
    peaks: dict[tuple[frozenset[str], ...], list[float]] = {}
    found = []
    for node in ready:
        # Nodes that are alike, as most are, have the same picture.
        alike = tuple(takers for takers in fallen if node.id in takers)
        if alike not in peaks:
            peaks[alike] = _peaks([fallen[takers] for takers in alike], cells, cell)
        found.append(Share(node, peaks[alike]))
    return sorted(found, key=lambda share: (-share.fullness, share.node.hostname))


def _by_takers(ticks: Mapping[Need, Minutes], ready: Sequence[Node]) -> Mapping[frozenset[str], Minutes]:
    """What falls upon each of the nodes that share it."""
    fallen: defaultdict[frozenset[str], defaultdict[int, float]] = defaultdict(lambda: defaultdict(float))
    for need, minutes in ticks.items():
        takers = frozenset(node.id for node in ready if mismatch(need, node) is None)
        if need.weightless or not takers:
            continue
        part = 1.0 if need.every else 1 / len(takers)
        of_each = fallen[takers]
        for minute, count in minutes.items():
            of_each[minute] += count * part
    return fallen


def _peaks(fallen: Iterable[Minutes], cells: int, cell: int) -> list[float]:
    total: defaultdict[int, float] = defaultdict(float)
    for minutes in fallen:
        for minute, part in minutes.items():
            total[minute] += part
    peaks = [0.0] * cells
    for minute, part in total.items():
        peaks[minute // cell] = max(peaks[minute // cell], part)
    return peaks
