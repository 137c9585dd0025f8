"""Describes this machine: who it is, what it can run, how much it can take."""

from __future__ import annotations

import asyncio
import os
import platform
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from uuid import UUID, uuid5

from dts.docker.values import Membership
from dts.pb.dts.v1 import Capacity, Node, NodeState, Resources
from dts.roles.executor.assigned import NOOP
from dts.roles.executor.work import MISSING_SECONDS, Runner, why_missing

_OWNERS = UUID("6f0b7a8e-5d0c-4c57-9f1b-0c1d9d3a7f10")
"""The name space of owners; drawn once."""

DEFAULT_SLOTS = 100
"""How many attempts may run at once where nothing is said."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What stays for the life of the process. id: of the node. incarnation: of this start of the executor."""

    id: str
    incarnation: str


@dataclass(frozen=True, slots=True)
class Machine:
    """What the installation says of the machine, or the machine of itself.

    cpus: processors. memory: bytes. absent: why a kind has no runner at all, by its name.
    """

    hostname: str = field(default_factory=socket.gethostname)
    platform: str = field(default_factory=lambda: f"{platform.system().lower()}/{platform.machine()}")
    slots: int = DEFAULT_SLOTS
    cpus: float = field(default_factory=lambda: float(len(os.sched_getaffinity(0))))
    memory: int = field(default_factory=lambda: os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    labels: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)


class Describer:
    """Is the executor's `node`: called for each attachment and now and then.

    Args:
        identity: from `identify`.
        machine: how much it can take.
        runners: by the name of their kind.
        engine: asks the engine, if there is one.
    """

    def __init__(
        self,
        identity: Identity,
        machine: Machine,
        runners: Mapping[str, Runner],
        engine: Callable[[], Awaitable[Membership]] | None = None,
    ) -> None:
        self._identity = identity
        self._machine = machine
        self._runners = runners
        self._engine = engine
        self._last = Membership("", "", manager=False, labels={})

    async def __call__(self) -> Node:
        """The node as it is now."""
        machine = self._machine
        why, engine = await asyncio.gather(self._missing(), self._asked_engine())
        return Node(
            # A node that changed its id would be another node: what the first answer said counts.
            id=self._identity.id,
            hostname=machine.hostname,
            incarnation=self._identity.incarnation,
            version=version("dts"),
            role=engine.role,
            platform=machine.platform,
            labels=dict(machine.labels),
            engine_labels=dict(engine.labels),
            kinds=[*sorted(kind for kind in self._runners if not why.get(kind)), NOOP],
            missing_kinds={kind: reason for kind, reason in why.items() if reason},
            capacity=Capacity(slots=machine.slots, resources=Resources(cpus=machine.cpus, memory=machine.memory)),
            state=NodeState.READY,
        )

    async def _missing(self) -> dict[str, str]:
        said = await asyncio.gather(*(why_missing(runner) for runner in self._runners.values()))
        return dict(self._machine.absent) | dict(zip(self._runners, said, strict=True))

    async def _asked_engine(self) -> Membership:
        if self._engine is not None:
            try:
                async with asyncio.timeout(MISSING_SECONDS):
                    self._last = await self._engine()
            except Exception:  # noqa: BLE001 - an engine that is away says nothing new; the kind says that it is missing
                return self._last
        return self._last


def identify(data_dir: Path, *, new_id: Callable[[], UUID], node_id: str = "") -> Identity:
    """Who this executor is: the id is kept in the data directory, the incarnation is new.

    Args:
        data_dir: where the file `node-id` is.
        new_id: makes a random UUID.
        node_id: of the Swarm, if the machine is in one; it comes first, and is kept for starts without an engine.
    """
    return Identity(_kept_id(data_dir / "node-id", new_id, node_id), str(new_id()))


def owner_of(data_dir: Path, *, installation: str, node_id: str, new_id: Callable[[], UUID]) -> str:
    """Whose the containers, services and processes of this executor are: another installation may be on the same node.

    Args:
        data_dir: keeps the word where the installation has no name.
        installation: its name, such as that of its executors' Swarm service; the word then outlives the directory.
        node_id: of the node.
        new_id: makes a random UUID.
    """
    if installation:
        return str(uuid5(_OWNERS, f"{installation}/{node_id}"))
    return _kept_id(data_dir / "owner", new_id, "")


def _kept_id(path: Path, new_id: Callable[[], UUID], node_id: str) -> str:
    try:
        kept = path.read_text().strip()
    except FileNotFoundError:
        kept = ""
    if kept and node_id in {"", kept}:
        return kept
    path.parent.mkdir(parents=True, exist_ok=True)
    made = node_id or str(new_id())
    fresh = path.with_suffix(".new")
    fresh.write_text(f"{made}\n")
    fresh.replace(path)
    return made
