"""Whether every part is well."""

from __future__ import annotations

from datetime import timedelta

from dts.domain.durations import format_duration
from dts.domain.errors import DtsError
from dts.pb.dts.v1 import (
    DescribeDatabaseRequest,
    DescribeDatabaseResponse,
    FindNodesRequest,
    Node,
    NodeState,
    PartStatus,
)
from dts.roles.scheduler.ports import Answers

SNAPSHOT_OLD = timedelta(minutes=1)
"""A snapshot that is open for longer keeps dead rows in the hot table, and starting becomes slower and slower."""

TRANSACTIONS_OLD = 1_000_000_000
"""Half of what PostgreSQL takes; it freezes rows at a fifth of this unless something keeps it from that."""

BEHIND = timedelta(seconds=10)
"""A run that could start and has waited longer than this means that starting is behind."""


async def parts(database: Answers) -> list[PartStatus]:
    """The database, the scheduler's work, and each node."""
    try:
        described = await database.describe_database(DescribeDatabaseRequest())
        nodes = (await database.find_nodes(FindNodesRequest())).nodes
    except DtsError as error:
        return [PartStatus(part="database", well=False, detail=error.message)]
    return [
        _database(described),
        _scheduler(described.oldest_wait),
        *(_executors(nodes)),
    ]


def _database(described: DescribeDatabaseResponse) -> PartStatus:
    if (open_for := described.oldest_snapshot) is not None and open_for > SNAPSHOT_OLD:
        why = f"a session has had a snapshot open for {format_duration(open_for)}: nothing can be tidied up behind it"
        return PartStatus(part="database", well=False, detail=why)
    if described.transaction_age > TRANSACTIONS_OLD:
        why = f"no row was frozen for {described.transaction_age:,} transactions: see to autovacuum"
        return PartStatus(part="database", well=False, detail=why)
    detail = (
        f"PostgreSQL {described.server_version}, schema {described.schema_version}, {described.live_runs} live runs"
    )
    return PartStatus(part="database", well=True, detail=detail)


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
        case NodeState.NO_EXECUTOR:
            # An operator who drains a node takes its executor away, and means to.
            note = node.drain_note or "no executor runs on this node of the Swarm"
            return PartStatus(part=part, well=bool(node.drain_note), detail=note)
        case _:
            seen = f"{node.last_seen_at:%Y-%m-%d %H:%M:%S} UTC" if node.last_seen_at else "never"
            return PartStatus(part=part, well=False, detail=f"silent; last seen {seen}")


def _kinds(node: Node) -> str:
    missing = "; ".join(f"no {kind}: {why}" for kind, why in sorted(node.missing_kinds.items()))
    return f"runs {', '.join(node.kinds)}" + (f" ({missing})" if missing else "")
