"""`dts dev`: all roles and an embedded PostgreSQL in one process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from dts.app import credentials
from dts.app.credentials import Credentials
from dts.app.database import migrate_database
from dts.app.house import House
from dts.app.process import Doors, run
from dts.app.wiring import GRPC, HTTP, ROLES, Wiring, parse_address
from dts.pb.dts.v1 import ApplyTasksRequest, Node, TaskSpec
from dts.rpc.address import HostPort
from dts.runtime import clock, logs
from dts.runtime.keep import keep
from dts.runtime.stop import stop_signals
from dts.settings import Settings
from dts.store.embedded import EmbeddedPostgres

log = logging.getLogger(__name__)

Say = Callable[[str], None]


def run_dev(
    settings: Settings, *, data: Path | None, grpc: str | None, http: str | None, apply: Sequence[TaskSpec], say: Say
) -> None:
    """Runs everything in the foreground until a signal ends it.

    Args:
        settings: from the environment.
        data: the data directory, instead of the one in the settings.
        grpc: HOST:PORT to serve gRPC on; 127.0.0.1:7461 if None.
        http: HOST:PORT of the health pages; 127.0.0.1:7462 if None.
        apply: definitions to apply before it says that it is ready.
        say: prints a line for people.

    Raises:
        DtsError: it cannot start, or cannot go on.
    """
    if data is not None:
        settings = replace(settings, data_dir=data.absolute())
    doors = (parse_address(grpc, GRPC, field_name="grpc"), parse_address(http, HTTP, field_name="http"))
    asyncio.run(_dev(settings, *doors, apply, say))


async def _dev(settings: Settings, grpc: HostPort, http: HostPort, apply: Sequence[TaskSpec], say: Say) -> None:
    token = settings.token or _token(settings.data_dir)
    logs.configure(level=settings.log_level, form=settings.log_format, secrets=(*settings.secrets, token))
    for warning in settings.warnings:
        log.warning("%s", warning)
    async with AsyncExitStack() as stack:
        stop = stack.enter_context(stop_signals())
        dsn = settings.dsn or await _embedded(settings, stack)
        await migrate_database(dsn, lent=settings.dsn_lent)
        seal_keys = settings.seal_keys or credentials.seal_keys(settings.data_dir, clock.random_bits)
        wiring = Wiring(
            settings=replace(settings, seal_keys=seal_keys),
            roles=frozenset(ROLES),
            grpc=grpc,
            http=http,
            token=token,
            dsn=dsn,
            allow_process=settings.executor.allow_process is not False,
        )
        await run(wiring, stop=stop, ready=lambda house, doors: _ready(house, doors, wiring, apply, say))


async def _embedded(settings: Settings, stack: AsyncExitStack) -> str:
    """An embedded PostgreSQL that is kept running until the stack is closed."""
    server = EmbeddedPostgres(data_dir=settings.data_dir / "postgres", binaries=settings.postgres_binaries)
    dsn = await server.start()
    stack.push_async_callback(server.stop)
    keeper = asyncio.create_task(keep(server.keep_running, name="the watch over PostgreSQL"))
    stack.callback(keeper.cancel)
    return dsn


def _token(data_dir: Path) -> str:
    """The one of the last time, so that what people have set stays valid; or a new one."""
    known = credentials.read(data_dir)
    return known.token if known and known.token else f"{clock.random_bits(256):064x}"


async def _ready(house: House, doors: Doors, wiring: Wiring, apply: Sequence[TaskSpec], say: Say) -> None:
    credentials.write(
        wiring.settings.data_dir, Credentials(server=str(doors.grpc), token=wiring.token or "", dsn=wiring.dsn or "")
    )
    if apply and house.definition is not None:
        applied = await house.definition.apply_tasks(ApplyTasksRequest(specs=list(apply)))
        for task in applied.tasks:
            say(f"{(task.change.name or '').lower():10} {task.name}")
    if house.executor is not None:
        for line in _missing(await house.executor.describe()):
            say(line)
    say(f"dashboard  http://{doors.http}/  (sign in with what `dts token create NAME --scope admin` prints)")
    say(f"ready  grpc={doors.grpc} http={doors.http} data={wiring.settings.data_dir}")


def _missing(node: Node) -> list[str]:
    return [f"no {kind} tasks on this node: {why}" for kind, why in sorted(node.missing_kinds.items())]
