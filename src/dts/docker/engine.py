"""A Docker engine behind few calls, each with a limit in time and with errors of the dts family."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
from aiodocker import Docker

from dts.docker.errors import asked, sentence
from dts.docker.logs import Demultiplexer, Piece
from dts.docker.values import (
    Container,
    Event,
    Image,
    Listed,
    Membership,
    Usage,
    read_container,
    read_event,
    read_image,
    read_listed,
    read_membership,
    read_usage,
)
from dts.domain.errors import DeadlineExceeded, DtsError, InvalidArgument, Unavailable
from dts.domain.image import whole_name

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

    async def membership(self) -> Membership:
        """What the engine is in its Swarm, and what it is labelled with."""
        async with asked("describe itself", within=PING_SECONDS):
            return read_membership(await self.call("GET", "info"))

    def started_at(self) -> datetime | None:
        """When the engine was started, by the file with its process id; None where that cannot be seen."""
        parts = urlsplit(self.host)
        if parts.scheme != "unix":
            return None
        try:
            return datetime.fromtimestamp(Path(parts.path).with_suffix(".pid").stat().st_mtime, UTC)
        except OSError:
            return None

    async def lets_in(self) -> bool:
        """Whether it takes new connections: an engine that stops takes none before it stops what it runs."""
        parts = urlsplit(self.host)
        opening = (
            asyncio.open_unix_connection(parts.path)
            if parts.scheme == "unix"
            else asyncio.open_connection(parts.hostname, parts.port)
        )
        try:
            async with asyncio.timeout(PING_SECONDS):
                _, writer = await opening
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    # -- images

    async def image(self, reference: str) -> Image:
        """An image that the node has.

        Raises:
            NotFound: it has none.
        """
        async with asked("describe the image", within=CALL_SECONDS):
            return read_image(await self._docker.images.inspect(whole_name(reference)))

    async def pull(self, reference: str, *, login: Mapping[str, str] | None = None) -> None:
        """Pulls an image; errors that come in the midst of it are raised too.

        Args:
            reference: of the image.
            login: for its registry: username and password, or identitytoken; and serveraddress.
        """
        params = {"fromImage": whole_name(reference)}
        clock = asyncio.get_running_loop().time
        # aiodocker takes a connection that breaks for the end, and refuses logins for the Docker Hub's own images.
        async with (
            asked("pull the image", within=PULL_SILENCE_SECONDS) as limit,
            await self.open("POST", "images/create", params, headers=login_header(login)) as response,
        ):
            async for line in response.content:
                limit.reschedule(clock() + PULL_SILENCE_SECONDS)
                if line.strip() and (words := json.loads(line).get("error")):
                    raise Unavailable(sentence(words))

    async def network_name(self, network: str) -> str:
        """The name of a network, by name or id.

        Raises:
            NotFound: there is none.
        """
        async with asked("describe the network", within=CALL_SECONDS):
            return str((await self.call("GET", f"networks/{quote(network, safe='')}"))["Name"])

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
            response = await self.open("POST", f"containers/{container}/wait", {"condition": "next-exit"})
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
            await self.open("GET", f"containers/{container}/stats", params) as response,
        ):
            return read_usage(await response.json())

    async def logs(self, container: str, *, since: str, follow: bool) -> AsyncGenerator[list[Piece]]:
        """What a container printed, as it comes. Ends with the container; waiting has no limit.

        Args:
            container: its id.
            since: seconds since the epoch, with up to nine decimals.
            follow: go on while it runs.
        """
        async for pieces in self.printed(f"containers/{container}/logs", since=since, follow=follow):
            yield pieces

    async def printed(self, path: str, *, since: str, follow: bool) -> AsyncGenerator[list[Piece]]:
        """The log that a path of the engine's answers with; for the rest see `logs`."""
        params = {"stdout": "1", "stderr": "1", "timestamps": "1", "since": since, "follow": str(int(follow))}
        demultiplexer = Demultiplexer()
        async with asked("show the log", within=CALL_SECONDS):
            response = await self.open("GET", path, params)
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
                await self.open("GET", "events", params) as response,
            ):
                async for line in response.content:
                    events.append(read_event(json.loads(line)))  # noqa: PERF401 - what came before the limit counts
        return events

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        data: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """One question in JSON, for those around this that know errors and limits."""
        return await self._docker._query_json(  # noqa: SLF001 - services as values would lose what a copy must keep
            path, method, params=dict(params or {}), data=data, headers=headers, timeout=None
        )

    async def open(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        data: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> aiohttp.ClientResponse:
        """The beginning of an answer that is read as it comes, for those around this that know errors and limits."""
        # aiodocker reads logs as text, loses which stream they came from, and hides when a wait has begun.
        body = None if data is None else json.dumps(data)
        said = {**(headers or {}), **({} if data is None else {"Content-Type": "application/json"})}
        query = self._docker._query(path, method, params=params, data=body, headers=said, timeout=None)  # noqa: SLF001
        async with query as response:
            return response


def login_header(login: Mapping[str, str] | None) -> dict[str, str]:
    """How an engine is told the login for a registry."""
    if login is None:
        return {}
    return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(dict(login)).encode()).decode("ascii")}


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
