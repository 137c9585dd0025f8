"""A runner of containers on a real Docker engine, and the way to look at the engine past it."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from dts.docker.engine import Engine
from dts.pb.dts.v1 import ContainerKind, Kind, LogStream, PullPolicy, Resources, WorkSpec
from dts.roles.executor.container.runner import ContainerRunner
from dts.roles.executor.work import Ended, Job, Work
from support.engine import IMAGE, Api
from support.polling import eventually

JSON = "application/json"
SCHEDULED_AT = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def now() -> datetime:
    return datetime.now(UTC)


class Printed:
    """What attempts printed."""

    def __init__(self) -> None:
        self.bytes: dict[LogStream, bytearray] = defaultdict(bytearray)

    async def emit(self, stream: LogStream, content: bytes) -> None:
        self.bytes[stream] += content

    @property
    def out(self) -> str:
        return self.bytes[LogStream.STDOUT].decode()

    @property
    def err(self) -> str:
        return self.bytes[LogStream.STDERR].decode()


@dataclass
class Bench:
    """A runner on an engine, and the way to look at the engine past it."""

    api: Api
    engine: Engine
    owner: str
    runner: ContainerRunner
    printed: Printed = field(default_factory=Printed)
    _attempts: Iterator[int] = field(default_factory=lambda: count(1))

    @classmethod
    @asynccontextmanager
    async def on(cls, host: str, owner: str = "", *, behind: str = "") -> AsyncIterator[Bench]:
        owner = owner or f"test-{uuid4()}"
        engine = Engine.connect(host)
        bench = cls(Api(behind or host), engine, owner, new_runner(engine, owner))
        try:
            yield bench
        finally:
            await engine.close()
            bench._clear()

    def job(self, script: str = "", *, resources: Resources | None = None, **kind: Any) -> Job:
        """A job that runs a script, or what `kind` says."""
        given: dict[str, Any] = {"image": IMAGE, "pull": PullPolicy.NEVER, "command": ["sh", "-c", script]} | kind
        spec = WorkSpec(task="night", kind=Kind(container=ContainerKind(**given)), resources=resources)
        return Job(
            run_id=uuid4(),
            attempt=next(self._attempts),
            scheduled_at=SCHEDULED_AT,
            previous_success_at=None,
            spec=spec,
            parameters={"color": "red"},
        )

    async def start(self, job: Job) -> Work:
        work = await self.runner.prepare(job)
        await work.start()
        return work

    async def run(self, job: Job) -> Ended:
        work = await self.start(job)
        try:
            return await asyncio.wait_for(work.wait(self.printed.emit), 60)
        finally:
            await work.discard()

    async def has_printed(self, text: str) -> None:
        await eventually(lambda: text in self.printed.out)

    @asynccontextmanager
    async def successor(self) -> AsyncIterator[Bench]:
        """What the next incarnation of the executor has."""
        async with Bench.on(self.api.host, self.owner) as bench:
            yield bench

    async def touch(self, container: str, path: str) -> None:
        """Makes a file in a running container: a signal to its script."""
        create = json.dumps({"Cmd": ["touch", path]}).encode()
        made = json.loads(self.api.call("POST", f"/containers/{container}/exec", create, content=JSON))
        self.api.call("POST", f"/exec/{made['Id']}/start", b'{"Detach": true}', content=JSON)

    def containers(self) -> dict[str, str]:
        """Name and state of all containers of the owner."""
        found = self.api.containers(f"dts.owner={self.owner}")
        return {one["Names"][0].removeprefix("/"): one["State"] for one in found}

    def _clear(self) -> None:
        with suppress(OSError):
            for one in self.api.containers(f"dts.owner={self.owner}"):
                self.api.remove(one["Id"])


@dataclass
class Proxy:
    """Stands before an engine and breaks its connections, as a restart without loss or a network does."""

    path: Path
    engine: str
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def host(self) -> str:
        return f"unix://{self.path}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Proxy]:
        server = await asyncio.start_unix_server(self._serve, self.path)
        try:
            yield self
        finally:
            server.close()
            self.break_all()

    @asynccontextmanager
    async def down(self) -> AsyncIterator[None]:
        """Nobody gets through."""
        engine, self.engine = self.engine, "unix:///nowhere"
        self.break_all()
        yield
        self.engine = engine

    def break_all(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_unix_connection(self.engine.removeprefix("unix://"))
        except OSError:
            return writer.transport.abort()
        self._writers += [writer, up_writer]
        with suppress(ConnectionError):
            await asyncio.gather(_pump(reader, up_writer), _pump(up_reader, writer))
        return None


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.fixture
async def proxy(docker_host: str) -> AsyncIterator[Proxy]:
    with tempfile.TemporaryDirectory() as directory:
        async with Proxy(Path(directory) / "p.sock", docker_host).running() as proxy:
            yield proxy


def new_runner(engine: Engine, owner: str) -> ContainerRunner:
    return ContainerRunner(engine=engine, node="n1", owner=owner, now=now, rand=lambda: 0.5, pull_pause=0.01)


def name(job: Job) -> str:
    return f"dts-{job.run_id}-{job.attempt}"


def key(job: Job) -> tuple[UUID, int]:
    return job.run_id, job.attempt


@pytest.fixture
async def bench(docker_host: str) -> AsyncIterator[Bench]:
    async with Bench.on(docker_host) as bench:
        yield bench
