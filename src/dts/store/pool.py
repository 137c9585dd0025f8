"""Connections to PostgreSQL that notice when the other side is gone, and the border where its errors become ours.

asyncpg sets no keep-alive and waits for ever on a dead socket; every limit below is there so that a frozen or
vanished server costs seconds. All of them can be set by an ordinary database user.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg

from dts.domain.errors import DeadlineExceeded, InvalidArgument, Unavailable

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy
"""A connection, whether it was opened alone or lent by a pool."""

CONNECT_SECONDS = 5.0
"""How long opening a connection may take."""

COMMAND_SECONDS = 6.0
"""How long asyncpg waits for an answer: a little more than the server allows itself, so that its error comes first."""

SESSION = {
    "statement_timeout": "5s",
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "5s",
    # A peer that is gone is noticed by the server too, which then drops its locks.
    "client_connection_check_interval": "2s",
    "tcp_user_timeout": "10000",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "timezone": "UTC",
    # Statements are short: compiling one costs more than running it.
    "jit": "off",
}
"""Settings of every session."""

WITHIN = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "jit")
"""Those that a transaction has where sessions belong to a pooler; a pooler refuses the rest at the door."""

_GONE = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TargetServerAttributeNotMatched,
)
_UNABLE = (
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ObjectNotInPrerequisiteStateError,  # the database takes no connections, as while it is restored
    asyncpg.ReadOnlySQLTransactionError,
)


class LentSession(asyncpg.Connection):
    """A connection to a pooler: what every session has elsewhere, every transaction has here."""

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:  # noqa: ASYNC109 - asyncpg's
        """As asyncpg's; what begins a transaction sets its limits on the same way."""
        if query.startswith("BEGIN"):
            query += "".join(f" SET LOCAL {name} = '{SESSION[name]}';" for name in WITHIN)
        return await super().execute(query, *args, timeout=timeout)


async def open_pool(
    dsn: str,
    *,
    size: int,
    name: str = "dts",
    command_seconds: float = COMMAND_SECONDS,
    lent: bool = False,
    password: Callable[[], str] | None = None,
) -> asyncpg.Pool:
    """Open a pool of at most `size` connections; one is opened at once, so that a wrong DSN shows here.

    A DSN may name several hosts; the one that takes writes is used. json and jsonb go in and out as Python values.

    Args:
        dsn: a PostgreSQL URI.
        size: at most so many connections.
        name: what the server shows of them.
        command_seconds: how long an answer may take.
        lent: it leads to a pooler that lends a session for a transaction, as PgBouncer does in that mode.
        password: asked for whenever a connection is opened, since it may be another one by then; None: that of the DSN.

    Raises:
        InvalidArgument: the DSN cannot be read.
        Unavailable: no server answers, or it refuses this user or database.
    """
    options: dict[str, Any] = {} if "target_session_attrs" in dsn else {"target_session_attrs": "read-write"}
    settings = {**SESSION, "application_name": name}
    if lent:
        # Prepared statements would be left behind in sessions that others get.
        options |= {"connection_class": LentSession, "statement_cache_size": 0}
        settings = {"timezone": SESSION["timezone"], "application_name": name}
    with errors(), _readable_dsn():
        return await asyncpg.create_pool(
            dsn,
            min_size=min(1, size),
            max_size=size,
            timeout=CONNECT_SECONDS,
            command_timeout=command_seconds,
            init=_prepare,
            reset=_keep_session,
            password=password,
            server_settings=settings,
            **options,
        )


@contextmanager
def errors() -> Iterator[None]:
    """The border: inside it asyncpg's errors, outside ours.

    Passed on as they are, because only the caller knows what they mean: violated constraints, deadlocks and
    serialisation failures (try the whole transaction again), and errors in our SQL.

    Raises:
        DeadlineExceeded: no answer in time; whether the statement took effect is unknown.
        Unavailable: the server is gone, starting, stopping, full, read-only, or does not let us in.
    """
    try:
        yield
    except (TimeoutError, asyncpg.QueryCanceledError) as exc:  # before OSError: a TimeoutError is one
        raise DeadlineExceeded("the database did not answer in time", code="database.timeout") from exc
    except asyncpg.LockNotAvailableError as exc:
        raise Unavailable(
            "a row or table of the database is locked by another session", code="database.locked"
        ) from exc
    except _GONE as exc:
        raise Unavailable(f"the database cannot be reached: {exc}", code="database.unreachable") from exc
    except _UNABLE as exc:
        raise Unavailable(f"the database refuses: {exc}", code="database.refuses") from exc
    except (asyncpg.InterfaceError, asyncpg.InternalClientError) as exc:
        if not _means_closed(exc):
            raise
        raise Unavailable(f"the connection to the database was lost: {exc}", code="database.unreachable") from exc


# asyncpg has no class of its own for these: it raises the same ones for wrong use of its own API. The last is what a
# statement meets when the server has said goodbye and the end of the connection has not been read yet.
_CLOSED = ("is closed", "is closing", "connection was closed", "been released", "cannot switch to state")


def _means_closed(error: Exception) -> bool:
    return any(words in str(error) for words in _CLOSED)


@contextmanager
def _readable_dsn() -> Iterator[None]:
    try:
        yield
    except asyncpg.ClientConfigurationError as exc:
        raise InvalidArgument.of("dsn", "dsn.invalid", f"is not a PostgreSQL address: {exc}") from exc
    except ValueError:  # without a cause: it tells a part of the address, most often of a password
        why = "is not a PostgreSQL address; in a password, # / ? and @ are written %23 %2F %3F and %40"
        raise InvalidArgument.of("dsn", "dsn.invalid", why) from None


async def _prepare(connection: asyncpg.Connection) -> None:
    for name in ("json", "jsonb"):
        await connection.set_type_codec(name, schema="pg_catalog", encoder=_to_json, decoder=json.loads)


def _to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def lends(connection: Connection) -> bool:
    """Whether the session is ours for one transaction only."""
    inner = getattr(connection, "_con", connection)  # what a pool lends is a stand-in
    # asyncpg's metaclass takes every connection for an instance of every subclass.
    return type(inner) is LentSession


async def _keep_session(_: asyncpg.Connection) -> None:
    """In place of asyncpg's RESET ALL.

    asyncpg still rolls back an open transaction and drops listeners. The round trip for the rest is saved at every
    release, since the store changes settings only with SET LOCAL and takes no session locks.
    """
