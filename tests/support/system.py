"""dts as a user starts it: `dts dev` in one process, or its five roles as five processes on loopback."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from dts.app.pki import issue, make_ca
from dts.domain.seal_keys import new_key_line
from dts.domain.tokens import new_secret
from dts.pb.dts.v1 import SchedulerServiceStub, TaskDefinitionServiceStub
from dts.rpc.address import HostPort
from dts.rpc.channel import Channel, connect
from dts.rpc.stubs import stub
from dts.rpc.tls import people

ROLES = ("database", "definition", "scheduler", "executor", "gateway")
DTS = (sys.executable, "-m", "dts")
TOKEN = "token-of-the-tests-long-enough-to-be-taken"
READY_SECONDS = 60.0


@dataclass(slots=True)
class Program:
    """A running dts. words: what it said on standard output before it was ready, line by line."""

    process: asyncio.subprocess.Process
    words: list[str]
    grpc: str
    http: str
    log: Path

    async def kill(self) -> None:
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> int:
        """Asks it to end, and waits; its exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), 30)


@dataclass(frozen=True, slots=True)
class Done:
    """What a finished command printed."""

    code: int
    out: str
    err: str


@dataclass(slots=True)
class System:
    """One installation. grpc: where people call. environment: what its command line needs."""

    grpc: str
    http: str
    data: Path
    environment: Mapping[str, str]
    programs: dict[str, Program] = field(default_factory=dict)

    async def dts(self, *arguments: str, given: str | None = None) -> Done:
        """Runs the command line as a script does: with pipes."""
        return await run_dts(*arguments, environment=self.environment, given=given)

    @asynccontextmanager
    async def channel(self, token: str | None = None) -> AsyncIterator[Channel]:
        """The way to the public services, for whom the token is of; for those who may do everything if None."""
        ca = self.environment.get("DTS_TLS_CA")
        shown = token or self.environment["DTS_TOKEN"]
        with closing(connect([HostPort.parse(self.grpc)], token=shown, tls=people(ca) if ca else None)) as channel:
            yield channel

    @asynccontextmanager
    async def calls(self) -> AsyncIterator[Calls]:
        """The public services."""
        async with self.channel() as channel:
            yield Calls(stub(TaskDefinitionServiceStub, channel), stub(SchedulerServiceStub, channel))


@dataclass(frozen=True, slots=True)
class Calls:
    """The public services."""

    tasks: TaskDefinitionServiceStub
    scheduler: SchedulerServiceStub


async def run_dts(*arguments: str, environment: Mapping[str, str], given: str | None = None) -> Done:
    """Runs one command and returns what it printed."""
    process = await asyncio.create_subprocess_exec(
        *DTS,
        *arguments,
        stdin=asyncio.subprocess.PIPE if given is not None else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=_environment(environment),
    )
    out, err = await process.communicate(given.encode() if given is not None else None)
    return Done(process.returncode or 0, out.decode(), err.decode())


async def start(*arguments: str, environment: Mapping[str, str], log: Path, command: Sequence[str] = DTS) -> Program:
    """Starts a dts and waits until it says that it is ready. command: how; a broken build has its own.

    Raises:
        AssertionError: it ended instead; the message has its last words.
    """
    with log.open("ab") as file:
        process = await asyncio.create_subprocess_exec(
            *command, *arguments, stdout=asyncio.subprocess.PIPE, stderr=file, env=_environment(environment)
        )
    assert process.stdout is not None
    words: list[str] = []
    async with asyncio.timeout(READY_SECONDS):
        async for line in process.stdout:
            words.append(line.decode().rstrip())
            if words[-1].startswith("ready"):
                return Program(process, words, _after("grpc", words[-1]), _after("http", words[-1]), log)
    last_words = await asyncio.to_thread(log.read_text)
    raise AssertionError(f"{arguments}: not ready: {words} {last_words[-2000:]}")


@asynccontextmanager
async def dev(data: Path, *arguments: str, environment: Mapping[str, str]) -> AsyncIterator[System]:
    """All roles in one process."""
    environment = {"DTS_TOKEN": TOKEN, "DTS_DATA": str(data), **environment}
    log = data / "dts.log"
    program = await start(
        "dev", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", *arguments, environment=environment, log=log
    )
    try:
        public = environment | {"DTS_SERVER": program.grpc}
        yield System(program.grpc, program.http, data, public, {"dev": program})
    finally:
        await program.stop()


@asynccontextmanager
async def five(data: Path, *, environment: Mapping[str, str], secure: bool = False) -> AsyncIterator[System]:
    """Each role a process of its own.

    Args:
        data: a directory that it may fill.
        environment: settings of all of them.
        secure: they know each other by certificates, and people by access tokens, as in a Swarm.
    """
    shared = {"DTS_ALLOW_PROCESS": "true", **environment}
    people_show = {"DTS_TOKEN": TOKEN}
    own = {role: {"DTS_TOKEN": TOKEN} for role in ROLES}
    if secure:
        people_show, own = _secured(data)
    own["scheduler"]["DTS_SEAL_KEY_FILE"] = str(_seal_key(data))
    programs: dict[str, Program] = {}
    async with AsyncExitStack() as stack:
        for role in ROLES:
            home = data / role
            home.mkdir()
            peers = {f"DTS_{name.upper()}_ADDR": program.grpc for name, program in programs.items()}
            peers = {
                name: at for name, at in peers.items() if name.split("_")[1] in {"DATABASE", "DEFINITION", "SCHEDULER"}
            }
            programs[role] = await start(
                *("serve", "--role", role, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"),
                environment={**shared, **peers, **own[role], "DTS_DATA": str(home)},
                log=data / f"{role}.log",
            )
            stack.push_async_callback(programs[role].stop)
        gateway = programs["gateway"]
        public = {**shared, **people_show, "DTS_SERVER": gateway.grpc, "DTS_DATA": str(data)}
        yield System(gateway.grpc, gateway.http, data, public, programs)


def _seal_key(data: Path) -> Path:
    path = data / "seal-key"
    path.write_text(new_key_line(random.SystemRandom().getrandbits))
    return path


def _secured(data: Path) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """What people need, and what each role needs, where there are certificates."""
    now = datetime.now(UTC)
    ca = make_ca(data / "pki", now=now)
    secret = new_secret(random.SystemRandom().getrandbits)
    first = data / "pki" / "admin-token"
    first.write_text(secret)
    files = {role: str(issue(data / "pki", [role], now=now).path) for role in ROLES}
    own = {role: {"DTS_TLS_CA": str(ca.path), "DTS_TLS_CERT": file} for role, file in files.items()}
    own["database"] |= {"DTS_ADMIN_TOKEN_FILE": str(first)}
    return {"DTS_TLS_CA": str(ca.path), "DTS_TOKEN": secret}, own


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    """Ours without any setting of dts, and what is given."""
    return {name: value for name, value in os.environ.items() if not name.startswith("DTS_")} | dict(given)


def _after(name: str, line: str) -> str:
    match = re.search(rf"{name}=(\S+)", line)
    return match[1] if match else ""
