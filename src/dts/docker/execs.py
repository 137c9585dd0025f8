"""Commands inside containers that run already, through the engine of their node."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp

from dts.docker.engine import CALL_SECONDS, CHANGE_SECONDS, Engine
from dts.docker.errors import asked
from dts.docker.logs import frames

SERVICE_LABEL = "com.docker.swarm.service.name"
_RUNNING = json.dumps({"status": ["running"]})


@dataclass(frozen=True, slots=True)
class Running:
    """A container that runs. service: of the Swarm, if it belongs to one. created: seconds since the epoch."""

    id: str
    name: str
    service: str
    labels: Mapping[str, str]
    created: int


@dataclass(frozen=True, slots=True)
class ExecState:
    """Where a command stands. exit_code: None before its end, and if it never began."""

    running: bool
    exit_code: int | None

    @property
    def unstarted(self) -> bool:
        """Whether it never began."""
        return not self.running and self.exit_code is None


class ExecOutput:
    """What a command prints, from its first byte on. The command goes on when nobody listens."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def pieces(self) -> AsyncGenerator[tuple[int, bytes]]:
        """What came, with its stream: 1 is stdout, 2 is stderr. Ends when the last one who could print has ended.

        Raises:
            Unavailable: the connection broke.
        """
        buffer = bytearray()
        while True:
            async with asked("go on with the output", within=None):
                data = await self._response.content.readany()
            if not data:
                return
            buffer += data
            for stream, content in frames(buffer):
                yield stream, content

    def close(self) -> None:
        """Stops listening."""
        self._response.close()


class Execs:
    """The commands of one engine. Every call may raise what `asked` names."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def running(self) -> list[Running]:
        """The containers that run, the eldest first."""
        async with asked("list containers", within=CALL_SECONDS):
            found = await self._engine.call("GET", "containers/json", params={"filters": _RUNNING})
            return sorted(map(_running, found), key=lambda one: (one.created, one.id))

    async def about(self, container: str) -> Mapping[str, Any]:
        """A container as the engine describes it.

        Raises:
            NotFound: it is gone.
        """
        async with asked("describe the container", within=CALL_SECONDS):
            found: Mapping[str, Any] = await self._engine.call("GET", f"containers/{quote(container, safe='')}/json")
            return found

    async def create(self, container: str, config: Mapping[str, Any]) -> str:
        """Prepares a command and answers its id.

        Raises:
            NotFound: there is no such container.
            Conflict: it does not run.
        """
        async with asked("prepare the command", within=CHANGE_SECONDS):
            path = f"containers/{quote(container, safe='')}/exec"
            return str((await self._engine.call("POST", path, data=dict(config)))["Id"])

    async def start(self, exec_id: str) -> ExecOutput:
        """Starts a command; asked twice, it starts once.

        Raises:
            Conflict: it was started before, or its container has stopped.
            InvalidArgument, FailedPrecondition: its program cannot be run.
        """
        async with asked("start the command", within=CHANGE_SECONDS):
            return ExecOutput(await self._engine.open("POST", f"exec/{exec_id}/start", data={"Detach": False}))

    async def look(self, exec_id: str) -> ExecState:
        """Where a command stands.

        Raises:
            NotFound: its container is gone, or the engine was restarted.
        """
        async with asked("describe the command", within=CALL_SECONDS):
            data = await self._engine.call("GET", f"exec/{exec_id}/json")
            return ExecState(running=bool(data["Running"]), exit_code=data["ExitCode"])


def _running(data: Mapping[str, Any]) -> Running:
    labels = data.get("Labels") or {}
    # Links give a container further names, below that of another: `/web/db`.
    name = min((str(name).removeprefix("/") for name in data["Names"]), key=lambda name: name.count("/"))
    return Running(data["Id"], name, labels.get(SERVICE_LABEL, ""), labels, data["Created"])
