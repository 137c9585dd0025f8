"""Whether every part is well."""

from __future__ import annotations

from datetime import timedelta

from dts.domain.durations import format_duration
from dts.domain.errors import DtsError
from dts.pb.dts.v1 import DescribeDatabaseRequest, FindNodesRequest, Node, NodeState, PartStatus
from dts.roles.scheduler.ports import Answers

BEHIND = timedelta(seconds=10)
"""A run that could start and has waited longer than this means that starting is behind."""


async def parts(database: Answers) -> list[PartStatus]:
    """The database, the scheduler's work, and each node."""
    try:
        described = await database.describe_database(DescribeDatabaseRequest())
        nodes = (await database.find_nodes(FindNodesRequest())).nodes
    except DtsError as error:
        return [PartStatus(part="database", well=False, detail=error.message)]
    detail = (
        f"PostgreSQL {described.server_version}, schema {described.schema_version}, {described.live_runs} live runs"
    )
    return [
        PartStatus(part="database", well=True, detail=detail),
        _scheduler(described.oldest_wait),
        *(_executors(nodes)),
    ]


def _scheduler(oldest_wait: timedelta | None) -> PartStatus:
    if oldest_wait is not None and oldest_wait > BEHIND:
        detail = f"the oldest run that could start has waited {format_duration(oldest_wait)}"
        return PartStatus(part="scheduler", well=False, detail=detail)
    return PartStatus(part="scheduler", well=True, detail="no run waits longer than it should")


def _executors(nodes: list[Node]) -> list[PartStatus]:
    if not nodes:
        return [PartStatus(part="executor", well=False, detail="no executor has ever attached: nothing can run")]
    return [_executor(node) for node in nodes]


def _executor(node: Node) -> PartStatus:
    part = f"executor {node.hostname}"
    match node.state:
        case NodeState.READY:
            return PartStatus(part=part, well=True, detail=_kinds(node))
        case NodeState.DRAINING:
            note = f": {node.drain_note}" if node.drain_note else ""
            return PartStatus(part=part, well=True, detail=f"draining{note}")
        case _:
            seen = f"{node.last_seen_at:%Y-%m-%d %H:%M:%S} UTC" if node.last_seen_at else "never"
            return PartStatus(part=part, well=False, detail=f"silent; last seen {seen}")


def _kinds(node: Node) -> str:
    missing = "; ".join(f"no {kind}: {why}" for kind, why in sorted(node.missing_kinds.items()))
    return f"runs {', '.join(node.kinds)}" + (f" ({missing})" if missing else "")
