"""The parts of an installation: processes that can be killed, frozen and started anew, and the cables between them."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from faults.gather import leftovers
from support.cables import Cable, cable
from support.system import DTS, Program, start

DATABASE = "postgres"
"""The name of the server at the end of a cable."""


@dataclass(slots=True)
class Part:
    """One process of dts.

    Attributes:
        name: such as `scheduler-1`.
        role: of dts.
        environment: its settings.
        log: where it writes.
        extra: settings that a fault adds for the next start, such as another clock.
        command: how dts is started; a broken build has its own.
    """

    name: str
    role: str
    environment: Mapping[str, str]
    log: Path
    command: Sequence[str] = DTS
    extra: dict[str, str] = field(default_factory=dict)
    cables: list[Cable] = field(default_factory=list)
    program: Program | None = None

    @property
    def alive(self) -> bool:
        """Whether its process is there."""
        return self.program is not None and self.program.process.returncode is None

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self.program is not None
        return self.program.process.pid

    async def start(self) -> None:
        """Starts it, waits until it takes calls, and plugs the cables that lead to it in again."""
        arguments = ("serve", "--role", self.role, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")
        environment = {**self.environment, **self.extra}
        self.program = await start(*arguments, environment=environment, log=self.log, command=self.command)
        for wire in self.cables:
            wire.target = self.program.grpc

    async def kill(self) -> None:
        """kill -9; nothing if it is gone already."""
        if self.alive:
            assert self.program is not None
            await self.program.kill()

    async def stop(self) -> None:
        """SIGTERM, and its end."""
        if self.program is not None:
            await self.program.stop()

    def freeze(self) -> None:
        """SIGSTOP."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


@dataclass(slots=True)
class Installation:
    """All parts and the cables between them, by the names of their ends: `(caller, callee)`."""

    data: Path
    parts: dict[str, Part] = field(default_factory=dict)
    cables: dict[tuple[str, str], Cable] = field(default_factory=dict)

    def of(self, role: str) -> list[Part]:
        """The parts with a role."""
        return [part for part in self.parts.values() if role in part.role.split(",")]

    def around(self, name: str) -> list[Cable]:
        """Every cable of a part."""
        return [wire for ends, wire in self.cables.items() if name in ends]

    def between(self, callers: str, callee: str) -> list[Cable]:
        """The cables from parts of a role, or from one part, to others."""
        return [wire for (one, other), wire in self.cables.items() if _fits(one, callers) and _fits(other, callee)]

    @property
    def gateway(self) -> str:
        """Where people call."""
        program = self.of("gateway")[0].program
        assert program is not None
        return program.grpc

    @property
    def texts(self) -> Iterator[Path]:
        """The log files of all parts."""
        return (part.log for part in self.parts.values())


WIRED = {
    "database": (DATABASE,),
    "definition": ("database",),
    "scheduler": ("database",),
    "executor": ("scheduler", "database"),
    "gateway": ("definition", "scheduler", "database"),
}
"""Whom a role calls; a role stands after those that it calls."""


def names(counts: Mapping[str, int]) -> dict[str, str]:
    """The parts and their roles, in the order in which they are started."""
    return {f"{role}-{number}": role for role in WIRED for number in range(1, counts.get(role, 1) + 1)}


@asynccontextmanager
async def installation(
    data: Path, *, socket: str, token: str, counts: Mapping[str, int], command: Sequence[str] = DTS
) -> AsyncIterator[Installation]:
    """Starts every part, and stops them in the end.

    Args:
        data: a directory for theirs.
        socket: of the PostgreSQL.
        token: that they share.
        counts: how many there are of a role; one of those that are not named.
        command: how dts is started.
    """
    made = Installation(data)
    async with AsyncExitStack() as stack:
        roles = names(counts)
        for name, role in roles.items():
            peers = [
                other for wired in WIRED[role] for other in ([DATABASE] if wired == DATABASE else _of(roles, wired))
            ]
            for peer in peers:
                made.cables[name, peer] = await stack.enter_async_context(cable(socket if peer == DATABASE else ""))
            made.parts[name] = _part(made, name, role, token=token, command=command)
        for part in made.parts.values():
            part.cables = [wire for (_, other), wire in made.cables.items() if other == part.name]
            await part.start()
            stack.push_async_callback(_end, part)
        yield made


@asynccontextmanager
async def alone(data: Path, *, dsn: str, token: str, command: Sequence[str] = DTS) -> AsyncIterator[Installation]:
    """All roles in one process: the cheapest installation."""
    home = data / "dts-1"
    home.mkdir()
    (data / "dts-1.witness").mkdir()
    environment = {"DTS_TOKEN": token, "DTS_DATA": str(home), "DTS_DSN": dsn, "DTS_LOG": "text"}
    environment |= {"DTS_ALLOW_PROCESS": "true", "DTS_NODE_NAME": "dts-1"}
    part = Part("dts-1", ",".join(WIRED), environment, data / "dts-1.log", command)
    await part.start()
    try:
        yield Installation(data, {part.name: part})
    finally:
        await _end(part)
        for left in leftovers(data):
            os.kill(int(left.handle), signal.SIGKILL)


async def _end(part: Part) -> None:
    if part.alive:
        part.thaw()
        with suppress(TimeoutError):
            await part.stop()
    await part.kill()


def _part(made: Installation, name: str, role: str, *, token: str, command: Sequence[str]) -> Part:
    home = made.data / name
    home.mkdir()
    environment = {"DTS_TOKEN": token, "DTS_DATA": str(home), "DTS_LOG": "text"}
    for peer in WIRED[role]:
        addresses = [wire.at for (one, other), wire in made.cables.items() if one == name and _fits(other, peer)]
        if peer == DATABASE:
            environment["DTS_DSN"] = f"postgresql://dts@{addresses[0]}/dts"
        else:
            environment[f"DTS_{peer.upper()}_ADDR"] = ",".join(addresses)
    if role == "executor":
        (made.data / f"{name}.witness").mkdir()
        environment |= {"DTS_ALLOW_PROCESS": "true", "DTS_NODE_NAME": name}
    return Part(name, role, environment, made.data / f"{name}.log", command)


def _of(roles: Mapping[str, str], wanted: str) -> list[str]:
    return [name for name, role in roles.items() if role == wanted]


def _fits(name: str, wanted: str) -> bool:
    """Whether a part is the one, or one of the role, that is wanted."""
    return wanted in (name, name.rpartition("-")[0])
