"""The standard health service, `grpc.health.v1.Health`, for load balancers and orchestrators."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

from grpclib.health.check import ServiceStatus
from grpclib.health.service import OVERALL, Health


class Checkable(Protocol):
    """A service whose health is told."""

    def __mapping__(self) -> Mapping[str, Any]:
        """Its routes."""
        ...


class HealthBoard:
    """What a server says about its services; not serving until it is told otherwise.

    Args:
        services: each gets an entry of its own, beside the one for the whole server.
    """

    def __init__(self, services: Collection[Checkable]) -> None:
        self._entries: dict[str, ServiceStatus] = {_name(service): ServiceStatus() for service in services}
        self._whole = ServiceStatus()
        self.set_all(serving=False)
        checks: dict[Any, list[ServiceStatus]] = {service: [self._entries[_name(service)]] for service in services}
        self.service = Health({**checks, OVERALL: [self._whole]})

    def set_all(self, *, serving: bool) -> None:
        """Says the same about the server and every service."""
        for entry in (self._whole, *self._entries.values()):
            entry.set(serving)


def _name(service: Checkable) -> str:
    return next(iter(service.__mapping__())).split("/")[1]
