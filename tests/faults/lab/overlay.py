"""What engines of the lab know of each other's containers on the overlay network, and what they have forgotten.

An engine answers for the containers of the others: it keeps a permanent neighbour and a way to its node for each of
their addresses. Engine 20.10 may be without such entries for good when another engine was killed and has new
containers: their names are still told, and nobody gets there ("No route to host"). That is no fault of dts, and it can
mend nothing; an operator restarts containers until it is well. Here the entries are put right, and counted.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from swarm.lab import LabNode
from swarm.stack import NAME

NETWORK = f"{NAME}_dts"


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A container elsewhere. node: the address of its node."""

    address: str
    mac: str
    node: str


def containers_of(description: str, node: str) -> Iterator[Neighbour]:
    """The own containers of an engine, from its `docker network inspect`."""
    (network,) = json.loads(description)
    for one in network["Containers"].values():
        yield Neighbour(one["IPv4Address"].partition("/")[0], one["MacAddress"], node)


def neighbours_of(listing: str) -> set[tuple[str, str]]:
    """Addresses of `ip neigh show nud permanent`."""
    words = (line.split() for line in listing.splitlines())
    return {(one[0], one[one.index("lladdr") + 1]) for one in words if "lladdr" in one}


def ways_of(listing: str) -> set[tuple[str, str]]:
    """Where `bridge fdb show dev vxlan0` leads for good."""
    words = (line.split() for line in listing.splitlines() if "dst" in line and "permanent" in line)
    return {(one[0], one[one.index("dst") + 1]) for one in words}


Missing = tuple[str, Neighbour]
"""On which node, and the way to whom."""


def missing(nodes: Sequence[LabNode]) -> set[Missing]:
    """The entries that engines do not have, or have not yet."""
    own: Mapping[str, set[Neighbour]] = {
        node.name: set(containers_of(node.docker("network", "inspect", NETWORK, timeout=10), node.address))
        for node in nodes
    }
    found: set[Missing] = set()
    for node in nodes:
        others = {one for name, some in own.items() if name != node.name for one in some}
        space = _Space.of(node)
        neighbours, ways = neighbours_of(space.neighbours()), ways_of(space.ways())
        known = {one for one in others if (one.address, one.mac) in neighbours and (one.mac, one.node) in ways}
        found |= {(node.name, one) for one in others - known}
    return found


def mend(nodes: Sequence[LabNode], entries: Iterable[Missing]) -> None:
    """Adds entries."""
    spaces = {node.name: _Space.of(node) for node in nodes}
    for name, one in entries:
        spaces[name].learn(one)


@dataclass(frozen=True, slots=True)
class _Space:
    """The network namespace in which an engine keeps an overlay network."""

    node: LabNode
    network: str

    @classmethod
    def of(cls, node: LabNode) -> _Space:
        return cls(node, node.docker("network", "inspect", "--format={{.ID}}", NETWORK, timeout=10))

    def neighbours(self) -> str:
        return self._run("ip", "neigh", "show", "dev", "vxlan0", "nud", "permanent")

    def ways(self) -> str:
        return self._run("bridge", "fdb", "show", "dev", "vxlan0")

    def learn(self, one: Neighbour) -> None:
        self._run("ip", "neigh", "replace", one.address, "lladdr", one.mac, "dev", "vxlan0", "nud", "permanent")
        self._run("bridge", "fdb", "replace", one.mac, "dev", "vxlan0", "dst", one.node, "self", "permanent")

    def _run(self, *command: str) -> str:
        pid = (self.node.home / "pid").read_text()
        spaces = self.node.home / "exec" / "netns"
        name = next(path.name for path in spaces.iterdir() if path.name.endswith(f"-{self.network[:10]}"))
        inside = ("nsenter", f"--target={pid}", "--mount", "nsenter", f"--net={spaces / name}")
        return subprocess.run([*inside, *command], capture_output=True, text=True, check=True, timeout=10).stdout
