"""What the engine tells of containers, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

_ALIVE = frozenset({"running", "paused", "restarting"})
_BEFORE_ALL = 1  # engines write "never" as an instant of year 1


@dataclass(frozen=True, slots=True)
class Container:
    """A container as `inspect` shows it.

    image: id of its image.
    status: created, running, paused, restarting, removing, exited or dead.
    error: why it could not start; empty if it could.
    started_at, finished_at: by the engine's clock; None if it never did.
    """

    id: str
    name: str
    image: str
    status: str
    exit_code: int
    oom_killed: bool
    error: str
    started_at: datetime | None
    finished_at: datetime | None
    labels: Mapping[str, str]

    @property
    def alive(self) -> bool:
        """Whether it has started and not ended."""
        return self.status in _ALIVE

    @property
    def unstarted(self) -> bool:
        """Whether it was never started. A start that failed leaves it so, with an error."""
        return self.status == "created"


@dataclass(frozen=True, slots=True)
class Listed:
    """A container as lists show it; its status there may be out of date."""

    id: str
    status: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Image:
    """An image of the node. digests: `repository@sha256:…`, none for an image that was made here."""

    id: str
    digests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a container has used. memory: bytes; the most so far where the engine knows it, else of the moment."""

    cpu_time: timedelta
    memory: int


@dataclass(frozen=True, slots=True)
class Membership:
    """What an engine is in its Swarm.

    node_id: empty if it is in none. manager: whether it may be asked about the Swarm. labels: of the engine itself.
    """

    name: str
    node_id: str
    manager: bool
    labels: Mapping[str, str]

    @property
    def role(self) -> str:
        """Worker or manager; empty where there is no Swarm."""
        return ("manager" if self.manager else "worker") if self.node_id else ""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a container."""

    container: str
    action: str
    at: datetime


def read_container(data: Mapping[str, Any]) -> Container:
    """What `inspect` answers."""
    state = data["State"]
    return Container(
        id=data["Id"],
        name=data["Name"].removeprefix("/"),
        image=data["Image"],
        status=state["Status"],
        exit_code=state["ExitCode"],
        oom_killed=state["OOMKilled"],
        error=state["Error"],
        started_at=instant(state["StartedAt"]),
        finished_at=instant(state["FinishedAt"]),
        labels=data["Config"].get("Labels") or {},
    )


def read_listed(data: Mapping[str, Any]) -> Listed:
    """An entry of a list."""
    return Listed(id=data["Id"], status=data["State"], labels=data.get("Labels") or {})


def read_image(data: Mapping[str, Any]) -> Image:
    """What `inspect` answers for an image."""
    return Image(id=data["Id"], digests=tuple(data.get("RepoDigests") or ()))


def read_usage(data: Mapping[str, Any]) -> Usage:
    """What `stats` answers; of a container that has ended, nothing but zeros."""
    nanoseconds = data.get("cpu_stats", {}).get("cpu_usage", {}).get("total_usage", 0)
    memory = data.get("memory_stats", {})
    return Usage(timedelta(microseconds=nanoseconds // 1000), memory.get("max_usage") or memory.get("usage") or 0)


def read_membership(data: Mapping[str, Any]) -> Membership:
    """What `info` answers."""
    swarm = data.get("Swarm") or {}
    active = swarm.get("LocalNodeState") == "active"
    labels = (label.partition("=") for label in data.get("Labels") or ())
    return Membership(
        name=data.get("Name", ""),
        node_id=swarm.get("NodeID", "") if active else "",
        manager=active and bool(swarm.get("ControlAvailable")),
        labels={name: value for name, _, value in labels},
    )


def read_event(data: Mapping[str, Any]) -> Event:
    """A line of `events`."""
    at = datetime.fromtimestamp(data["timeNano"] / 1_000_000_000, UTC)
    return Event(data["Actor"]["ID"], data["Action"], at)


def instant(text: str) -> datetime | None:
    """An instant as engines write it, to the microsecond; None for "never"."""
    at = datetime.fromisoformat(text).astimezone(UTC) if not text.startswith("0001-") else None
    return None if at is None or at.year <= _BEFORE_ALL else at
