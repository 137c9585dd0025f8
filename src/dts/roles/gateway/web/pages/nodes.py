"""Nodes: what each can take and has, and whether it takes more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiohttp import web

from dts.pb.dts.v1 import Capacity, DrainNodeRequest, ListNodesRequest, Node, NodeState, Resources, ResumeNodeRequest
from dts.roles.gateway.web.door import Visit, see_other
from dts.roles.gateway.web.live import Parts, keep_up

SILENT = {NodeState.DOWN, NodeState.NO_EXECUTOR}


@dataclass(frozen=True, slots=True)
class Load:
    """How much of something is taken."""

    name: str
    used: float
    capacity: float
    told: str

    @property
    def is_full(self) -> bool:
        """Whether nothing is left."""
        return self.used >= self.capacity


async def page(visit: Visit) -> web.StreamResponse:
    """The whole page."""
    return visit.page("nodes.html", **await _facts(visit))


async def live(visit: Visit) -> web.StreamResponse:
    """All of it again."""

    async def look() -> Parts:
        return {"nodes": visit.fragment("nodes_parts.html", **await _facts(visit))}

    return await keep_up(visit, look)


async def drain(visit: Visit) -> web.StreamResponse:
    """Lets a node finish what it has and take nothing new."""
    request = DrainNodeRequest(node=visit.matched("node"), note=visit.form.text("note"))
    await visit.person.runs.drain_node(request)
    return see_other("/nodes")


async def resume(visit: Visit) -> web.StreamResponse:
    """Lets it take work again."""
    await visit.person.runs.resume_node(ResumeNodeRequest(node=visit.matched("node")))
    return see_other("/nodes")


async def _facts(visit: Visit) -> dict[str, Any]:
    nodes = (await visit.person.runs.list_nodes(ListNodesRequest())).nodes
    return {"nodes": [(node, _loads(node)) for node in nodes], "silent": SILENT, "draining": NodeState.DRAINING}


def _loads(node: Node) -> list[Load]:
    capacity, used = node.capacity or Capacity(), node.used or Capacity()
    has, taken = capacity.resources or Resources(), used.resources or Resources()
    gib = 1 << 30
    return [
        Load("slots", used.slots, capacity.slots, f"{used.slots} of {capacity.slots}"),
        Load("processors", taken.cpus, has.cpus, f"{taken.cpus:g} of {has.cpus:g}"),
        Load("memory", taken.memory, has.memory, f"{taken.memory / gib:.1f} of {has.memory / gib:.1f} GiB"),
    ]
