"""Claiming: lock a batch of due runs, decide, write the verdicts, all in one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from dts.domain.claim import decide
from dts.domain.definition import Definition
from dts.domain.ids import node_run_id
from dts.domain.placement import Fleet, Room
from dts.domain.verdicts import (
    Assign,
    Candidate,
    Defer,
    End,
    FanOut,
    Holder,
    Leave,
    MakeRoom,
    Place,
    Queue,
    Situation,
    Verdicts,
)
from dts.pb.dts.v1 import ClaimRequest, ClaimResponse, Node, NodeOffer, NodeState, Overlap, Reason, RunState
from dts.store.assignments import NodeWork, gather, settled_digest
from dts.store.definitions import Definitions
from dts.store.pool import Connection
from dts.store.queries import sql
from dts.store.rows import STATE, node_of, seen_node_of, word
from dts.store.tallies import Ending, tally
from dts.store.transactions import in_transaction
from dts.store.wakeups import Wakeups

LEFT = timedelta(seconds=1.5)
"""How long a run is left to the replica that has the node it is for; then anybody takes it. Less than the two seconds
by which runs are claimed ahead, and enough for a replica on a busy machine."""


class ClaimStore:
    """Gives due runs to nodes."""

    def __init__(self, pool: asyncpg.Pool, definitions: Definitions, wakeups: Wakeups) -> None:
        self._pool = pool
        self._definitions = definitions
        self._wakeups = wakeups

    async def claim(self, request: ClaimRequest) -> ClaimResponse:
        """One pass over both lanes. Safe to run anywhere, any number at once."""
        recalled: list[str] = []
        moved: list[Leave | FanOut] = []

        async def work(connection: Connection) -> ClaimResponse:
            recalled.clear()
            moved.clear()
            return await self._claim(connection, request, recalled, moved)

        response = await in_transaction(self._pool, work)
        for node_id in recalled:
            self._wakeups.wake("recalls", node_id)
        if moved:
            self._wakeups.wake("runs")
        return response

    async def _claim(
        self, connection: Connection, request: ClaimRequest, recalled: list[str], moved: list[Leave | FanOut]
    ) -> ClaimResponse:
        rooms = await _rooms(connection, request.offers)
        rows = await _lock(connection, request, rooms)
        if not rows:
            return ClaimResponse(next_in=_positive(await connection.fetchval(sql("next_claim"), request.now)))
        now: datetime = rows[0]["now"]
        known = await self._definitions.get(connection, [(row["task_id"], row["task_version"]) for row in rows])
        holders, elders = await _standing(connection, rows, now + (request.lead or timedelta(0)))
        candidates = [_candidate(row, known, elders.get(row["id"])) for row in rows]
        situation = await _situation(connection, request, candidates, holders, rooms, now)
        await _find_targets(connection, candidates, [*situation.here.nodes, *situation.elsewhere.nodes])
        verdicts = decide(candidates, situation)
        moved.extend([*verdicts.leave, *verdicts.fan_out])
        nodes, ended = await self._write(connection, verdicts, now)
        recalled.extend(nodes)
        work = await self._node_work(connection, verdicts.assign, rows, known)
        return ClaimResponse(
            assignments=gather(work, now),
            seen=len(rows),
            next_in=_positive(await connection.fetchval(sql("next_claim"), request.now)),
            ended=tally(ended),
        )

    async def _write(self, connection: Connection, verdicts: Verdicts, now: datetime) -> tuple[list[str], list[Ending]]:
        """Writes the verdicts; answers with the nodes that must stop something, and with what is over."""
        await _assign(connection, verdicts.assign, now)
        await _defer(connection, verdicts.defer)
        await _leave(connection, verdicts.leave, now)
        await _fan_out(connection, verdicts.fan_out)
        nodes, replaced = await _make_room(connection, verdicts.make_room, now)
        return nodes, replaced + await end_pending(connection, verdicts.end, now)

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
                image_digest=settled_digest(row["earlier_attempts"]),
            )
            for assign in assigned
            for row in (by_id[assign.candidate.run_id],)
        ]


async def _lock(connection: Connection, request: ClaimRequest, rooms: Sequence[Room]) -> list[asyncpg.Record]:
    """Candidates of both lanes; of those with weight only as many as there are free slots, and none without rooms."""
    lead = request.lead or timedelta(0)
    slots = sum(max(room.slots, 0) for room in rooms)
    window = sum(max(room.window, 0) for room in rooms)
    here = [room.node.id for room in rooms]
    rows: list[asyncpg.Record] = []
    for weightless, room in ((False, slots), (True, window)):
        batch = min(room, request.limit - len(rows))
        if batch > 0:
            rows += await connection.fetch(sql("claim_candidates"), weightless, lead, batch, request.now, here)
    return rows


async def _situation(
    connection: Connection,
    request: ClaimRequest,
    candidates: Sequence[Candidate],
    holders: dict[Place, list[Holder]],
    rooms: list[Room],
    now: datetime,
) -> Situation:
    groups = {c.policies.group for c in candidates if c.policies.group and c.locked}
    return Situation(
        now=now,
        lead=request.lead or timedelta(0),
        rooms=rooms,
        holders=holders,
        queues=await _queues(connection, holders),
        groups=await _group_slots(connection, groups),
        here=Fleet([room.node for room in rooms]),
        elsewhere=Fleet(await _nodes_elsewhere(connection, request.offers)),
        live=await _live(connection, {c.task_id for c in candidates if c.need.spread}),
    )


async def _find_targets(connection: Connection, candidates: Sequence[Candidate], nodes: Sequence[Node]) -> None:
    """Only what is asked for: a node may have hundreds of containers."""
    if wanted := {candidate.need.target for candidate in candidates if candidate.need.target}:
        rows = await connection.fetch(sql("nodes_with"), list(wanted))
        found = {row["node_id"]: row["targets"] for row in rows}
        for node in nodes:
            node.targets = found.get(node.id, [])


async def _nodes_elsewhere(connection: Connection, offers: Iterable[NodeOffer]) -> list[Node]:
    rows = await connection.fetch(sql("nodes_elsewhere"), [offer.node_id for offer in offers])
    nodes = [seen_node_of(row) for row in rows]
    return [node for node in nodes if node.state is NodeState.READY]


def _candidate(
    row: asyncpg.Record, known: dict[tuple[UUID, int], Definition], elder_claim_at: datetime | None
) -> Candidate:
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
        meant_for=row["meant_for"],
        pinned=row["pinned"],
        elder_claim_at=elder_claim_at,
    )


async def _rooms(connection: Connection, offers: Iterable[NodeOffer]) -> list[Room]:
    offered = {offer.node_id: offer for offer in offers}
    rooms: list[Room] = []
    incarnations = [offer.incarnation for offer in offered.values()]
    for row in await connection.fetch(sql("offered_nodes"), list(offered), incarnations):
        offer = offered[row["id"]]
        if offer.free is None:
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


async def _standing(
    connection: Connection, rows: Sequence[asyncpg.Record], at_hand: datetime
) -> tuple[dict[Place, list[Holder]], dict[UUID, datetime]]:
    """Who holds the places of tasks that are ours to decide on, and when elder runs can be claimed, by candidate."""
    serial = [row for row in rows if row["serial"] and row["locked"]]
    if not serial:
        return {}, {}
    in_line = [row for row in serial if row["slot"] is None]
    found = await connection.fetch(
        sql("standing"),
        list({row["task_id"] for row in serial}),
        [row["id"] for row in rows],
        *([row[name] for row in in_line] for name in ("id", "task_id", "pinned", "scheduled_at")),
        at_hand,
    )
    holders: dict[Place, list[Holder]] = {}
    for row in found:
        if row["slot"] is not None:
            holder = Holder(row["id"], row["slot"], STATE[row["state"]], row["recalled"])
            holders.setdefault((row["task_id"], row["pinned"]), []).append(holder)
    return holders, {row["id"]: row["elder_claim_at"] for row in found if row["slot"] is None}


async def _queues(connection: Connection, holders: Iterable[Place]) -> dict[Place, Queue]:
    """Only tasks with a live run can have runs that wait."""
    tasks = {task_id for task_id, _ in holders}
    if not tasks:
        return {}
    rows = await connection.fetch(sql("queues"), list(tasks))
    return {(row["task_id"], row["pinned"]): Queue(row["length"], row["newest"]) for row in rows}


async def _live(connection: Connection, tasks: Iterable[UUID]) -> dict[UUID, dict[str, int]]:
    """How many live runs tasks have on each node."""
    wanted = list(tasks)
    found: dict[UUID, dict[str, int]] = {}
    if wanted:
        for row in await connection.fetch(sql("live_by_node"), wanted):
            found.setdefault(row["task_id"], {})[row["node_id"]] = row["runs"]
    return found


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


async def _leave(connection: Connection, left: Sequence[Leave], now: datetime) -> None:
    if left:
        ids, nodes = [leave.run_id for leave in left], [leave.node_id for leave in left]
        await connection.execute(sql("mean_for"), ids, nodes, now + LEFT)


async def _fan_out(connection: Connection, fanned: Sequence[FanOut]) -> None:
    """The run becomes that of the first node; each other one gets a copy, with an id of its own."""
    if not fanned:
        return
    copies = [
        (fan.run_id, node_run_id(fan.run_id, node.id), node.id, _alone(node))
        for fan in fanned
        for node in fan.nodes[1:]
    ]
    first = [(fan.run_id, fan.nodes[0].id, _alone(fan.nodes[0])) for fan in fanned]
    if copies:
        await connection.execute(sql("pinned_copies"), *map(list, zip(*copies, strict=True)))
    await connection.execute(sql("pin"), *map(list, zip(*first, strict=True)))


def _alone(node: Node) -> str:
    return f"it is for node {node.hostname} alone, which has not taken it yet"


async def _make_room(
    connection: Connection, stops: Sequence[MakeRoom], now: datetime
) -> tuple[list[str], list[Ending]]:
    """Asks nodes to stop runs; a run that only waits for its next attempt ends at once."""
    nodes: list[str] = []
    ended: list[Ending] = []
    for kill in (False, True):
        ids = [stop.run_id for stop in stops if stop.kill is kill]
        if ids:
            rows = await connection.fetch(sql("recall_runs"), ids, "terminate" if kill else "replace")
            nodes += [row["node_id"] for row in rows]
            reached = {row["id"] for row in rows}
            message = "a later run of the task took its place"
            left = [End(i, RunState.CANCELLED, Reason.REPLACED, message) for i in ids if i not in reached]
            ended += await end_pending(connection, left, now)
    return nodes, ended


async def end_pending(connection: Connection, ended: Sequence[End], now: datetime) -> list[Ending]:
    """Moves runs that end without a node to history, and passes on the places they held; answers with those it did."""
    if not ended:
        return []
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
    over = {row["id"] for row in rows}
    return [(end.state, end.reason, 1) for end in ended if end.run_id in over]


async def release(connection: Connection, ended: Iterable[asyncpg.Record], now: datetime | None) -> int:
    """Lets the next waiting runs of tasks with freed places take their turn; answers how many."""
    freed = Counter((row["task_id"], row["pinned"]) for row in ended if row["held"])
    if not freed:
        return 0
    tasks, pinned = [task_id for task_id, _ in freed], [node_id for _, node_id in freed]
    rows = await connection.fetch(sql("release_waiting"), tasks, pinned, list(freed.values()), now)
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
