"""A scheduler for one executor: the test says what goes down and sees what comes up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from dts.domain.columns import pack, pack_ids, pack_keys, unpack, unpack_ids, unpack_keys
from dts.domain.errors import Unavailable
from dts.pb.dts.v1 import (
    Assignments,
    AttachRequest,
    AttachResponse,
    Heartbeat,
    Hello,
    LeaseRenewed,
    Parameters,
    Reason,
    Recall,
    ReportDetail,
    Reports,
    RunState,
    Welcome,
    WorkSpec,
)

Key = tuple[UUID, int]
EPOCH_MICROS = 1_790_000_000_000_000


@dataclass(frozen=True, slots=True)
class Report:
    """One row of the reports."""

    key: Key
    state: RunState
    reason: Reason
    exit_code: int
    started_ago: int
    finished_ago: int
    detail: ReportDetail
    sent_at: datetime | None

    @property
    def started_at(self) -> datetime:
        """By the database's clock."""
        assert self.sent_at is not None
        return self.sent_at - timedelta(microseconds=self.started_ago)

    @property
    def finished_at(self) -> datetime:
        """By the database's clock."""
        assert self.sent_at is not None
        return self.sent_at - timedelta(microseconds=self.finished_ago)


@dataclass
class ScriptedScheduler:
    """Answers as a scheduler would, unless it is told otherwise."""

    lease: timedelta = timedelta(seconds=10)
    heartbeat: timedelta = timedelta(seconds=2.5)
    acknowledges: bool = True
    renews: bool = True
    refuses: bool = False
    lingers: bool = False
    """Does not hear that the other side has ended the connection."""
    clock: Callable[[], datetime | None] = lambda: None
    """What it says that the database's shows."""
    hellos: list[Hello] = field(default_factory=list)
    heartbeats: list[Heartbeat] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    batches: int = 0
    recalled: list[Key] = field(default_factory=list)
    attached: bool = False
    _down: asyncio.Queue[AttachResponse | None] = field(default_factory=asyncio.Queue)

    async def attach(self, messages: AsyncIterator[AttachRequest], /) -> AsyncIterator[AttachResponse]:
        """One connection."""
        if self.refuses:
            raise Unavailable("the scheduler is away")
        hello = (await anext(messages)).hello
        assert hello is not None
        self.hellos.append(hello)
        down = self._down = asyncio.Queue()
        reader = asyncio.create_task(self._read(messages, down))
        if not self.lingers:
            reader.add_done_callback(lambda _: down.put_nowait(None))
        self.attached = True
        try:
            yield AttachResponse(welcome=Welcome(lease=self.lease, heartbeat=self.heartbeat, now=self.clock()))
            while (response := await down.get()) is not None:
                yield response
        finally:
            self.attached = False
            reader.cancel()

    def send(self, response: AttachResponse) -> None:
        """Sends anything."""
        self._down.put_nowait(response)

    def drop(self) -> None:
        """Ends the connection."""
        self._down.put_nowait(None)

    def recall(
        self,
        *keys: Key,
        reason: Reason = Reason.CANCELLED,
        kill: bool = False,
        unstarted_only: bool = False,
        fenced: bool = False,
    ) -> None:
        """Recalls attempts."""
        recall = Recall(
            attempts=pack_keys(keys), reason=reason, kill=kill, unstarted_only=unstarted_only, fenced=fenced
        )
        self.send(AttachResponse(recall=recall))

    def held(self) -> dict[Key, int]:
        """What the last Hello said the node holds."""
        hello = self.hellos[-1]
        keys = unpack_keys(hello.held)
        return dict(zip(keys, unpack("q", hello.held_started_ago, rows=len(keys), field="ago"), strict=True))

    def assign(
        self,
        keys: Iterable[Key],
        spec: WorkSpec,
        *,
        start_in: float = 0,
        start_by_in: float = 60,
        age: float = 0,
        read_at: datetime | None = None,
    ) -> None:
        """Hands over attempts of one task. Times in seconds."""
        message = assignments(
            list(keys),
            spec,
            start_in=round(start_in * 1e6),
            start_by_in=round(start_by_in * 1e6),
            age=round(age * 1e6),
        )
        message.read_at = read_at
        self.send(AttachResponse(assignments=message))

    def of(self, key: Key) -> list[Report]:
        """What was reported of an attempt."""
        return [report for report in self.reports if report.key == key]

    def final(self, key: Key) -> Report | None:
        """The last final report of an attempt."""
        return next((report for report in reversed(self.of(key)) if report.state is not RunState.RUNNING), None)

    async def _read(self, messages: AsyncIterator[AttachRequest], down: asyncio.Queue[AttachResponse | None]) -> None:
        async for message in messages:
            if message.heartbeat is not None:
                self.heartbeats.append(message.heartbeat)
                if self.renews:
                    renewed = LeaseRenewed(sequence=message.heartbeat.sequence, now=self.clock())
                    down.put_nowait(AttachResponse(lease=renewed))
            elif message.reports is not None:
                self._take(message.reports, down)
            elif message.recalled is not None:
                self.recalled.extend(unpack_keys(message.recalled))

    def _take(self, reports: Reports, down: asyncio.Queue[AttachResponse | None]) -> None:
        rows = decode(reports)
        self.reports.extend(rows)
        self.batches += 1
        finals = [row.key for row in rows if row.state is not RunState.RUNNING]
        if finals and self.acknowledges:
            down.put_nowait(AttachResponse(acknowledged=pack_keys(finals)))


def assignments(
    keys: list[Key],
    spec: WorkSpec,
    *,
    start_in: int = 0,
    start_by_in: int = 60_000_000,
    age: int = 0,
    parameters: Mapping[str, str] | None = None,
) -> Assignments:
    """Attempts of one task. Times in microseconds."""
    rows = len(keys)
    return Assignments(
        run_ids=pack_ids(run_id for run_id, _ in keys),
        attempts=pack("i", [number for _, number in keys]),
        scheduled_at=pack("q", [EPOCH_MICROS] * rows),
        start_in=pack("q", [start_in] * rows),
        start_by_in=pack("q", [start_by_in] * rows),
        previous_success_at=pack("q", [0] * rows),
        spec_index=pack("i", [0] * rows),
        specs=[bytes(spec)],
        parameters=[Parameters(index=0, parameters=dict(parameters))] if parameters else [],
        age=age,
    )


def decode(reports: Reports) -> list[Report]:
    """The rows of a message."""
    ids = unpack_ids(reports.run_ids)
    rows = len(ids)
    details = {detail.index: detail for detail in reports.details}
    columns = zip(
        ids,
        unpack("i", reports.attempts, rows=rows, field="attempts"),
        unpack("B", reports.states, rows=rows, field="states"),
        unpack("B", reports.reasons, rows=rows, field="reasons"),
        unpack("i", reports.exit_codes, rows=rows, field="exit_codes"),
        unpack("q", reports.started_ago, rows=rows, field="started_ago"),
        unpack("q", reports.finished_ago, rows=rows, field="finished_ago"),
        strict=True,
    )
    return [
        Report(
            (run_id, number),
            RunState(state),
            Reason(reason),
            code,
            started,
            finished,
            details.get(at) or ReportDetail(),
            reports.sent_at,
        )
        for at, (run_id, number, state, reason, code, started, finished) in enumerate(columns)
    ]
