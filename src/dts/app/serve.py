"""`dts serve`: some of the roles in one process, the others elsewhere."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from dts.app.house import House
from dts.app.process import Doors, run
from dts.app.wiring import GRPC, HTTP, Wiring, missing_peers, parse_address, parse_roles
from dts.domain.errors import InvalidArgument, Violation
from dts.runtime import logs
from dts.runtime.stop import stop_signals
from dts.settings import Settings

log = logging.getLogger(__name__)


def run_serve(
    settings: Settings, *, roles: list[str], grpc: str | None, http: str | None, say: Callable[[str], None]
) -> None:
    """Hosts roles in the foreground until a signal ends it.

    Args:
        settings: from the environment.
        roles: names, with commas between or several times.
        grpc: HOST:PORT to serve gRPC on.
        http: HOST:PORT of the health pages, where the gateway is hosted.
        say: prints a line for people.

    Raises:
        InvalidArgument: a role is not known, or a setting that a role needs is missing.
        DtsError: it cannot start, or cannot go on.
    """
    wiring = Wiring(
        settings=settings,
        roles=parse_roles(roles),
        grpc=parse_address(grpc, GRPC, field_name="grpc"),
        http=parse_address(http, HTTP, field_name="http"),
        token=_token(settings),
        dsn=settings.dsn,
        allow_process=settings.executor.allow_process is True,
    )
    missing = missing_peers(wiring)
    if missing:
        why = "is not set, and the role is not hosted here"
        raise InvalidArgument(Violation(name, "settings.missing", why) for name in missing)
    asyncio.run(_serve(wiring, say))


async def _serve(wiring: Wiring, say: Callable[[str], None]) -> None:
    settings = wiring.settings
    logs.configure(level=settings.log_level, form=settings.log_format, secrets=settings.secrets)
    for warning in settings.warnings:
        log.warning("%s", warning)

    async def ready(_house: House, doors: Doors) -> None:
        http = f" http={doors.http}" if doors.http else ""
        say(f"ready  roles={','.join(sorted(wiring.roles))} grpc={doors.grpc}{http}")

    with stop_signals() as stop:
        await run(wiring, stop=stop, ready=ready)


def _token(settings: Settings) -> str:
    if settings.token is None:
        why = "is not set; every process of an installation needs the same one, so that only its own may call"
        raise InvalidArgument.of("DTS_TOKEN", "settings.missing", f"{why}. DTS_TOKEN_FILE names a file with it")
    return settings.token
