"""Nodes: registration, leases, and settling what a node holds with what the ledger says."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from dts.domain.columns import pack_keys, unpack, unpack_keys
from dts.domain.errors import FailedPrecondition, InvalidArgument, NotFound
from dts.domain.ids import parse_id
from dts.pb.dts.v1 import (
    Capacity,
    FindOverdueRequest,
    FindRecallsRequest,
    Hello,
    Node,
    NodeLease,
    NodeRecall,
    Reason,
    Recall,
    RegisterNodeRequest,
    RegisterNodeResponse,
    RenewLeasesRequest,
    RenewLeasesResponse,
    SetNodeDrainRequest,
    StoreSwarmRequest,
    SwarmNode,
)
from dts.store.assignments import NodeWork, columns, settled_digest, weights
from dts.store.claims import previous_successes
from dts.store.definitions import Definitions
from dts.store.pool import Connection, errors
from dts.store.queries import sql
from dts.store.reports import bounded
from dts.store.rows import node_of, node_without_executor_of
from dts.store.transactions import in_transaction
from dts.store.wakeups import Wakeups

log = logging.getLogger(__name__)

RECALLS = {
    "cancel": Recall(reason=Reason.CANCELLED),
    "replace": Recall(reason=Reason.REPLACED),
    "terminate": Recall(reason=Reason.REPLACED, kill=True),
    "withdraw": Recall(reason=Reason.CANCELLED, unstarted_only=True),
}
"""What is sent to a node for each value of run_recall."""

Key = tuple[UUID, int]


class NodeStore:
    """Table node, and the runs that nodes hold."""

    def __init__(self, pool: asyncpg.Pool, definitions: Definitions, wakeups: Wakeups) -> None:
        self._pool = pool
        self._definitions = definitions
        self._wakeups = wakeups

    async def register(self, request: RegisterNodeRequest) -> RegisterNodeResponse:
        """Grants the lease and reconciles: sends again or asks back what the node never got, recalls what it should not
        hold.
        """
        hello = request.hello or Hello()
        if hello.node is None or not hello.node.id:
            raise InvalidArgument.of("hello.node", "node.missing", "says who the node is: it needs an id")
        held, process = _held(hello), _process(hello)
        lease = request.lease or timedelta(0)

        async def work(connection: Connection) -> RegisterNodeResponse:
            await _check_age(connection, hello.node or Node(), process, hello.connection)
            return await self._register(connection, hello, process, held, lease)

        return await in_transaction(self._pool, work)

    async def renew(self, request: RenewLeasesRequest) -> RenewLeasesResponse:
        """Renews leases of incarnations that are still the youngest of their node."""
        with errors():
            rows = await self._pool.fetch(
                sql("renew_leases"),
                [lease.node_id for lease in request.leases],
                [lease.incarnation for lease in request.leases],
                [bytes(lease.used or Capacity()) for lease in request.leases],
                [lease.leaving for lease in request.leases],
                request.lease or timedelta(0),
            )
        renewed = {row["id"] for row in rows}
        told = [lease for lease in request.leases if lease.targets is not None and lease.node_id in renewed]
        if told:
            await self._store_targets(told)
        return RenewLeasesResponse(
            renewed=[row["id"] for row in rows],
            draining=[row["id"] for row in rows if row["draining"]],
            now=rows[0]["now"] if rows else None,
        )

    async def _store_targets(self, leases: Sequence[NodeLease]) -> None:
        pairs = [(lease.node_id, name) for lease in leases if lease.targets for name in lease.targets.names]
        with errors():
            await self._pool.execute(
                sql("store_targets"),
                [lease.node_id for lease in leases],
                [lease.incarnation for lease in leases],
                [node_id for node_id, _ in pairs],
                [name for _, name in pairs],
            )
        self._wakeups.wake("runs")

    async def all(self) -> list[Node]:
        """Every node, by name; at the end those of the Swarm on which no executor runs."""
        with errors():
            rows = await self._pool.fetch(sql("all_nodes"))
            others = await self._pool.fetch(sql("nodes_without_executor"))
        return [*map(node_of, rows), *map(node_without_executor_of, others)]

    async def store_swarm(self, request: StoreSwarmRequest) -> None:
        """Keeps what the managers of the Swarm say of its nodes, and forgets the others.

        A worker is not believed, as long as the managers say that it is one: it could drain every other node.
        """
        nodes = request.nodes
        if not nodes:
            raise InvalidArgument.of("nodes", "swarm.empty", "are missing: a Swarm has at least the manager that tells")
        ids, names = [node.id for node in nodes], [node.hostname for node in nodes]
        availabilities = [node.availability for node in nodes]
        with errors():
            teller = await self._pool.fetchval(sql("swarm_node"), request.node_id)
            if teller is not None and SwarmNode.parse(teller).role == "worker":
                log.warning("node %s is a worker and tells what only managers know", request.node_id[:64])
                return
            await self._pool.execute(sql("store_swarm"), ids, names, availabilities, [bytes(node) for node in nodes])

    async def set_drain(self, request: SetNodeDrainRequest) -> Node:
        """Lets a node, by name or id, take new work or not."""
        with errors():
            changed = await self._pool.fetch(sql("set_drain"), request.node, request.drain, request.note)
        if not changed:
            raise NotFound(f"no node named {request.node!r}", code="node.unknown")
        for row in changed:
            self._wakeups.wake("recalls", row["id"])
        ids = {row["id"] for row in changed}
        return next(node for node in await self.all() if node.id in ids)

    async def overdue(self, request: FindOverdueRequest) -> list[str]:
        """Nodes that have said nothing of what they should have started long ago."""
        with errors():
            rows = await self._pool.fetch(sql("overdue_nodes"), request.node_ids, request.grace or timedelta(0))
        return [row["node_id"] for row in rows]

    async def recalls(self, request: FindRecallsRequest) -> list[NodeRecall]:
        """What nodes are to stop or give back."""
        with errors():
            rows = await self._pool.fetch(sql("recalls_of"), request.node_ids)
        return [
            NodeRecall(node_id=node_id, recall=recall)
            for node_id in request.node_ids
            for recall in _recalls(rows, node_id)
        ]

    async def _register(
        self,
        connection: Connection,
        hello: Hello,
        process: UUID | None,
        held: Mapping[Key, int],
        lease: timedelta,
    ) -> RegisterNodeResponse:
        node = hello.node or Node()
        (stored,) = await connection.fetch(
            *(sql("register_node"), node.id, node.hostname, node.incarnation, bytes(node), lease),
            *(process, hello.connection),
        )
        now: datetime = stored["now"]
        rows = await connection.fetch(sql("runs_on_node"), node.id)
        ours = {(row["id"], row["attempt"]): row for row in rows}
        adopted = [key for key in held if key in ours]
        missing = {key: row for key, row in ours.items() if key not in held}
        unstarted = {key: row for key, row in missing.items() if row["started_at"] is None}
        lost_on_the_way = [row for row in unstarted.values() if row["recall"] is None]
        # The node answers that it has a result of them, or gives them back.
        asked_back = [row for row in unstarted.values() if row["recall"] is not None]
        since = {**dict.fromkeys(unstarted, -1), **held}
        await _adopt(connection, [*adopted, *unstarted], since, hello.sent_at)
        doubted = [row["id"] for key, row in missing.items() if key not in unstarted]
        await connection.execute(sql("doubt_runs"), doubted, now)
        again = await self._work_again(connection, node.id, lost_on_the_way)
        kept = await self._work_again(connection, node.id, [*(ours[key] for key in adopted), *asked_back])
        strangers = [key for key in held if key not in ours]
        fenced = [Recall(attempts=pack_keys(strangers), fenced=True)] if strangers else []
        return RegisterNodeResponse(
            resend=columns(again, now) if again else None,
            recalls=[*fenced, *_recalls(asked_back, node.id)],
            node=node_of({**dict(stored), "running": len(rows)}),
            weights=weights([*again, *kept]),
            now=now,
        )

    async def _work_again(self, connection: Connection, node_id: str, rows: Sequence[asyncpg.Record]) -> list[NodeWork]:
        known = await self._definitions.get(connection, [(row["task_id"], row["task_version"]) for row in rows])
        previous = await previous_successes(connection, {row["task_id"] for row in rows if not row["weightless"]})
        return [
            NodeWork(
                node_id=node_id,
                run_id=row["id"],
                attempt=row["attempt"],
                scheduled_at=row["scheduled_at"],
                not_before=row["not_before"],
                start_by=row["start_by"],
                definition=known[(row["task_id"], row["task_version"])],
                parameters=row["parameters"],
                previous_success=previous.get(row["task_id"]),
                image_digest=settled_digest(row["earlier_attempts"]),
            )
            for row in rows
        ]


async def _check_age(connection: Connection, node: Node, process: UUID | None, number: int) -> None:
    """Locks the node. A scheduler that was frozen may read what an executor said long ago, and has given up since."""
    known = await connection.fetchrow(sql("lock_node"), node.id)
    if known is not None and process is not None and known["process"] == process and known["connection"] > number:
        raise FailedPrecondition("a younger connection of this node has taken its place", code="node.displaced")


def _process(hello: Hello) -> UUID | None:
    """Of the executor; None if it does not say."""
    return parse_id(hello.process, field="hello.process") if hello.process else None


def _held(hello: Hello) -> dict[Key, int]:
    """The attempts that a node holds: microseconds since each started, −1 if it has not."""
    keys = unpack_keys(hello.held)
    started = unpack("q", hello.held_started_ago, rows=len(keys), field="held_started_ago")
    return dict(zip(keys, map(bounded, started), strict=True))


async def _adopt(
    connection: Connection, adopted: Sequence[Key], held: Mapping[Key, int], sent_at: datetime | None
) -> None:
    if adopted:
        ids = [run_id for run_id, _ in adopted]
        await connection.execute(sql("adopt_runs"), ids, [held[key] for key in adopted], sent_at)


def _recalls(rows: Iterable[asyncpg.Record], node_id: str) -> list[Recall]:
    found: dict[str, list[Key]] = {}
    for row in rows:
        if row["node_id"] == node_id:
            found.setdefault(row["recall"], []).append((row["id"], row["attempt"]))
    return [
        Recall(attempts=pack_keys(keys), reason=kind.reason, kill=kind.kill, unstarted_only=kind.unstarted_only)
        for recall, keys in found.items()
        for kind in (RECALLS[recall],)
    ]
