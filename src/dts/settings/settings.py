"""What the environment says, read once, checked, and frozen.

Every setting is a variable `DTS_…`. A secret may stand in a file instead, named by `DTS_…_FILE`. An empty variable
is an unset one.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal, cast
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from dts.domain.errors import InvalidArgument
from dts.domain.seal_keys import keys_of
from dts.settings import values
from dts.settings.reader import Reader
from dts.settings.values import Address

LEAST_SLOTS = 8
SLOTS_PER_CPU = 4
KEEP = timedelta(days=30)
LogFormat = Literal["text", "json"]


@dataclass(frozen=True, slots=True)
class Peers:
    """Where the roles are that this process does not host; each may have several replicas."""

    database: tuple[Address, ...] = ()
    scheduler: tuple[Address, ...] = ()
    definition: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """The files of mutual TLS between roles. key: None if it stands beside the certificate."""

    ca: Path
    certificate: Path
    key: Path | None


@dataclass(frozen=True, slots=True)
class ExecutorSettings:
    """What the executor of this machine is and can take.

    allow_process: whether it runs processes; None if nothing was said: `dts dev` does, `dts serve` does not.
    docker_host: DOCKER_HOST as it stands, or None for the usual socket.
    installation: tells what this installation started on the node from what others did; empty: the data directory does.
    policy_file: what containers may do here; None: what is safe.
    registry_auth: the file with logins for private registries.
    """

    node_name: str
    slots: int
    cpus: float
    memory: int
    labels: Mapping[str, str]
    allow_process: bool | None
    docker_host: str | None
    installation: str
    policy_file: Path | None
    registry_auth: Path | None


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a process is told from outside.

    data_dir: where this machine keeps what must survive a restart.
    dsn: the PostgreSQL to use; None: an embedded one.
    dsn_lent: whether it leads to a pooler that lends a session for each transaction.
    dsn_password_file: where its password stands, and where another one may stand some day.
    token: what callers must show, and what we show to others.
    admin_token: the secret of the first admin token, for the role database.
    seal_keys: what closes and opens the addresses of channels, for the role scheduler.
    tls: the certificates of this process; None: it speaks in the clear.
    insecure: whether it may speak in the clear to other machines.
    postgres_binaries: a PostgreSQL's bin folder for the embedded server, instead of the one that is found.
    keep: how long what happened is kept.
    traces: whether spans of runs are sent by OpenTelemetry, whose own variables say where.
    warnings: what was set and means nothing, one sentence each.
    """

    data_dir: Path
    dsn: str | None = field(repr=False)
    dsn_lent: bool
    dsn_password_file: Path | None
    token: str | None = field(repr=False)
    admin_token: str | None = field(repr=False)
    seal_keys: tuple[bytes, ...] = field(repr=False)
    tls: TlsSettings | None
    insecure: bool
    postgres_binaries: Path | None
    peers: Peers
    executor: ExecutorSettings
    keep: timedelta
    traces: bool
    log_format: LogFormat | None
    log_level: str
    warnings: tuple[str, ...]

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read the environment.

        Raises:
            InvalidArgument: with a violation for each variable that is wrong.
        """
        reader = Reader(environ)
        settings = cls(
            data_dir=reader.path("DTS_DATA") or default_data_dir(environ),
            dsn=_dsn(reader),
            dsn_lent=reader.value("DTS_DSN_POOLING", values.one_of("none", "transaction"), "none") == "transaction",
            dsn_password_file=reader.path("DTS_DSN_PASSWORD_FILE"),
            token=reader.installation_token(),
            admin_token=reader.secret_file("DTS_ADMIN_TOKEN_FILE", values.access_token),
            seal_keys=reader.secret_file("DTS_SEAL_KEY_FILE", keys_of) or (),
            tls=_tls(reader),
            insecure=reader.value("DTS_INSECURE", values.flag, False),
            postgres_binaries=reader.path("DTS_PG_BIN"),
            peers=_peers(reader),
            executor=_executor(reader),
            keep=reader.value("DTS_KEEP", values.keep, KEEP),
            traces=reader.value("DTS_TRACES", values.one_of("none", "otlp"), "none") == "otlp",
            log_format=cast(
                "Literal['text', 'json'] | None", reader.value("DTS_LOG", values.one_of("text", "json"), None)
            ),
            log_level=reader.value("DTS_LOG_LEVEL", values.level, "INFO"),
            warnings=reader.unknown(),
        )
        if reader.violations:
            raise InvalidArgument(reader.violations)
        return settings

    def dsn_password(self) -> str:
        """The password of the database as it stands in its file now.

        Raises:
            OSError: it cannot be read.
        """
        assert self.dsn_password_file is not None
        return self.dsn_password_file.read_text("utf-8", errors="replace").strip()

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown, for the set-up of logging."""
        password = re.search(r"://[^/@]*?:([^@]+)@", self.dsn or "")
        shown = (password[1], unquote(password[1])) if password else ()
        return tuple(dict.fromkeys(secret for secret in (self.token, self.admin_token, self.dsn, *shown) if secret))


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """Where data belongs if nothing is said: /var/lib/dts for root, else the user's own place for data."""
    if os.geteuid() == 0:
        return Path("/var/lib/dts")
    share = environ.get("XDG_DATA_HOME", "")
    # The XDG specification: a relative path is to be ignored.
    return (Path(share) if share.startswith("/") else Path.home() / ".local" / "share") / "dts"


def _dsn(reader: Reader) -> str | None:
    """The address of PostgreSQL, with the password that may stand in a secret of its own."""
    dsn, password = reader.secret("DTS_DSN"), reader.secret("DTS_DSN_PASSWORD")
    if password is None or dsn is None:
        return dsn
    try:
        parts = urlsplit(dsn)
    except ValueError:  # as odd as it is, the pool says so
        return dsn
    user, _, host = parts.netloc.rpartition("@")
    if not user or ":" in user:
        reader.refuse("DTS_DSN_PASSWORD", "settings.twice", "is for a DTS_DSN that names a user and no password")
        return dsn
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}"))


def _peers(reader: Reader) -> Peers:
    return Peers(
        database=reader.value("DTS_DATABASE_ADDR", values.addresses, ()),
        scheduler=reader.value("DTS_SCHEDULER_ADDR", values.addresses, ()),
        definition=reader.value("DTS_DEFINITION_ADDR", values.addresses, ()),
    )


def _tls(reader: Reader) -> TlsSettings | None:
    certificate, key = reader.path("DTS_TLS_CERT"), reader.path("DTS_TLS_KEY")
    # The command line has its CA in the same variable; beside it, `system` stands for those that the machine trusts.
    ca = None if reader.text("DTS_TLS_CA") == "system" else reader.path("DTS_TLS_CA")
    if certificate is None:
        if key is not None:
            reader.refuse("DTS_TLS_CERT", "settings.missing", "is not set, and DTS_TLS_KEY is")
        return None
    if ca is None:
        why = "names the file with the CA that made DTS_TLS_CERT, which is set; `dts pki init` makes both"
        reader.refuse("DTS_TLS_CA", "settings.missing", why)
        return None
    return TlsSettings(ca, certificate, key)


def _executor(reader: Reader) -> ExecutorSettings:
    cpus = reader.value("DTS_CPUS", values.cpus, float(_cpu_count()))
    return ExecutorSettings(
        node_name=reader.value("DTS_NODE_NAME", values.node_name, socket.gethostname()),
        slots=reader.value("DTS_SLOTS", values.slots, max(LEAST_SLOTS, int(SLOTS_PER_CPU * cpus))),
        cpus=cpus,
        memory=reader.value("DTS_MEMORY", values.size, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")),
        labels=reader.value("DTS_NODE_LABELS", values.labels, {}),
        allow_process=reader.value("DTS_ALLOW_PROCESS", values.flag, None),
        docker_host=reader.text("DOCKER_HOST"),
        installation=reader.text("DTS_INSTALLATION") or "",
        policy_file=reader.path("DTS_POLICY_FILE"),
        registry_auth=reader.path("DTS_REGISTRY_AUTH_FILE"),
    )


def _cpu_count() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
