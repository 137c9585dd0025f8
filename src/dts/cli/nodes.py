"""Nodes on the command line."""

from __future__ import annotations

from dts.cli.ask import choose, missing, on_terminal
from dts.cli.client import Client
from dts.cli.times import local
from dts.domain.sizes import format_size
from dts.domain.words import word
from dts.pb.dts.v1 import Capacity, ListNodesRequest, Node


async def picked(client: Client, node: str | None) -> str:
    """The name that was given, or the one that is picked on a terminal."""
    if node is not None:
        return node
    if not on_terminal():
        raise missing("NAME")  # before the server is asked what there is to pick from
    nodes = (await client.scheduler.list_nodes(ListNodesRequest())).nodes
    return await choose("Which node?", [each.hostname for each in nodes], field="NAME")


def state_words(node: Node) -> str:
    """Where a node stands, for people."""
    return word(node.state).replace("_", " ") + (f" ({node.drain_note})" if node.drain_note else "")


def node_lines(node: Node) -> list[tuple[str, str]]:
    """A node as named lines."""
    lines = [
        ("node", node.hostname),
        ("id", node.id),
        ("state", state_words(node)),
        ("role", node.role),
        ("kinds", ", ".join(node.kinds)),
        *((f"no {kind}", why) for kind, why in sorted(node.missing_kinds.items())),
        ("labels", " ".join(f"{key}={value}" for key, value in sorted(node.labels.items()))),
        ("capacity", _capacity(node.capacity)),
        ("used", _capacity(node.used)),
        ("running", str(node.running)),
        ("platform", node.platform),
        ("last seen", local(node.last_seen_at)),
        ("version", node.version),
    ]
    return [(name, text) for name, text in lines if text]


def _capacity(capacity: Capacity | None) -> str:
    if capacity is None or capacity.resources is None:
        return ""
    resources = capacity.resources
    return f"{capacity.slots} slots, {resources.cpus:g} cpus, {format_size(resources.memory >> 20 << 20)} memory"
