"""Upkeep: what is over is settled, partitions come and go. Safe to run on any replica, any number at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import asyncpg

from dts.domain.definition import Definition
from dts.domain.ids import EPOCH
from dts.domain.runs import Outcome, after_attempt
from dts.domain.verdicts import End
from dts.pb.dts.v1 import (
    Attempt,
    DescribeDatabaseResponse,
    MaintainRequest,
    MaintainResponse,
    NodeLoss,
    Reason,
    RunState,
    SweepRequest,
    SweepResponse,
)
from dts.store.claims import end_pending, release
from dts.store.definitions import Definitions
from dts.store.giveback import give_back
from dts.store.pool import Connection, errors
from dts.store.queries import sql
from dts.store.rows import word
from dts.store.tallies import Ending, tally
from dts.store.transactions import in_transaction
from dts.store.wakeups import Wakeups

BATCH = 500
DAYS_AHEAD = 7
LONG_SECONDS = 300
"""What a statement about a whole day of history may take; it is done once a day and holds nobody up."""

DEFAULT_KEEP = timedelta(days=30)
COME_BACK = timedelta(seconds=10)
"""How long a node may take to say hello once it was found silent: its lease is also over when nobody could renew it,
because the database, the network or every scheduler was away. An executor tries again every five seconds."""

LOST = "its node fell silent and did not come back in time"


class UpkeepStore:
    """Duties without an owner."""

    def __init__(
        self, pool: asyncpg.Pool, definitions: Definitions, wakeups: Wakeups, rand: Callable[[], float]
    ) -> None:
        self._pool = pool
        self._definitions = definitions
        self._wakeups = wakeups
        self._rand = rand

    async def sweep(self, request: SweepRequest) -> SweepResponse:
        """Leases that are over, nodes that stay silent, deadlines that passed, turns that were not passed on."""

        async def work(connection: Connection) -> SweepResponse:
            now: datetime = request.now or await connection.fetchval("SELECT now()")
            unknown = await connection.fetch(sql("silence_nodes"), now)
            lost, failed = await self._give_up_silent(connection, now)
            expired = await _expire(connection, now)
            return SweepResponse(
                unknown=len(unknown),
                lost=lost,
                expired=len(expired),
                released=await _release_stranded(connection, self._definitions, now),
                ended=tally([*failed, *expired]),
            )

        response = await in_transaction(self._pool, work)
        if response.lost or response.expired or response.released:
            self._wakeups.wake("runs")
        return response

    async def maintain(self, request: MaintainRequest) -> MaintainResponse:
        """Makes the partitions of the coming days, drops those that are too old; forgets alerts of deleted tasks."""
        keep = request.keep or DEFAULT_KEEP

        async def work(connection: Connection) -> MaintainResponse:
            await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('dts partitions', 2))")
            await connection.execute(f"SET LOCAL statement_timeout = '{LONG_SECONDS}s'")
            now: datetime = request.now or await connection.fetchval("SELECT now()")
            rows = await connection.fetch(sql("partitions"))
            there = {(row["parent"], row["name"]) for row in rows}
            today = now.astimezone(UTC).date()
            created = await _create(connection, there, today)
            dropped = await _drop(connection, there, today - keep)
            await connection.execute(sql("forget_alerts"))
            if dropped:
                await connection.fetch(sql("prune_rest"), now - keep, timeout=LONG_SECONDS)
            return MaintainResponse(created=created, dropped=dropped)

        return await in_transaction(self._pool, work)

    async def clock(self) -> datetime:
        """What time it is in the database."""
        with errors():
            (row,) = await self._pool.fetch(sql("clock"))
        now: datetime = row[0]
        return now

    async def describe(self) -> DescribeDatabaseResponse:
        """How the database is."""
        with errors():
            (row,) = await self._pool.fetch(sql("describe"))
        return DescribeDatabaseResponse(
            schema_version=row["schema_version"] or 0,
            server_version=row["server_version"],
            now=row["now"],
            live_runs=row["live_runs"],
            oldest_wait=row["oldest_wait"],
            oldest_snapshot=row["oldest_snapshot"],
            transaction_age=row["transaction_age"],
            unsent=row["unsent"],
            oldest_unsent=row["oldest_unsent"],
        )

    async def _give_up_silent(self, connection: Connection, now: datetime) -> tuple[int, list[Ending]]:
        """How many runs were settled, and which of them are over."""
        over = await self._lost(connection, now)
        withdrawn = [row for row, definition in over if _only_withdrawn(row, definition)]
        lost = [(row, definition) for row, definition in over if not _only_withdrawn(row, definition)]
        again = [
            (row, definition, delay) for row, definition in lost if (delay := self._again(row, definition)) is not None
        ]
        failed = [row for row, _ in lost if row["id"] not in {kept["id"] for kept, _, _ in again}]
        if withdrawn:
            await give_back(connection, self._definitions, withdrawn)
        await _retry_lost(connection, again, now)
        await release(connection, await _end_lost(connection, failed, now), now)
        return len(over), [(*_end_of(row), 1) for row in failed]

    async def _lost(self, connection: Connection, now: datetime) -> list[tuple[asyncpg.Record, Definition]]:
        """Runs whose wait for their node is over; those that wait for days are passed over."""
        lost: list[tuple[asyncpg.Record, Definition]] = []
        last = (EPOCH, UUID(int=0))
        while len(lost) < BATCH:
            rows = await connection.fetch(sql("silent_runs"), *last, BATCH)
            known = await self._definitions.get(connection, [(row["task_id"], row["task_version"]) for row in rows])
            for row in rows:
                definition = known.get((row["task_id"], row["task_version"]))
                if definition is not None and _is_lost(row, definition, now):
                    lost.append((row, definition))
            if len(rows) < BATCH:
                break
            last = (rows[-1]["unknown_at"], rows[-1]["id"])
        return lost

    def _again(self, row: asyncpg.Record, definition: Definition) -> timedelta | None:
        """After what delay a lost run gets another attempt; None: it does not."""
        if row["recall"] is not None:
            return None
        if row["never_started"] or definition.policies.on_node_loss is NodeLoss.RERUN:
            return timedelta(0)
        if definition.policies.on_node_loss is NodeLoss.FAIL:
            return None
        outcome = Outcome(RunState.FAILED, Reason.NODE_LOST)
        retry = after_attempt(
            outcome, definition.policies, failures=row["failures"] + 1, stop_asked=False, rand=self._rand()
        )
        return retry.delay if retry else None


def _is_lost(row: asyncpg.Record, definition: Definition, now: datetime) -> bool:
    """Whether the wait for the node is over. It has a moment in any case: we may have been away, and not the node."""
    waits = definition.policies.on_node_loss is NodeLoss.WAIT
    patience = max(COME_BACK, definition.policies.node_loss_wait) if waits else COME_BACK
    unknown_at: datetime = row["unknown_at"]
    return now - unknown_at >= patience


def _only_withdrawn(row: asyncpg.Record, definition: Definition) -> bool:
    """Whether it is a tick that an edit asked back before it started: it runs only if it still counts."""
    harmless = row["never_started"] or definition.policies.on_node_loss is NodeLoss.RERUN
    return row["recall"] == "withdraw" and row["started_at"] is None and harmless


async def _retry_lost(
    connection: Connection, again: Sequence[tuple[asyncpg.Record, Definition, timedelta]], now: datetime
) -> None:
    if again:
        await connection.fetch(
            sql("retry"),
            [row["id"] for row, _, _ in again],
            [now + delay for _, _, delay in again],
            [row["failures"] + (not row["never_started"]) for row, _, _ in again],
            [word(Reason.NODE_LOST)] * len(again),
            [_lost(row) for row, _, _ in again],
            [json.dumps([*(row["earlier_attempts"] or []), _lost_attempt(row, now)]) for row, _, _ in again],
        )


def _lost_attempt(row: asyncpg.Record, now: datetime) -> Mapping[str, object]:
    attempt = Attempt(
        number=row["attempt"],
        node=row["hostname"] or row["node_id"] or "",
        state=RunState.FAILED,
        reason=Reason.NODE_LOST,
        message=_lost(row),
        assigned_at=row["assigned_at"],
        started_at=row["started_at"],
        finished_at=now,
    )
    return attempt.to_dict()


async def _end_lost(connection: Connection, rows: Sequence[asyncpg.Record], now: datetime) -> list[asyncpg.Record]:
    if not rows:
        return []
    ends = [_end_of(row) for row in rows]
    return await connection.fetch(
        sql("end_on_node"),
        [row["id"] for row in rows],
        [word(state) for state, _ in ends],
        [word(reason) for _, reason in ends],
        [_lost(row) for row in rows],
        now,
    )


def _end_of(row: asyncpg.Record) -> tuple[RunState, Reason]:
    """How a lost run ends; it may have been asked to stop before its node fell silent."""
    if row["recall"] not in {"cancel", "replace", "terminate"}:
        return RunState.FAILED, Reason.NODE_LOST
    return RunState.CANCELLED, Reason.CANCELLED if row["recall"] == "cancel" else Reason.REPLACED


def _lost(row: asyncpg.Record) -> str:
    """What people read."""
    doubtful = row["started_at"] is None and not row["never_started"]
    return f"{LOST}; whether it had started is not known" if doubtful else LOST


async def _expire(connection: Connection, now: datetime) -> list[Ending]:
    """Runs that no claim took before their start deadline."""
    rows = [
        row
        for weightless in (False, True)
        for row in await connection.fetch(sql("overdue_runs"), weightless, now, BATCH)
    ]
    ended = [
        End(
            row["id"],
            RunState.FAILED,
            Reason.NO_NODE if not row["node_id"] else Reason.START_DEADLINE,
            f"no node took it before its start deadline: {row['message'] or 'no node with room was attached'}",
        )
        for row in rows
    ]
    return await end_pending(connection, ended, now)


async def _release_stranded(connection: Connection, definitions: Definitions, now: datetime) -> int:
    places = await connection.fetch(sql("stranded_waiters"))
    known = await definitions.get(connection, [(row["task_id"], row["version"]) for row in places])
    free = [
        (row["task_id"], row["pinned"], definition.policies.max_parallel - row["turns"])
        for row in places
        if (definition := known.get((row["task_id"], row["version"]))) is not None
    ]
    stranded = [place for place in free if place[2] > 0]
    if not stranded:
        return 0
    return len(await connection.fetch(sql("release_waiting"), *map(list, zip(*stranded, strict=True)), now))


async def _create(connection: Connection, there: set[tuple[str, str]], today: date) -> list[str]:
    created: list[str] = []
    for parent in ("run_history", "log_chunk"):
        for ahead in range(-1, DAYS_AHEAD + 1):
            day = today + timedelta(days=ahead)
            name = f"{parent}_{day:%Y%m%d}"
            if (parent, name) not in there and not await _in_rest(connection, parent, day):
                bounds = f"FROM ('{day}') TO ('{day + timedelta(days=1)}')"
                await connection.execute(f"CREATE TABLE {name} PARTITION OF {parent} FOR VALUES {bounds}")
                created.append(name)
    return created


async def _in_rest(connection: Connection, parent: str, day: date) -> bool:
    """Rows that came before their partition stay where they are: the day goes without one."""
    column = "day" if parent == "log_chunk" else "scheduled_at"
    # Every name here is one of ours.
    rows = f"SELECT FROM {parent}_rest WHERE {column} >= '{day}' AND {column} < '{day + timedelta(days=1)}'"
    found: bool = await connection.fetchval(f"SELECT EXISTS ({rows})")
    return found


async def _drop(connection: Connection, there: set[tuple[str, str]], oldest: date) -> list[str]:
    """Drops partitions of days before `oldest`, after the rows that retention keeps were moved out of them."""
    dropped: list[str] = []
    for parent, name in sorted(there):
        if datetime.strptime(name[-8:], "%Y%m%d").replace(tzinfo=UTC).date() >= oldest:
            continue
        if parent == "run_history":
            await connection.execute(sql("keep_some").replace("partition_name", name), timeout=LONG_SECONDS)
        await connection.execute(f"ALTER TABLE {parent} DETACH PARTITION {name}")
        await connection.execute(f"DROP TABLE {name}")
        if parent == "run_history":
            await connection.execute("INSERT INTO run_history TABLE kept ON CONFLICT DO NOTHING; DROP TABLE kept")
        dropped.append(name)
    return dropped
