"""Assignments: claimed runs become columns, one message for each node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from dts.domain.columns import pack, pack_ids, pack_keys
from dts.domain.definition import Definition
from dts.domain.ids import MICROSECOND, to_micros
from dts.pb.dts.v1 import Assignments, Attempt, NodeAssignments, Parameters, Weights


@dataclass(frozen=True, slots=True)
class NodeWork:
    """An attempt for a node. image_digest: what an earlier attempt found its image to be."""

    node_id: str
    run_id: UUID
    attempt: int
    scheduled_at: datetime
    not_before: datetime
    start_by: datetime
    definition: Definition
    parameters: Mapping[str, str] | None = None
    previous_success: datetime | None = None
    image_digest: str = ""


def gather(work: Sequence[NodeWork], now: datetime) -> list[NodeAssignments]:
    """One message for each node; instants become delays from `now`, the database's clock."""
    nodes: dict[str, list[NodeWork]] = {}
    for item in work:
        nodes.setdefault(item.node_id, []).append(item)
    return [
        NodeAssignments(node_id=node_id, assignments=columns(items, now), weights=weights(items))
        for node_id, items in nodes.items()
    ]


def columns(items: Sequence[NodeWork], now: datetime) -> Assignments:
    """The columns of one node's attempts. A definition that several share travels once."""
    specs: dict[tuple[UUID, int], int] = {}
    encoded: list[bytes] = []
    index: list[int] = []
    for item in items:
        key = (item.definition.task_id, item.definition.version)
        if key not in specs:
            specs[key] = len(encoded)
            encoded.append(item.definition.work)
        index.append(specs[key])
    return Assignments(
        run_ids=pack_ids(item.run_id for item in items),
        attempts=pack("i", [item.attempt for item in items]),
        scheduled_at=pack("q", [to_micros(item.scheduled_at) for item in items]),
        start_in=pack("q", [(item.not_before - now) // MICROSECOND for item in items]),
        start_by_in=pack("q", [(item.start_by - now) // MICROSECOND for item in items]),
        previous_success_at=pack(
            "q", [to_micros(item.previous_success) if item.previous_success else 0 for item in items]
        ),
        spec_index=pack("i", index),
        specs=encoded,
        parameters=[
            Parameters(index=position, parameters=dict(item.parameters or {}), image_digest=item.image_digest)
            for position, item in enumerate(items)
            if item.parameters or item.image_digest
        ],
        read_at=now,
    )


def settled_digest(earlier_attempts: Sequence[Mapping[str, object]] | None) -> str:
    """The digest of its image that the first attempt found that found one; empty if none did."""
    found = (Attempt.from_dict(entry).image_digest for entry in earlier_attempts or ())
    return next((digest for digest in found if digest), "")


def weights(items: Sequence[NodeWork]) -> Weights:
    """What the attempts that have weight take from their node."""
    heavy = [item for item in items if not item.definition.need.weightless]
    return Weights(
        attempts=pack_keys((item.run_id, item.attempt) for item in heavy),
        cpus_milli=pack("i", [round(item.definition.need.cpus * 1000) for item in heavy]),
        memory=pack("q", [item.definition.need.memory for item in heavy]),
    )
