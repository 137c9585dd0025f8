"""A Docker engine behind few calls, each with a limit in time and with errors of the dts family."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiodocker import Docker

from dts.docker.errors import asked
from dts.docker.logs import Demultiplexer, Piece
from dts.docker.values import (
    Container,
    Event,
    Image,
    Listed,
    Usage,
    read_container,
    read_event,
    read_image,
    read_listed,
    read_usage,
)
from dts.domain.errors import DeadlineExceeded, DtsError, InvalidArgument, Unavailable

DEFAULT_HOST = "unix:///var/run/docker.sock"

PING_SECONDS = 5.0
CALL_SECONDS = 10.0
CHANGE_SECONDS = 30.0
"""Creating, starting and removing touch the disk of a node that may be busy."""

PULL_SILENCE_SECONDS = 120.0
"""A pull may take long, but not without a sign of life."""

STOP_MARGIN_SECONDS = 15.0
"""How much longer than the grace the engine may take to stop a container."""


class ExitWatch:
    """The engine's answer at the next end of a container.

    The connection is open from before: an answer is from the engine that saw the container end, not from one that
    was restarted and read its notes (rule W).
    """

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def exit_code(self) -> int:
        """Waits for the end, however long.

        Raises:
            Unavailable: the connection broke, or the engine does not know.
        """
        async with asked("say how the container ended", within=None):
            answer = await self._response.json()
        if answer.get("Error"):
            raise Unavailable(f"the engine does not know how the container ended: {answer['Error'].get('Message')}")
        return int(answer["StatusCode"])

    def close(self) -> None:
        """Stops waiting."""
        self._response.close()


class Engine:
    """One engine. Every call may raise what `dts.docker.errors.asked` names."""

    def __init__(self, docker: Docker, connector: aiohttp.BaseConnector, host: str) -> None:
        self._docker = docker
        self._connector = connector
        self.host = host

    @classmethod
    def connect(cls, host: str | None) -> Engine:
        """Ready to ask; nothing is sent yet. Needs a running event loop.

        Args:
            host: as in DOCKER_HOST, `unix://` or `tcp://`; None for the usual socket.

        Raises:
            InvalidArgument: the address is of another kind.
        """
        host = host or DEFAULT_HOST
        connector = _connector(host)
        # With a connector of ours, aiodocker takes the address as the beginning of each URL.
        url = "unix://localhost" if isinstance(connector, aiohttp.UnixConnector) else host
        return cls(Docker(url=url, connector=connector), connector, host)

    async def close(self) -> None:
        """Closes all connections."""
        await self._docker.close()
        await self._connector.close()

    async def missing(self) -> str:
        """Why there is no engine, in one line; empty if there is one."""
        try:
            async with asked("answer", within=PING_SECONDS):
                version = await self._docker.version()
        except DtsError as error:
            why = error.message.removeprefix("the engine cannot be reached: ")
            return f"no Docker engine answers at {self.host}: {why}"
        return "" if version.get("Os") == "linux" else f"the engine at {self.host} runs no Linux containers"

    def started_at(self) -> datetime | None:
        """When the engine was started, by the file with its process id; None where that cannot be seen."""
        parts = urlsplit(self.host)
        if parts.scheme != "unix":
            return None
        try:
            return datetime.fromtimestamp(Path(parts.path).with_suffix(".pid").stat().st_mtime, UTC)
        except OSError:
            return None

    # -- images

    async def image(self, reference: str) -> Image:
        """An image that the node has.

        Raises:
            NotFound: it has none.
        """
        async with asked("describe the image", within=CALL_SECONDS):
            return read_image(await self._docker.images.inspect(reference))

    async def pull(self, reference: str) -> None:
        """Pulls an image; errors that come in the midst of it are raised too."""
        async with asked("pull the image", within=PULL_SILENCE_SECONDS) as limit:
            async for _ in self._docker.images.pull(reference, stream=True):
                limit.reschedule(asyncio.get_running_loop().time() + PULL_SILENCE_SECONDS)

    # -- containers

    async def create(self, name: str, config: Mapping[str, Any]) -> str:
        """Creates a container and answers its id.

        Raises:
            Conflict: the name is taken.
            NotFound: there is no such image.
        """
        async with asked("create the container", within=CHANGE_SECONDS):
            container = await self._docker.containers.create(dict(config), name=name)
            return container.id

    async def start(self, container: str) -> None:
        """Starts a container. Never send it again when in doubt: what has ended would run once more."""
        async with asked("start the container", within=CHANGE_SECONDS):
            await self._docker.containers.container(container).start()

    async def watch(self, container: str) -> ExitWatch:
        """Begins to wait for the next end of a container; returns once the engine has begun to wait."""
        async with asked("watch the container", within=CALL_SECONDS):
            response = await self._open("POST", f"containers/{container}/wait", {"condition": "next-exit"})
        return ExitWatch(response)

    async def gone(self, container: str, *, within: float = CALL_SECONDS) -> None:
        """Waits until a container does not run.

        Raises:
            DeadlineExceeded: it still does.
        """
        async with asked("end the container", within=within):
            await self._docker.containers.container(container).wait(condition="not-running")

    async def inspect(self, container: str) -> Container:
        """All about a container, by id or name."""
        async with asked("describe the container", within=CALL_SECONDS):
            found = await self._docker.containers.get(container)
            return read_container(found._container)  # noqa: SLF001 - aiodocker has no other way to the whole answer

    async def labelled(self, label: str, value: str) -> list[Listed]:
        """The containers that have a label, whatever their state."""
        filters = json.dumps({"label": [f"{label}={value}"]})
        async with asked("list containers", within=CALL_SECONDS):
            found = await self._docker.containers.list(all=True, filters=filters)
            return [read_listed(one._container) for one in found]  # noqa: SLF001 - as above

    async def stop(self, container: str, *, grace: int) -> None:
        """Sends the stop signal and kills after the grace. grace: whole seconds."""
        async with asked("stop the container", within=grace + STOP_MARGIN_SECONDS):
            await self._docker.containers.container(container).stop(t=grace)

    async def kill(self, container: str) -> None:
        """Kills everything in a container.

        Raises:
            Conflict: it does not run.
        """
        async with asked("kill the container", within=CALL_SECONDS):
            await self._docker.containers.container(container).kill()

    async def remove(self, container: str, *, force: bool) -> None:
        """Removes a container with its anonymous volumes.

        Args:
            container: its id or name.
            force: kill it first if it runs.

        Raises:
            Conflict: it runs, and force is not given.
        """
        async with asked("remove the container", within=CHANGE_SECONDS):
            await self._docker.containers.container(container).delete(force=force, v=True)

    async def usage(self, container: str) -> Usage:
        """What a running container has used so far."""
        params = {"stream": "0", "one-shot": "1"}
        async with (
            asked("measure the container", within=CALL_SECONDS),
            await self._open("GET", f"containers/{container}/stats", params) as response,
        ):
            return read_usage(await response.json())

    async def logs(self, container: str, *, since: str, follow: bool) -> AsyncGenerator[list[Piece]]:
        """What a container printed, as it comes. Ends with the container; waiting has no limit.

        Args:
            container: its id.
            since: seconds since the epoch, with up to nine decimals.
            follow: go on while it runs.
        """
        params = {"stdout": "1", "stderr": "1", "timestamps": "1", "since": since, "follow": str(int(follow))}
        demultiplexer = Demultiplexer()
        async with asked("show the log", within=CALL_SECONDS):
            response = await self._open("GET", f"containers/{container}/logs", params)
        async with response:
            while data := await _read(response):
                if pieces := demultiplexer.feed(data):
                    yield pieces

    async def events(self, *, since: datetime, until: datetime) -> list[Event]:
        """What the engine remembers of its containers: at most its last 256 events, none from before its start."""
        params = {
            "since": f"{since.timestamp():.9f}",
            "until": f"{until.timestamp():.9f}",
            "filters": json.dumps({"type": ["container"]}),
        }
        events: list[Event] = []
        # An engine whose clock is behind keeps the answer open: what came so far is the answer then.
        with suppress(DeadlineExceeded):
            async with (
                asked("tell what happened", within=PING_SECONDS),
                await self._open("GET", "events", params) as response,
            ):
                async for line in response.content:
                    events.append(read_event(json.loads(line)))  # noqa: PERF401 - what came before the limit counts
        return events

    async def _open(self, method: str, path: str, params: Mapping[str, str]) -> aiohttp.ClientResponse:
        """The beginning of an answer that is read as it comes."""
        # aiodocker reads logs as text, loses which stream they came from, and hides when a wait has begun.
        async with self._docker._query(path, method, params=params, timeout=None) as response:  # noqa: SLF001
            return response


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """What has come; empty at the end."""
    async with asked("go on with the log", within=None):
        return await response.content.readany()


def _connector(host: str) -> aiohttp.BaseConnector:
    """Each running container holds two connections: their number has no limit."""
    parts = urlsplit(host)
    if parts.scheme == "unix" and parts.path:
        return aiohttp.UnixConnector(parts.path, limit=0)
    if parts.scheme in {"tcp", "http"} and parts.hostname:
        return aiohttp.TCPConnector(limit=0)
    raise InvalidArgument.of("docker_host", "docker_host.scheme", "the engine's address must be unix:// or tcp://")
