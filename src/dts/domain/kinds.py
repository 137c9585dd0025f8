"""The kinds of work, by the names of their fields in Kind."""

from __future__ import annotations

from dts.pb.dts.v1 import Kind

KINDS = ("container", "service", "exec", "process", "http", "noop")

WITHOUT_RESOURCES = frozenset({"exec", "http"})
"""Kinds for which processors and memory mean nothing: nothing of dts's would be limited to them."""


def container_target(name: str) -> str:
    """What a node has where a command can run in a container of this name."""
    return f"container/{name}"


def service_target(name: str) -> str:
    """What a node has where a command can run in a container of this service."""
    return f"service/{name}"


def target_of(kind: Kind | None) -> str:
    """What a node must have for a command to run there; empty for other kinds."""
    if kind is None or kind.exec is None:
        return ""
    return service_target(kind.exec.service) if kind.exec.service else container_target(kind.exec.container)


def kinds_of(kind: Kind | None) -> list[str]:
    """The names of the kinds that are set: one, if all is well."""
    return [name for name in KINDS if kind is not None and getattr(kind, name) is not None]


def kind_of(kind: Kind | None) -> str:
    """The name of the kind that is set; empty if none is."""
    return next(iter(kinds_of(kind)), "")
