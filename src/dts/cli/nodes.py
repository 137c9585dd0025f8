"""Nodes on the command line."""

from __future__ import annotations

from dts.cli.shapes import word
from dts.cli.times import local
from dts.domain.sizes import format_size
from dts.pb.dts.v1 import Capacity, Node


def node_lines(node: Node) -> list[tuple[str, str]]:
    """A node as named lines."""
    note = f": {node.drain_note}" if node.drain_note else ""
    lines = [
        ("node", node.hostname),
        ("id", node.id),
        ("state", word(node.state) + note),
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
