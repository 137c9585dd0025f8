"""The way to the server: its address and token, and the services behind it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from dts.domain.errors import InvalidArgument

if TYPE_CHECKING:
    from dts.pb.dts.v1 import AccessServiceStub, ChannelServiceStub, SchedulerServiceStub, TaskDefinitionServiceStub
    from dts.rpc.address import HostPort
    from dts.rpc.tls import CallerTls

SERVER = "127.0.0.1:7461"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Client:
    """What people may call."""

    tasks: TaskDefinitionServiceStub
    scheduler: SchedulerServiceStub
    access: AccessServiceStub
    channels: ChannelServiceStub


def call(work: Callable[[Client], Awaitable[T]]) -> T:
    """Runs something with a client.

    Raises:
        DtsError: as the services say.
    """

    async def with_client() -> T:
        async with connected() as client:
            return await work(client)

    return asyncio.run(with_client())


@asynccontextmanager
async def connected() -> AsyncIterator[Client]:
    """A client of the server that the environment names, or of the `dts dev` on this machine."""
    from dts.pb.dts.v1 import AccessServiceStub, ChannelServiceStub, SchedulerServiceStub, TaskDefinitionServiceStub
    from dts.rpc.address import HostPort
    from dts.rpc.channel import connect
    from dts.rpc.stubs import stub

    server, token = address()
    try:
        where = HostPort.parse(server)
    except ValueError as error:
        raise InvalidArgument.of("DTS_SERVER", "settings.invalid", str(error)) from error
    tls = _tls()
    if tls is None and token is not None:
        _check_safe(where)
    channel = connect([where], token=token, tls=tls)
    try:
        yield Client(
            stub(TaskDefinitionServiceStub, channel),
            stub(SchedulerServiceStub, channel),
            stub(AccessServiceStub, channel),
            stub(ChannelServiceStub, channel),
        )
    finally:
        channel.close()


def address() -> tuple[str, str | None]:
    """Server and token: from the environment, or what `dts dev` left in its data directory."""
    from dts.app import credentials
    from dts.settings import default_data_dir

    data = os.environ.get("DTS_DATA")
    known = credentials.read(Path(data) if data else default_data_dir(os.environ))
    server = os.environ.get("DTS_SERVER") or (known.server if known else SERVER)
    # What `dts dev` left belongs to that server; another one, named by DTS_SERVER, is not shown its token.
    own = known.token if known and _same(known.server, server) else None
    return server, _token() or own


def _same(one: str, other: str) -> bool:
    return one.replace("localhost:", "127.0.0.1:") == other.replace("localhost:", "127.0.0.1:")


def _tls() -> CallerTls | None:
    from dts.rpc.tls import people

    ca = os.environ.get("DTS_TLS_CA")
    return people(ca) if ca else None


def _check_safe(where: HostPort) -> None:
    """Raises InvalidArgument where a token would be readable on its way."""
    if not where.is_loopback and os.environ.get("DTS_INSECURE", "").lower() not in ("1", "true", "yes", "on"):
        why = (
            f"is not set: everybody on the way to {where.host[:64]} could read the token. It names the file with the "
            "CA of the installation, or is `system` for those that this machine trusts; DTS_INSECURE=1 does without"
        )
        raise InvalidArgument.of("DTS_TLS_CA", "settings.insecure", why)


def _token() -> str | None:
    if token := os.environ.get("DTS_TOKEN"):
        return token
    file = os.environ.get("DTS_TOKEN_FILE")
    if not file:
        return None
    try:
        return Path(file).read_text("utf-8").strip() or None
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        words = f"names a file that cannot be read, {file}: {why}"
        raise InvalidArgument.of("DTS_TOKEN_FILE", "settings.unreadable", words) from error
