"""Faults on purpose: more programs of an installation, frozen ones, and work that tells what becomes of it."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from support.system import TOKEN, Program, System, start


@dataclass(frozen=True, slots=True)
class Work:
    """A command that writes down what it does and ends when it is told to."""

    folder: Path

    @property
    def command(self) -> list[str]:
        """Writes `begin <attempt> <pid> <instant>`, waits for the file go-<attempt>, writes `end <attempt>`."""
        wait = f"while [ -d {self.folder} ] && [ ! -e go-$DTS_ATTEMPT ]; do sleep 0.1; done"
        begin, end = ("begin $DTS_ATTEMPT $$ $DTS_SCHEDULED_AT", "end $DTS_ATTEMPT")
        script = f'cd {self.folder}; echo "{begin}" >> said; {wait}; echo "{end}" >> said'
        return ["sh", "-c", script]

    @classmethod
    def within(cls, data: Path) -> Work:
        """A folder that any account can write to."""
        folder = data / "work"
        folder.mkdir()
        folder.chmod(0o777)
        return cls(folder)

    def said(self) -> list[list[str]]:
        """The lines so far, in words."""
        path = self.folder / "said"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def begun(self, attempt: int) -> bool:
        """Whether the attempt has started."""
        return any(line[:2] == ["begin", str(attempt)] for line in self.said())

    def ended(self, attempt: int) -> bool:
        """Whether the attempt came to its own end."""
        return ["end", str(attempt)] in self.said()

    def alive(self, attempt: int) -> bool:
        """Whether its process is there."""
        return any(line[:2] == ["begin", str(attempt)] and _lives(int(line[2])) for line in self.said())

    def go(self, attempt: int) -> None:
        """Lets the attempt end."""
        (self.folder / f"go-{attempt}").touch()


@contextmanager
def frozen(*programs: Program) -> Iterator[None]:
    """SIGSTOP, and SIGCONT in the end, whatever happens in between."""
    for program in programs:
        program.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for program in programs:
            with suppress(ProcessLookupError):
                program.process.send_signal(signal.SIGCONT)


@asynccontextmanager
async def another(role: str, system: System, *, name: str = "", **addresses: str) -> AsyncIterator[Program]:
    """One more process with a role. addresses: of roles, instead of those in the system."""
    name = name or f"{role}-2"
    home = system.data / name
    home.mkdir(exist_ok=True)
    peers = {peer: system.programs[peer].grpc for peer in ("database", "scheduler")} | addresses
    environment = {
        **{key: value for key, value in system.environment.items() if key != "DTS_SERVER"},
        **{f"DTS_{peer.upper()}_ADDR": at for peer, at in peers.items()},
        "DTS_TOKEN": TOKEN,
        "DTS_DATA": str(home),
    }
    arguments = ("serve", "--role", role, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")
    program = await start(*arguments, environment=environment, log=system.data / f"{name}.log")
    try:
        yield program
    finally:
        await program.stop()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
