"""The ground of a fault run on the lab: the stack of stack.yml, how it is reached, and what its witnesses left."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from dts.rpc.address import HostPort
from dts.rpc.channel import Channel, connect
from dts.rpc.tls import people
from faults.lab import engines, overlay
from faults.lab.engines import Subscriber
from faults.lab.load import VOLUME
from faults.load import witnesses_in
from faults.model import EngineEvent, Leftover, Text, Witness
from swarm.lab import BASE, Lab, LabNode
from swarm.stack import NAME, Stack

COUNTS = {"postgres": 1, "database": 2, "definition": 2, "scheduler": 2, "gateway": 1, "executor": 3}
"""Of each service, how many containers stack.yml asks for on three nodes of which one is a manager."""

SERVICE = "com.docker.swarm.service.name"
PATIENCE = 150.0
"""Seconds within which Swarm has replaced what is gone."""

ANSWER = 10.0
"""Seconds after which an engine is taken not to answer."""

POLL = 0.5

GOSSIP = 10.0
"""Seconds after which engines that still do not know of containers of others never will."""

KEPT_TASKS = 100
"""How many dead containers of a service Swarm keeps: their logs are read in the end."""


@dataclass(frozen=True, slots=True)
class Replica:
    """A container of the stack. service: without the name of the stack."""

    node: LabNode
    service: str
    handle: str

    def __str__(self) -> str:
        """As it stands in reports."""
        return f"{self.service} on {self.node.name}"


@dataclass
class Swarm:
    """Everything that can be broken, and the way past it.

    Attributes:
        password: of the database.
        subscribers: to each engine's events.
        hostnames: by Swarm's names of nodes.
    """

    lab: Lab
    stack: Stack
    password: str = ""
    subscribers: Sequence[Subscriber] = field(default_factory=list)
    hostnames: Mapping[str, str] = field(default_factory=dict)

    def prepare(self) -> None:
        """What must be there before the first tick."""
        manager = self.lab.manager
        manager.docker("swarm", "update", "--task-history-limit", str(KEPT_TASKS))
        for node in self.lab.nodes:
            node.docker("pull", "--quiet", BASE)
            node.docker("volume", "create", VOLUME)
        listing = manager.docker("node", "ls", "--format={{.ID}} {{.Hostname}}").splitlines()
        self.hostnames = dict(line.split() for line in listing)
        server = self._server()
        self.password = server.node.docker("exec", server.handle, "cat", "/run/secrets/dts_postgres_password").strip()
        self.subscribers = [Subscriber(node) for node in self.lab.nodes]

    # -- as a ground

    @property
    def canaries(self) -> Mapping[str, str]:
        """What only Swarm's secrets have."""
        return {"admin token": self.stack.token, "password of the database": self.password}

    def channel(self) -> Channel:
        """To the gateway on the manager, with its certificate checked."""
        system = self.stack.system
        authority = people(system.environment["DTS_TLS_CA"])
        return connect([HostPort.parse(system.grpc)], token=self.stack.token, tls=authority)

    async def database(self) -> asyncpg.Connection:
        """Through the socket of the server's container, which no network can take away."""
        try:
            server = await asyncio.to_thread(self._server)
            pid = await asyncio.to_thread(said, server.node, "inspect", "--format={{.State.Pid}}", server.handle)
        except LookupError as error:
            raise ConnectionError("PostgreSQL does not run") from error
        sockets = f"/proc/{pid}/root/tmp/sockets"
        return await asyncpg.connect(
            host=sockets, user="dts", database="dts", password=self.password, timeout=5, command_timeout=5
        )

    async def whole(self) -> None:
        """Every service has its containers, and PostgreSQL answers."""
        clock = asyncio.get_running_loop().time
        until = clock() + PATIENCE
        while not await self._is_whole():
            if clock() > until:
                print("    Swarm has not replaced everything in time")
                return
            await asyncio.sleep(POLL)
        await self._connected()

    async def _connected(self) -> None:
        """The engines have a moment to tell each other of their containers; what they forgot is put right."""
        try:
            forgotten = await asyncio.to_thread(overlay.missing, self.lab.nodes)
            if forgotten:
                await asyncio.sleep(GOSSIP)
                forgotten &= await asyncio.to_thread(overlay.missing, self.lab.nodes)
                await asyncio.to_thread(overlay.mend, self.lab.nodes, forgotten)
        except (RuntimeError, OSError, subprocess.SubprocessError, StopIteration) as error:
            print(f"    the overlay network cannot be looked at: {error}", flush=True)
            return
        if forgotten:
            print(f"    the engines had forgotten {len(forgotten)} ways to containers of others", flush=True)

    async def _is_whole(self) -> bool:
        found = await asyncio.to_thread(self.replicas)
        counts = {service: sum(one.service == service for one in found) for service in COUNTS}
        if any(counts[service] < count for service, count in COUNTS.items()):
            return False
        try:
            connection = await self.database()
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        await connection.close()
        return True

    async def nodes(self) -> Mapping[str, str]:
        """Hostnames by Swarm's names."""
        return self.hostnames

    async def witnesses(self) -> Sequence[Witness]:
        """On the volume of each node."""
        return [one for node in self.lab.nodes for one in witnesses_in(volume(node), node.name)]

    async def leftovers(self) -> Sequence[Leftover]:
        """Containers."""
        return await asyncio.to_thread(engines.leftovers, self.lab.nodes)

    async def events(self) -> Sequence[EngineEvent]:
        """What the subscribers heard."""
        return sorted((event for one in self.subscribers for event in one.events), key=lambda event: event.at)

    async def texts(self) -> Sequence[Text]:
        """The logs of all containers of dts, and how services and containers are described."""
        return await asyncio.to_thread(self._texts)

    def _texts(self) -> list[Text]:
        found: list[Text] = []
        for node in self.lab.nodes:
            listing = node.docker("ps", "--all", "--format={{.ID}} {{.Names}}").splitlines()
            for handle, name in (line.split(maxsplit=1) for line in listing):
                if name.startswith(f"{NAME}_"):
                    found.append(Text(f"{node.name} {name}", log_of(node, handle)))
                found.append(Text(f"description of {name}", node.docker("inspect", handle)))
        services = self.lab.manager.docker("service", "ls", "--quiet").split()
        return [*found, Text("services", self.lab.manager.docker("service", "inspect", *services))]

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Inside it the engines are heard."""
        tasks = [asyncio.create_task(subscriber.follow()) for subscriber in self.subscribers]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # -- what there is

    def replicas(self, service: str = "") -> list[Replica]:
        """The running containers of a service, or of all, on engines that answer."""
        found: list[Replica] = []
        for node in self.lab.nodes:
            try:
                listing = said(
                    node, "ps", "--filter=status=running", f'--format={{{{.ID}}}} {{{{.Label "{SERVICE}"}}}}'
                )
            except LookupError:
                continue
            pairs = (line.split(maxsplit=1) for line in listing.splitlines())
            found += [Replica(node, pair[1].removeprefix(f"{NAME}_"), pair[0]) for pair in pairs if len(pair) == 2]
        return [one for one in found if service in {"", one.service}]

    def _server(self) -> Replica:
        """The container of PostgreSQL; raises LookupError if there is none."""
        found = self.replicas("postgres")
        if not found:
            raise LookupError("no container of PostgreSQL runs")
        return found[0]


def said(node: LabNode, *arguments: str) -> str:
    """What an engine says to a command.

    Raises:
        LookupError: it does not answer, or not with that.
    """
    try:
        return node.docker(*arguments, timeout=ANSWER)
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        raise LookupError(str(error)) from error


def log_of(node: LabNode, handle: str) -> str:
    """All that a container wrote, on both streams."""
    done = subprocess.run(
        ["docker", "--host", node.host, "logs", "--timestamps", handle], capture_output=True, check=False, timeout=60
    )
    return (done.stdout + done.stderr).decode(errors="replace")


def volume(node: LabNode) -> Path:
    """Where the witnesses of a node are."""
    return node.home / "data" / "volumes" / VOLUME / "_data"
