"""The dashboard of a process that hosts the gateway."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

from aiohttp import web

from dts.app.house import House
from dts.app.wiring import Wiring
from dts.domain.errors import FailedPrecondition
from dts.roles.gateway.web.dashboard import routes
from dts.roles.gateway.web.person import Services
from dts.roles.gateway.web.session import Sessions
from dts.runtime import clock

SECRET_BITS = 256


def dashboard(house: House, wiring: Wiring, *, stopping: Callable[[], bool]) -> list[web.RouteDef]:
    """What is served beside the API.

    Raises:
        FailedPrecondition: the key of the certificate cannot be read.
    """
    assert house.definition is not None
    assert house.scheduler is not None
    return routes(
        Services(house.definition, house.scheduler),
        gate=house.gate,
        sessions=Sessions(_secret(wiring), now=clock.now, rand=clock.random_bits),
        clock=clock.now,
        version=version("dts"),
        stopping=stopping,
    )


def _secret(wiring: Wiring) -> bytes:
    """What every gateway of the installation has and nobody else: the key of its certificate, or the shared token."""
    files = wiring.settings.tls
    if files is not None:
        try:
            return (files.key or files.certificate).read_bytes()
        except OSError as error:
            raise FailedPrecondition(f"the key of the certificate cannot be read: {error.strerror}") from error
    if wiring.token is not None:
        return wiring.token.encode()
    return clock.random_bits(SECRET_BITS).to_bytes(SECRET_BITS // 8, "big")
