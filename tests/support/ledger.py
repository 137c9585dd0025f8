"""A store, a node that obeys, and the moves between them: what a scheduler and an executor do, one call at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from dts.domain.columns import pack, pack_ids, pack_keys, unpack_keys
from dts.domain.ids import uuid7
from dts.domain.ledger import HORIZON
from dts.pb.dts.v1 import (
    AttemptKeys,
    Capacity,
    ClaimRequest,
    Hello,
    Interval,
    Kind,
    ListRunsRequest,
    MaterialiseRequest,
    Node,
    NodeOffer,
    NodeState,
    NoopKind,
    Overlap,
    Policies,
    ProcessKind,
    Reason,
    RecordRequest,
    RecordResponse,
    RegisterNodeRequest,
    ReportDetail,
    Reports,
    RequestedRun,
    RequestRunsRequest,
    Resources,
    Rule,
    Run,
    RunState,
    SaveTasksRequest,
    Schedule,
    SweepRequest,
    TakeBackRequest,
    TakeBackResponse,
    TaskAction,
    TaskChange,
    TaskSpec,
    Trigger,
)
from dts.store.store import Store

Key = tuple[UUID, int]

LEASE = timedelta(seconds=10)
PROCESS = Kind(process=ProcessKind(command=["true"]))
NOOP = Kind(noop=NoopKind())


def every(seconds: float, **fields: Any) -> Schedule:
    """A fixed interval."""
    return Schedule(rules=[Rule(every=Interval(period=timedelta(seconds=seconds)))], **fields)


@dataclass(slots=True)
class Ledger:
    """A store with what tests do to it."""

    pool: asyncpg.Pool
    store: Store
    nodes: dict[str, str] = field(default_factory=dict)
    _numbers: Iterable[int] = field(default_factory=count)

    @classmethod
    def on(cls, pool: asyncpg.Pool) -> Ledger:
        """A store without chance."""
        return cls(pool, Store.on(pool, rand=lambda: 0.5, monotonic=lambda: 0.0))

    @classmethod
    async def with_nodes(cls, pool: asyncpg.Pool, *names: str) -> Ledger:
        """The same, with nodes that are called so."""
        ledger = cls.on(pool)
        for name in names:
            await ledger.node(name)
        return ledger

    async def now(self) -> datetime:
        """The database's clock."""
        now: datetime = await self.pool.fetchval("SELECT clock_timestamp()")
        return now

    async def task(self, name: str, schedule: Schedule | None = None, kind: Kind = PROCESS, **policies: Any) -> str:
        """Creates a task; answers with its id."""
        spec = TaskSpec(name=name, kind=kind, schedule=schedule, policies=Policies(**policies))
        task_id = str(uuid7(datetime.now(UTC), uuid4().int >> 48))
        await self.change(TaskChange(action=TaskAction.CREATE, task_id=task_id, spec=spec))
        return task_id

    async def change(self, *changes: TaskChange) -> None:
        """Saves changes together."""
        await self.store.tasks.save(SaveTasksRequest(changes=list(changes), actor="tester"))

    async def rewind(self, task_id: str, upto: datetime) -> None:
        """As if nothing had run since then."""
        statement = "UPDATE task_cursor SET upto = $2, next_due_at = $2, visit_at = $2 WHERE task_id = $1"
        await self.pool.execute(statement, UUID(task_id), upto)

    async def materialise(self, now: datetime | None = None) -> int:
        """Writes ticks until there is nothing to write; answers how many rows."""
        rows = 0
        while (
            response := await self.store.ledger.materialise(MaterialiseRequest(horizon=HORIZON, limit=500, now=now))
        ).tasks:
            rows += response.runs
            if response.tasks < 500 and not response.more:
                break
        return rows

    async def node(
        self, name: str = "alpha", *, slots: int = 100, held: Sequence[Key] = (), started_ago: int = -1, **fields: Any
    ) -> str:
        """Registers a node (again, with a new incarnation). started_ago: of what it holds, in microseconds."""
        incarnation = str(uuid4())
        capacity = Capacity(slots=slots, resources=Resources(cpus=64, memory=1 << 36))
        node = Node(
            **{
                "id": name,
                "hostname": name,
                "incarnation": incarnation,
                "kinds": ["process", "noop", "container"],
                "capacity": capacity,
                "state": NodeState.READY,
                **fields,
            }
        )
        hello = Hello(node=node, held=pack_keys(list(held)), held_started_ago=pack("q", [started_ago] * len(held)))
        self.nodes[name] = incarnation
        await self.store.nodes.register(RegisterNodeRequest(hello=hello, lease=LEASE))
        return incarnation

    async def claim(self, *names: str, now: datetime | None = None, limit: int = 1000, slots: int = 100) -> list[Key]:
        """Claims what is due for the nodes; answers with the attempts."""
        free = Capacity(slots=slots, resources=Resources(cpus=64, memory=1 << 36))
        offers = [
            NodeOffer(node_id=name, incarnation=self.nodes[name], free=free, free_window=10_000)
            for name in names or ("alpha",)
        ]
        response = await self.store.claims.claim(
            ClaimRequest(offers=offers, lead=timedelta(seconds=2), limit=limit, now=now)
        )
        return [
            key
            for work in response.assignments
            if work.assignments
            for key in unpack_keys(AttemptKeys(run_ids=work.assignments.run_ids, attempts=work.assignments.attempts))
        ]

    async def report(
        self,
        keys: Sequence[Key],
        state: RunState = RunState.SUCCEEDED,
        reason: Reason = Reason.OK,
        *,
        exit_code: int = 0,
        node: str = "alpha",
        incarnation: str | None = None,
        sent_at: datetime | None = None,
        detail: ReportDetail | None = None,
    ) -> RecordResponse:
        """Reports the same of all these attempts."""
        rows = len(keys)
        final = state is not RunState.RUNNING
        reports = Reports(
            run_ids=pack_ids([run_id for run_id, _ in keys]),
            attempts=pack("i", [attempt for _, attempt in keys]),
            states=pack("B", [int(state)] * rows),
            reasons=pack("B", [int(reason)] * rows),
            exit_codes=pack("i", [exit_code if final else -1] * rows),
            started_ago=pack("q", [1000] * rows),
            finished_ago=pack("q", [500 if final else -1] * rows),
            cpu_time=pack("q", [0] * rows),
            peak_memory=pack("q", [0] * rows),
            sent_at=sent_at,
            details=[replace(detail, index=row) for row in range(rows)] if detail else [],
        )
        request = RecordRequest(node_id=node, incarnation=incarnation or self.nodes[node], reports=reports)
        return await self.store.results.record(request)

    async def trigger(self, task_id: str, overlap: Overlap = Overlap.UNSPECIFIED) -> UUID:
        """Asks for a run."""
        run_id = uuid4()
        request = RequestRunsRequest(
            task_id=task_id, trigger=Trigger.MANUAL, runs=[RequestedRun(id=str(run_id))], overlap=overlap
        )
        await self.store.runs.request(request)
        return run_id

    async def run(self, run_id: UUID | str) -> Run:
        """A run as it stands."""
        found = await self.store.runs.find(str(run_id))
        assert found is not None
        return found

    async def runs(self, task_id: str) -> list[Run]:
        """The rows of a task, oldest first."""
        page = await self.store.runs.page(ListRunsRequest(task=task_id, page_size=1000))
        return list(reversed(page.runs))

    async def written(self, task_id: str) -> list[asyncpg.Record]:
        """The live rows of a task as they are stored, coming ticks among them, oldest first."""
        return await self.pool.fetch("SELECT * FROM run WHERE task_id = $1 ORDER BY scheduled_at", UUID(task_id))

    async def take_back(self, *keys: Key, node: str = "alpha") -> TakeBackResponse:
        """The node gives back what it has not started."""
        request = TakeBackRequest(node_id=node, incarnation=self.nodes[node], attempts=pack_keys(list(keys)))
        return await self.store.results.take_back(request)

    async def sweep(self, now: datetime | None = None) -> None:
        """Settles what is over."""
        await self.store.upkeep.sweep(SweepRequest(now=now))
