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
from uuid import UUID

from dts.pb.dts.v1 import Capacity, Node, NodeState, Resources
from dts.roles.executor.assigned import NOOP
from dts.roles.executor.work import Runner

DEFAULT_SLOTS = 100
"""How many attempts may run at once where nothing is said."""

MISSING_SECONDS = 5.0
"""How long a kind may take to say whether it can be run."""


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


@dataclass(frozen=True, slots=True)
class Engine:
    """What a container engine says of the machine. node_id, role: of the Swarm, empty where there is none."""

    node_id: str = ""
    role: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


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
        engine: Callable[[], Awaitable[Engine]] | None = None,
    ) -> None:
        self._identity = identity
        self._machine = machine
        self._runners = runners
        self._engine = engine
        self._last = Engine()

    async def __call__(self) -> Node:
        """The node as it is now."""
        machine = self._machine
        why = await self._missing()
        engine = await self._asked_engine()
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
        said = await asyncio.gather(*(_why_missing(runner) for runner in self._runners.values()))
        return dict(self._machine.absent) | dict(zip(self._runners, said, strict=True))

    async def _asked_engine(self) -> Engine:
        if self._engine is not None:
            try:
                async with asyncio.timeout(MISSING_SECONDS):
                    self._last = await self._engine()
            except Exception:  # noqa: BLE001 - an engine that is away says nothing new; the kind says that it is missing
                return self._last
        return self._last


async def _why_missing(runner: Runner) -> str:
    try:
        async with asyncio.timeout(MISSING_SECONDS):
            return await runner.missing()
    except TimeoutError:
        return f"no answer within {MISSING_SECONDS:g} s"
    except Exception as error:  # noqa: BLE001 - a kind that cannot even be asked is missing, for that reason
        return f"cannot be asked: {type(error).__name__}"


def identify(data_dir: Path, *, new_id: Callable[[], UUID], node_id: str = "") -> Identity:
    """Who this executor is: the id is kept in the data directory, the incarnation is new.

    Args:
        data_dir: where the file `node-id` is.
        new_id: makes a random UUID.
        node_id: of the Swarm, if the machine is in one; it comes first.
    """
    return Identity(node_id or _kept_id(data_dir / "node-id", new_id), str(new_id()))


def _kept_id(path: Path, new_id: Callable[[], UUID]) -> str:
    try:
        kept = path.read_text().strip()
    except FileNotFoundError:
        kept = ""
    if kept:
        return kept
    path.parent.mkdir(parents=True, exist_ok=True)
    made = str(new_id())
    fresh = path.with_suffix(".new")
    fresh.write_text(f"{made}\n")
    fresh.replace(path)
    return made
