"""Claiming: lock a batch of due runs, decide, write the verdicts, all in one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from dts.domain.claim import Assign, Candidate, Defer, End, Holder, MakeRoom, Queue, Situation, Verdicts, decide
from dts.domain.definition import Definition
from dts.domain.placement import Room
from dts.pb.dts.v1 import ClaimRequest, ClaimResponse, NodeOffer, NodeState, Overlap, Reason, RunState
from dts.store.assignments import NodeWork, gather
from dts.store.definitions import Definitions
from dts.store.pool import Connection
from dts.store.queries import sql
from dts.store.rows import STATE, node_of, word
from dts.store.transactions import in_transaction
from dts.store.wakeups import Wakeups


class ClaimStore:
    """Gives due runs to nodes."""

    def __init__(self, pool: asyncpg.Pool, definitions: Definitions, wakeups: Wakeups) -> None:
        self._pool = pool
        self._definitions = definitions
        self._wakeups = wakeups

    async def claim(self, request: ClaimRequest) -> ClaimResponse:
        """One pass over both lanes. Safe to run anywhere, any number at once."""
        recalled: list[str] = []

        async def work(connection: Connection) -> ClaimResponse:
            recalled.clear()
            return await self._claim(connection, request, recalled)

        response = await in_transaction(self._pool, work)
        for node_id in recalled:
            self._wakeups.wake("recalls", node_id)
        return response

    async def _claim(self, connection: Connection, request: ClaimRequest, recalled: list[str]) -> ClaimResponse:
        rows = await _lock(connection, request)
        if not rows:
            return ClaimResponse(next_in=_positive(await connection.fetchval(sql("next_claim"), request.now)))
        now: datetime = rows[0]["now"]
        known = await self._definitions.get(connection, [(row["task_id"], row["task_version"]) for row in rows])
        candidates = [_candidate(row, known) for row in rows]
        situation = await _situation(connection, request, candidates, now)
        verdicts = decide(candidates, situation)
        recalled.extend(await self._write(connection, verdicts, now))
        work = await self._node_work(connection, verdicts.assign, rows, known)
        return ClaimResponse(
            assignments=gather(work, now),
            seen=len(rows),
            next_in=_positive(await connection.fetchval(sql("next_claim"), request.now)),
        )

    async def _write(self, connection: Connection, verdicts: Verdicts, now: datetime) -> list[str]:
        """Writes the verdicts; answers with the nodes that must stop something."""
        await _assign(connection, verdicts.assign, now)
        await _defer(connection, verdicts.defer)
        nodes = await _make_room(connection, verdicts.make_room, now)
        await end_pending(connection, verdicts.end, now)
        return nodes

    async def _node_work(
        self,
        connection: Connection,
        assigned: Sequence[Assign],
        rows: Sequence[asyncpg.Record],
        known: dict[tuple[UUID, int], Definition],
    ) -> list[NodeWork]:
        by_id = {row["id"]: row for row in rows}
        heavy = {a.candidate.task_id for a in assigned if not a.candidate.need.weightless}
        previous = await previous_successes(connection, heavy)
        return [
            NodeWork(
                node_id=assign.node_id,
                run_id=row["id"],
                attempt=row["attempt"] + 1,
                scheduled_at=row["scheduled_at"],
                not_before=row["not_before"],
                start_by=row["start_by"],
                definition=known[(row["task_id"], row["task_version"])],
                parameters=row["parameters"],
                previous_success=previous.get(row["task_id"]),
            )
            for assign in assigned
            for row in (by_id[assign.candidate.run_id],)
        ]


async def _lock(connection: Connection, request: ClaimRequest) -> list[asyncpg.Record]:
    """Candidates of both lanes; of those with weight only as many as there are free slots."""
    lead = request.lead or timedelta(0)
    slots = sum(max(offer.free.slots, 0) for offer in request.offers if offer.free)
    window = sum(max(offer.free_window, 0) for offer in request.offers)
    rows: list[asyncpg.Record] = []
    for weightless, room in ((False, slots), (True, window)):
        batch = min(room, request.limit - len(rows))
        if batch > 0:
            rows += await connection.fetch(sql("claim_candidates"), weightless, lead, batch, request.now)
    return rows


async def _situation(
    connection: Connection, request: ClaimRequest, candidates: Sequence[Candidate], now: datetime
) -> Situation:
    serial = {c.task_id for c in candidates if c.serial and c.locked}
    groups = {c.policies.group for c in candidates if c.policies.group and c.locked}
    holders = await _holders(connection, serial)
    return Situation(
        now=now,
        lead=request.lead or timedelta(0),
        rooms=await _rooms(connection, request.offers),
        holders=holders,
        queues=await _queues(connection, holders),
        groups=await _group_slots(connection, groups),
    )


def _candidate(row: asyncpg.Record, known: dict[tuple[UUID, int], Definition]) -> Candidate:
    definition = known[(row["task_id"], row["task_version"])]
    return Candidate(
        run_id=row["id"],
        task_id=row["task_id"],
        not_before=row["not_before"],
        start_by=row["start_by"],
        overlap=definition.policies.overlap if row["overlap"] is None else Overlap(row["overlap"]),
        policies=definition.policies,
        need=definition.need,
        slot=row["slot"],
        group_slot=row["group_slot"],
        serial=row["serial"],
        locked=row["locked"],
        from_backfill=row["trigger"] == "backfill",
        last_node=row["node_id"] or "",
    )


async def _rooms(connection: Connection, offers: Iterable[NodeOffer]) -> list[Room]:
    offered = {offer.node_id: offer for offer in offers}
    rooms: list[Room] = []
    for row in await connection.fetch(sql("find_nodes"), list(offered)):
        offer = offered[row["id"]]
        if str(row["incarnation"]) != offer.incarnation or offer.free is None:
            continue
        node = node_of(row)
        if node.state is NodeState.UNKNOWN:
            node.state = NodeState.READY  # it is attached to the caller, who knows better
        free = offer.free.resources
        rooms.append(
            Room(
                node=node,
                slots=offer.free.slots,
                cpus=free.cpus if free else 0.0,
                memory=free.memory if free else 0,
                window=offer.free_window,
            )
        )
    return rooms


async def _holders(connection: Connection, tasks: Iterable[UUID]) -> dict[UUID, list[Holder]]:
    found: dict[UUID, list[Holder]] = {}
    wanted = list(tasks)
    if wanted:
        for row in await connection.fetch(sql("holders"), wanted):
            holder = Holder(row["id"], row["slot"], STATE[row["state"]], row["recalled"])
            found.setdefault(row["task_id"], []).append(holder)
    return found


async def _queues(connection: Connection, holders: dict[UUID, list[Holder]]) -> dict[UUID, Queue]:
    """Only tasks with a live run can have runs that wait."""
    if not holders:
        return {}
    rows = await connection.fetch(sql("queues"), list(holders))
    return {row["task_id"]: Queue(row["length"], row["newest"]) for row in rows}


async def _group_slots(connection: Connection, groups: Iterable[str]) -> dict[str, set[int]]:
    wanted = list(groups)
    taken: dict[str, set[int]] = {}
    if wanted:
        for row in await connection.fetch(sql("group_slots"), wanted):
            taken.setdefault(row["group_name"], set()).add(row["group_slot"])
    return taken


async def _assign(connection: Connection, assigned: Sequence[Assign], now: datetime) -> None:
    if assigned:
        await connection.execute(
            sql("assign"),
            [assign.candidate.run_id for assign in assigned],
            [assign.node_id for assign in assigned],
            [assign.slot for assign in assigned],
            [assign.group_slot for assign in assigned],
            now,
        )


async def _defer(connection: Connection, deferred: Sequence[Defer]) -> None:
    if deferred:
        await connection.execute(
            sql("defer"),
            [defer.run_id for defer in deferred],
            [defer.claim_at for defer in deferred],
            [defer.message for defer in deferred],
            [defer.blocked_by for defer in deferred],
        )


async def _make_room(connection: Connection, stops: Sequence[MakeRoom], now: datetime) -> list[str]:
    """Asks nodes to stop runs; a run that only waits for its next attempt ends at once."""
    nodes: list[str] = []
    for kill in (False, True):
        ids = [stop.run_id for stop in stops if stop.kill is kill]
        if ids:
            rows = await connection.fetch(sql("recall_runs"), ids, "terminate" if kill else "replace")
            nodes += [row["node_id"] for row in rows]
            reached = {row["id"] for row in rows}
            message = "a later run of the task took its place"
            left = [End(i, RunState.CANCELLED, Reason.REPLACED, message) for i in ids if i not in reached]
            await end_pending(connection, left, now)
    return nodes


async def end_pending(connection: Connection, ended: Sequence[End], now: datetime) -> None:
    """Moves runs that end without a node to history, and passes on the places they held."""
    if not ended:
        return
    rows = await connection.fetch(
        sql("end_pending"),
        [end.run_id for end in ended],
        [word(end.state) for end in ended],
        [word(end.reason) for end in ended],
        [end.message for end in ended],
        [end.blocked_by for end in ended],
        now,
    )
    await release(connection, rows, now)


async def release(connection: Connection, ended: Iterable[asyncpg.Record], now: datetime | None) -> int:
    """Lets the next waiting runs of tasks with freed places take their turn; answers how many."""
    freed = Counter(row["task_id"] for row in ended if row["held"])
    if not freed:
        return 0
    rows = await connection.fetch(sql("release_waiting"), list(freed), list(freed.values()), now)
    return len(rows)


async def previous_successes(connection: Connection, tasks: Iterable[UUID]) -> dict[UUID, datetime]:
    """When the previous run of each task that succeeded was scheduled."""
    wanted = list(tasks)
    if not wanted:
        return {}
    rows = await connection.fetch(sql("previous_successes"), wanted)
    return {row["task_id"]: row["scheduled_at"] for row in rows}


def _positive(interval: timedelta | None) -> timedelta | None:
    return None if interval is None else max(interval, timedelta(0))
