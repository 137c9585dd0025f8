"""An executor with a runner and a log store that do what a test says."""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

from dts.domain.errors import Unavailable
from dts.domain.ids import parse_id
from dts.pb.dts.v1 import (
    AppendLogsRequest,
    AppendLogsResponse,
    Kind,
    LogEntry,
    LogStream,
    Node,
    NoopKind,
    ProcessKind,
    WorkSpec,
)
from dts.roles.executor.executor import Executor
from dts.roles.executor.ports import LogPort, SchedulerPort
from dts.roles.executor.work import Emit, Ended, Job, Refused, Runner, Work
from support.polling import eventually
from support.scheduler import Key, ScriptedScheduler

NOOP = WorkSpec(task_id=str(uuid4()), task="nothing", version=1, kind=Kind(noop=NoopKind()))


def process(*, timeout: float = 0, grace: float = 1) -> WorkSpec:
    """A task of the kind that ScriptedRunner stands for."""
    return WorkSpec(
        task_id=str(uuid4()),
        task="work",
        version=1,
        kind=Kind(process=ProcessKind()),
        timeout=timedelta(seconds=timeout),
        stop_grace=timedelta(seconds=grace),
    )


class ScriptedWork:
    """Runs until the test says how it ends, or until it is stopped."""

    image_digest = "sha256:abc"

    def __init__(self, job: Job, log: list[str], *, obeys: bool = True) -> None:
        self.job = job
        self.handle = ""
        self.started_at = 0.0
        self.emit: Emit | None = None
        self.refusal: Refused | None = None
        self.discarded = 0
        self.discarding = False
        self.discards = asyncio.Event()
        self.discards.set()
        """Cleared while what is left of it cannot be removed."""
        self.failure: Exception | None = None
        """What goes wrong in `wait`."""
        self.start_takes = 0.0
        self.answer_takes = 0.0
        """How long after the start that is confirmed."""
        self.tells = False
        """Whether somebody knows when it started."""
        self._log = log
        self._obeys = obeys
        self._ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()

    def end(self, code: int | None = 0, *, oom: bool = False, cpu: float = 0, memory: int = 0, why: str = "") -> None:
        """Ends it."""
        if not self._ended.done():
            self._ended.set_result(Ended(code, oom, timedelta(seconds=cpu), memory, why=why))

    async def start(self) -> None:
        """Starts, or refuses."""
        self._log.append("start")
        await asyncio.sleep(self.start_takes)
        self.started_at = time.monotonic()
        if self.refusal is not None:
            raise self.refusal
        self.handle = "1234"
        await asyncio.sleep(self.answer_takes)

    async def started_ago(self) -> timedelta | None:
        """As the test says."""
        return timedelta(seconds=time.monotonic() - self.started_at) if self.tells else None

    async def wait(self, emit: Emit) -> Ended:
        """Waits for the end."""
        self.emit = emit
        if self.failure is not None:
            raise self.failure
        return await self._ended

    async def stop(self, *, grace: timedelta) -> None:
        """Stops, if it obeys; else only a kill helps."""
        self._log.append(f"stop {grace.total_seconds():g}")
        if self._obeys:
            self.end(143)
        await asyncio.wait([self._ended])

    async def kill(self) -> None:
        """Kills."""
        self._log.append("kill")
        self.end(137)

    async def discard(self) -> None:
        """Counts, as soon as it can."""
        self.discarding = True
        await self.discards.wait()
        self._log.append("discard")
        self.discarded += 1


class ScriptedRunner:
    """Prepares works that do what the test says."""

    def __init__(self, *, obeys: bool = True) -> None:
        self.works: dict[Key, ScriptedWork] = {}
        self.log: list[str] = []
        self.refusal: Refused | None = None
        self.prepared = asyncio.Event()
        self.prepared.set()
        self.left: dict[Key, ScriptedWork] = {}
        """What `find` finds."""
        self.sought: list[Sequence[Job]] = []
        self.find_errors = 0
        self.why_missing = ""
        self.start_takes = 0.0
        self.answer_takes = 0.0
        self.tells = False
        self._obeys = obeys

    async def missing(self) -> str:
        """What the test said."""
        return self.why_missing

    async def prepare(self, job: Job) -> Work:
        """Waits until the test lets it."""
        await self.prepared.wait()
        if self.refusal is not None:
            raise self.refusal
        self.works[job.key] = work = ScriptedWork(job, self.log, obeys=self._obeys)
        work.start_takes, work.answer_takes, work.tells = self.start_takes, self.answer_takes, self.tells
        return work

    async def find(self, jobs: Sequence[Job]) -> dict[tuple[UUID, int], Work]:
        """Answers with what the test left."""
        if self.find_errors:
            self.find_errors -= 1
            raise Unavailable("the engine does not answer")
        self.sought.append(jobs)
        return {job.key: self.left[job.key] for job in jobs if job.key in self.left}


@dataclass
class LogShelf:
    """A log store in memory."""

    away: bool = False
    requests: list[AppendLogsRequest] = field(default_factory=list)

    async def append_logs(self, message: AppendLogsRequest, /) -> AppendLogsResponse:
        """Keeps what it is given."""
        if self.away:
            raise Unavailable("the log store is away")
        parse_id(message.incarnation, field="incarnation")  # as the real one does
        self.requests.append(message)
        return AppendLogsResponse(stored=len(self.entries))

    @property
    def entries(self) -> list[LogEntry]:
        """Every piece, in the order of arrival."""
        return [entry for request in self.requests if request.batch for entry in request.batch.entries]

    def pieces(self, stream: LogStream = LogStream.STDOUT) -> list[tuple[int, bytes, int]]:
        """Offset, content and cut of the pieces of a stream."""
        chunks = [(entry, entry.chunk) for entry in self.entries]
        return [
            (chunk.offset, zlib.decompress(chunk.content) if entry.compressed else chunk.content, chunk.cut_before)
            for entry, chunk in chunks
            if chunk is not None and chunk.stream is stream
        ]


def make_executor(
    scheduler: SchedulerPort,
    data_dir: Path,
    *,
    runners: Mapping[str, Runner] | None = None,
    logs: LogPort | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Executor:
    """An executor of a node `here`, with a new incarnation."""
    incarnation = str(uuid4())

    async def node() -> Node:
        return Node(id="n1", hostname="here", incarnation=incarnation, kinds=["noop"])

    return Executor(
        scheduler=scheduler,
        log_store=logs or LogShelf(),
        data_dir=data_dir,
        node=node,
        runners=runners or {},
        monotonic=time.monotonic,
        now=now,
        rand=lambda: 0.5,
    )


@asynccontextmanager
async def running(
    scheduler: ScriptedScheduler,
    data_dir: Path,
    *,
    runners: Mapping[str, Runner] | None = None,
    logs: LogPort | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> AsyncIterator[Executor]:
    """The same, at work and attached; in the end it is cancelled, as when its process stops."""
    executor = make_executor(scheduler, data_dir, runners=runners, logs=logs, now=now)
    task = asyncio.create_task(executor.run())
    try:
        await eventually(lambda: executor.attached)
        yield executor
    finally:
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error
