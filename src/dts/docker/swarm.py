"""What a manager of a Swarm can be asked: services, their tasks, secrets, configs. Workers refuse all of it."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from dts.docker.engine import CALL_SECONDS, CHANGE_SECONDS, Engine, login_header
from dts.docker.errors import asked
from dts.docker.logs import Piece
from dts.domain.errors import NotFound
from dts.pb.dts.v1 import Resources, SwarmNode

NANOS = 1_000_000_000

Named = Literal["secrets", "configs"]

_WAITING = frozenset({"new", "allocated", "pending", "assigned", "accepted", "preparing", "ready", "starting"})
_OVER = frozenset({"complete", "shutdown", "failed", "rejected", "remove", "orphaned"})


@dataclass(frozen=True, slots=True)
class SwarmService:
    """A service. version: what a change must name. spec: as the engine has it. replicas: None unless replicated."""

    id: str
    version: int
    spec: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.spec["Name"])

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""
        return self.spec.get("Labels") or {}

    @property
    def replicas(self) -> int | None:
        """How many replicas it is to have; None where that is not for its definition to say."""
        replicated = (self.spec.get("Mode") or {}).get("Replicated")
        return None if replicated is None else int(replicated.get("Replicas") or 0)


@dataclass(frozen=True, slots=True)
class SwarmTask:
    """One container of a service as the managers know it.

    state: Swarm's word, from `new` to `complete` or `failed`.
    message: Swarm's words on why it is there; empty if there is nothing to say.
    exit_code: None before its end, and if it never started.
    """

    id: str
    state: str
    message: str
    node_id: str
    container: str
    exit_code: int | None
    created_at: str

    @property
    def waiting(self) -> bool:
        """Whether it has not started yet."""
        return self.state in _WAITING

    @property
    def over(self) -> bool:
        """Whether it will not change any more."""
        return self.state in _OVER


class Swarm:
    """The Swarm, asked through the engine of one of its managers. Every call may raise what `asked` names."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def create(self, spec: Mapping[str, Any], *, login: Mapping[str, str] | None = None) -> str:
        """Creates a service and answers its id.

        Args:
            spec: its definition.
            login: for the registry of its image: username and password, or identitytoken; and serveraddress.

        Raises:
            Conflict: the name is taken.
        """
        async with asked("create the service", within=CHANGE_SECONDS):
            answer = await self._engine.call("POST", "services/create", data=spec, headers=login_header(login))
            return str(answer["ID"])

    async def update(self, service: SwarmService, spec: Mapping[str, Any]) -> None:
        """Changes a service that nobody has changed meanwhile.

        Raises:
            FailedPrecondition: somebody has.
        """
        params = {"version": str(service.version)}
        async with asked("change the service", within=CHANGE_SECONDS):
            await self._engine.call("POST", f"services/{service.id}/update", params=params, data=spec)

    async def service(self, service: str) -> SwarmService:
        """A service by id or whole name.

        Raises:
            NotFound: there is none.
        """
        async with asked("describe the service", within=CALL_SECONDS):
            return _service(await self._engine.call("GET", f"services/{service}"))

    async def labelled(self, *labels: str) -> list[SwarmService]:
        """The services that have all of these labels, each `KEY` or `KEY=VALUE`."""
        params = {"filters": json.dumps({"label": list(labels)})}
        async with asked("list services", within=CALL_SECONDS):
            return [_service(one) for one in await self._engine.call("GET", "services", params=params)]

    async def remove(self, service: str) -> None:
        """Removes a service and ends its containers.

        Raises:
            NotFound: there is none.
        """
        async with asked("remove the service", within=CHANGE_SECONDS):
            await self._engine.call("DELETE", f"services/{service}")

    async def tasks(self, service: str) -> list[SwarmTask]:
        """The containers that a service has or had, by its id, the eldest first."""
        params = {"filters": json.dumps({"service": [service]})}
        async with asked("list the tasks of the service", within=CALL_SECONDS):
            found = [_task(one) for one in await self._engine.call("GET", "tasks", params=params)]
            return sorted(found, key=lambda task: task.created_at)

    async def nodes(self) -> list[SwarmNode]:
        """All nodes, by id. One that has joined and not said anything of itself yet has no name, and is left out."""
        async with asked("list the nodes of the Swarm", within=CALL_SECONDS):
            found = [_node(one) for one in await self._engine.call("GET", "nodes")]
            return sorted((node for node in found if node.hostname), key=lambda node: node.id)

    async def id_of(self, kind: Named, name: str) -> str:
        """The id of a secret or config by its whole name: the engine's own filter takes beginnings too.

        Raises:
            NotFound: there is none.
        """
        params = {"filters": json.dumps({"name": [name]})}
        async with asked(f"list {kind}", within=CALL_SECONDS):
            for one in await self._engine.call("GET", kind, params=params):
                if one["Spec"]["Name"] == name:
                    return str(one["ID"])
        raise NotFound(f"the Swarm has no {kind.removesuffix('s')} {name}")

    async def digest(self, image: str, *, login: Mapping[str, str] | None = None) -> str:
        """The digest of an image, as its registry says; a service whose image has it runs the same on every node.

        Args:
            image: its reference.
            login: for its registry.

        Raises:
            NotFound, PermissionDenied, FailedPrecondition: the registry does not say.
        """
        async with asked("ask the registry", within=CALL_SECONDS):
            path = f"distribution/{quote(image, safe='/:')}/json"
            answer = await self._engine.call("GET", path, headers=login_header(login))
            return str(answer["Descriptor"]["digest"])

    def logs(self, service: str, *, since: str, follow: bool) -> AsyncGenerator[list[Piece]]:
        """What the containers of a service printed. Following may never end, even if the service is over."""
        return self._engine.printed(f"services/{service}/logs", since=since, follow=follow)


def _service(data: Mapping[str, Any]) -> SwarmService:
    return SwarmService(id=data["ID"], version=data["Version"]["Index"], spec=data["Spec"])


def _node(data: Mapping[str, Any]) -> SwarmNode:
    spec, about = data["Spec"], data.get("Description") or {}
    platform, resources = about.get("Platform") or {}, about.get("Resources") or {}
    return SwarmNode(
        id=data["ID"],
        hostname=about.get("Hostname", ""),
        role=spec["Role"],
        availability=spec["Availability"],
        state=data["Status"]["State"],
        labels=dict(spec.get("Labels") or {}),
        engine_labels=dict((about.get("Engine") or {}).get("Labels") or {}),
        platform=f"{platform.get('OS', '')}/{platform.get('Architecture', '')}".strip("/"),
        resources=Resources(cpus=resources.get("NanoCPUs", 0) / NANOS, memory=resources.get("MemoryBytes", 0)),
    )


def _task(data: Mapping[str, Any]) -> SwarmTask:
    status = data["Status"]
    container = status.get("ContainerStatus") or {}
    state = status["State"]
    return SwarmTask(
        id=data["ID"],
        state=state,
        message=status.get("Err") or "",
        node_id=data.get("NodeID", ""),
        container=container.get("ContainerID", ""),
        exit_code=container.get("ExitCode") if state in _OVER and container.get("ContainerID") else None,
        created_at=data["CreatedAt"],
    )
