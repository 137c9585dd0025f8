"""`dts serve`: some of the roles in one process, the others elsewhere."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from itertools import count

from dts.app.database import check_database, migrate_database
from dts.app.house import House
from dts.app.pki import Issued, read
from dts.app.process import Doors, run
from dts.app.wiring import GRPC, Wiring, http_address, in_the_clear, missing_peers, parse_address, parse_roles
from dts.domain.errors import InvalidArgument, Unavailable, Violation
from dts.rpc.tls import Tls, TlsFiles
from dts.runtime import clock, logs
from dts.runtime.loop import back_off
from dts.runtime.stop import stop_signals
from dts.settings import Settings

log = logging.getLogger(__name__)

RENEW = timedelta(days=30)
"""A certificate that expires sooner is spoken of in the log."""


def run_serve(
    settings: Settings,
    *,
    roles: list[str],
    grpc: str | None,
    http: str | None,
    migrate: bool,
    say: Callable[[str], None],
) -> None:
    """Hosts roles in the foreground until a signal ends it.

    Args:
        settings: from the environment.
        roles: names, with commas between or several times.
        grpc: HOST:PORT to serve gRPC on.
        http: HOST:PORT of health, figures and, where the gateway is hosted, the API as JSON; the gateway's default is
            127.0.0.1:7462, that of the others nowhere.
        migrate: bring the database to the schema of this binary before it is served.
        say: prints a line for people.

    Raises:
        InvalidArgument: a role is not known, or a setting that a role needs is missing.
        DtsError: it cannot start, or cannot go on.
    """
    hosted = parse_roles(roles)
    wiring = Wiring(
        settings=settings,
        roles=hosted,
        grpc=parse_address(grpc, GRPC, field_name="grpc"),
        http=http_address(http, hosted),
        token=settings.token,
        tls=_tls(settings),
        dsn=settings.dsn,
        allow_process=settings.executor.allow_process is True,
    )
    _check(wiring)
    asyncio.run(_serve(wiring, migrate=migrate, say=say))


async def _serve(wiring: Wiring, *, migrate: bool, say: Callable[[str], None]) -> None:
    settings = wiring.settings
    logs.configure(level=settings.log_level, form=settings.log_format, secrets=settings.secrets)
    for warning in settings.warnings:
        log.warning("%s", warning)

    async def ready(_house: House, doors: Doors) -> None:
        http = f" http={doors.http}" if doors.http else ""
        say(f"ready  roles={','.join(sorted(wiring.roles))} grpc={doors.grpc}{http}")

    with stop_signals() as stop:
        if wiring.hosts("database") and wiring.dsn is not None:
            await _database_there(wiring.dsn, settings, stop)
        if stop.is_set():
            return
        if migrate and wiring.hosts("database") and wiring.dsn is not None:
            for file in await migrate_database(wiring.dsn, lent=settings.dsn_lent):
                log.info("the database has taken %s", file)
        await run(wiring, stop=stop, ready=ready)


async def _database_there(dsn: str, settings: Settings, stop: asyncio.Event) -> None:
    """Returns when the database lets us in, or when we are to stop: one that is away must not make us start over.

    Raises:
        InvalidArgument: the address cannot be read.
    """
    for failures in count(1):
        try:
            await check_database(dsn, settings)
        except Unavailable as error:
            log.warning("waiting for the database: %s", error)
        else:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(back_off(failures, clock.chance()).total_seconds()):
                await stop.wait()
        if stop.is_set():
            return


def _check(wiring: Wiring) -> None:
    """Raises InvalidArgument where the wiring is incomplete, or not safe."""
    if wiring.token is None and wiring.tls is None:
        why = (
            "is not set, nor is DTS_TOKEN: nobody could tell friend from stranger. `dts pki init` makes certificates "
            "for the roles; on one machine a DTS_TOKEN (DTS_TOKEN_FILE) that all processes share will do"
        )
        raise InvalidArgument.of("DTS_TLS_CERT", "settings.missing", why)
    missing = missing_peers(wiring)
    if missing:
        why = "is not set, and the role is not hosted here"
        raise InvalidArgument(Violation(name, "settings.missing", why) for name in missing)
    exposed = in_the_clear(wiring)
    if exposed and not wiring.settings.insecure:
        why = f"is not set: everybody on the way could read tokens and secrets ({', '.join(exposed)})"
        why += "; `dts pki init` makes certificates, DTS_INSECURE=1 does without"
        raise InvalidArgument.of("DTS_TLS_CERT", "settings.insecure", why)
    if wiring.settings.tls is not None:
        _check_certificate(read(wiring.settings.tls.certificate), wiring.roles)


def _check_certificate(own: Issued, roles: frozenset[str]) -> None:
    missing = sorted(roles - set(own.roles))
    if missing:
        found = " and ".join(sorted(own.roles)) or "no role"
        why = f"is a certificate of {found}; this process also hosts {', '.join(missing)}"
        raise InvalidArgument.of("DTS_TLS_CERT", "tls.role", why)
    left = own.not_after - clock.now()
    if left <= timedelta(0):
        why = f"is a certificate that expired at {own.not_after:%Y-%m-%d %H:%M} UTC; `dts pki issue` makes a new one"
        raise InvalidArgument.of("DTS_TLS_CERT", "tls.expired", why)
    if left < RENEW:
        log.warning("the certificate %s expires in %d days; `dts pki issue` makes a new one", own.path, left.days)


def _tls(settings: Settings) -> Tls | None:
    found = settings.tls
    return None if found is None else Tls(TlsFiles(found.ca, found.certificate, found.key))
