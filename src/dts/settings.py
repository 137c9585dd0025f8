"""What the environment says, read once, checked, and frozen.

Every setting is a variable `DTS_…`. A secret may stand in a file instead, named by `DTS_…_FILE`. An empty variable
is an unset one. Every mistake is named, not only the first.
"""

from __future__ import annotations

import difflib
import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal, TypeVar, cast
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from dts.domain.durations import parse_duration
from dts.domain.errors import InvalidArgument, Violation
from dts.domain.seal_keys import keys_of
from dts.domain.sizes import parse_size
from dts.domain.tokens import is_secret

T = TypeVar("T")

LEAST_SLOTS = 8
SLOTS_PER_CPU = 4
MOST_SLOTS = 100_000
TOKEN_LENGTH = 32
"""Characters of a token that may do everything, at least."""

KEEP = timedelta(days=30)
LEAST_KEEP = timedelta(hours=1)
MOST_KEEP = timedelta(days=3650)

# The command line reads these itself.
_ELSEWHERE = ("DTS_SERVER",)
_LABEL_KEY = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?")
_NODE_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_FLAGS = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(("0", "false", "no", "off"), False)
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_SHOWN = 64
_EVERY = "dns:"


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port; `dns:` before the host stands for every address behind the name, each a replica."""

    host: str
    port: int

    def __str__(self) -> str:
        """As it is written: `host:port`, an IPv6 address in brackets."""
        bare = self.host.removeprefix(_EVERY)
        return f"[{self.host}]:{self.port}" if ":" in bare else f"{self.host}:{self.port}"


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
    log_format: Literal["text", "json"] | None
    log_level: str
    warnings: tuple[str, ...]

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read the environment.

        Raises:
            InvalidArgument: with a violation for each variable that is wrong.
        """
        reader = _Reader(environ)
        settings = cls(
            data_dir=reader.path("DTS_DATA") or default_data_dir(environ),
            dsn=_dsn(reader),
            dsn_lent=reader.value("DTS_DSN_POOLING", _one_of("none", "transaction"), "none") == "transaction",
            dsn_password_file=reader.path("DTS_DSN_PASSWORD_FILE"),
            token=reader.installation_token(),
            admin_token=reader.secret_file("DTS_ADMIN_TOKEN_FILE", _access_token),
            seal_keys=reader.secret_file("DTS_SEAL_KEY_FILE", keys_of) or (),
            tls=_tls(reader),
            insecure=reader.value("DTS_INSECURE", _flag, False),
            postgres_binaries=reader.path("DTS_PG_BIN"),
            peers=_peers(reader),
            executor=_executor(reader),
            keep=reader.value("DTS_KEEP", _keep, KEEP),
            traces=reader.value("DTS_TRACES", _one_of("none", "otlp"), "none") == "otlp",
            log_format=cast("Literal['text', 'json'] | None", reader.value("DTS_LOG", _one_of("text", "json"), None)),
            log_level=reader.value("DTS_LOG_LEVEL", _level, "INFO"),
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


def _dsn(reader: _Reader) -> str | None:
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


def _peers(reader: _Reader) -> Peers:
    return Peers(
        database=reader.value("DTS_DATABASE_ADDR", _addresses, ()),
        scheduler=reader.value("DTS_SCHEDULER_ADDR", _addresses, ()),
        definition=reader.value("DTS_DEFINITION_ADDR", _addresses, ()),
    )


def _tls(reader: _Reader) -> TlsSettings | None:
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


def _executor(reader: _Reader) -> ExecutorSettings:
    cpus = reader.value("DTS_CPUS", _cpus, float(_cpu_count()))
    return ExecutorSettings(
        node_name=reader.value("DTS_NODE_NAME", _node_name, socket.gethostname()),
        slots=reader.value("DTS_SLOTS", _slots, max(LEAST_SLOTS, int(SLOTS_PER_CPU * cpus))),
        cpus=cpus,
        memory=reader.value("DTS_MEMORY", _size, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")),
        labels=reader.value("DTS_NODE_LABELS", _labels, {}),
        allow_process=reader.value("DTS_ALLOW_PROCESS", _flag, None),
        docker_host=reader.text("DOCKER_HOST"),
        installation=reader.text("DTS_INSTALLATION") or "",
        policy_file=reader.path("DTS_POLICY_FILE"),
        registry_auth=reader.path("DTS_REGISTRY_AUTH_FILE"),
    )


def _cpu_count() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Reader:
    """Reads variables and collects what is wrong with them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.violations: list[Violation] = []
        self._environ = environ
        self._known: set[str] = set(_ELSEWHERE)

    def text(self, name: str) -> str | None:
        self._known.add(name)
        return self._environ.get(name, "").strip() or None

    def value(self, name: str, parse: Callable[[str], T], default: T) -> T:
        """What `parse` makes of the variable; its ValueError is the sentence for people."""
        text = self.text(name)
        if text is None:
            return default
        try:
            return parse(text)
        except ValueError as exc:
            shown = f" {text!r}" if len(text) <= _SHOWN and text.isprintable() else ""
            self.refuse(name, "settings.invalid", f"{exc}; it is{shown or ' something else'}")
            return default

    def path(self, name: str) -> Path | None:
        return self.value(name, lambda text: Path(text).expanduser().absolute(), None)

    def secret(self, name: str) -> str | None:
        """A secret, from the variable or from the file that `…_FILE` names; never echoed."""
        text, file = self.text(name), self.text(f"{name}_FILE")
        if text is not None and file is not None:
            self.refuse(name, "settings.twice", f"is set beside {name}_FILE; only one of them may be")
        if text is not None or file is None:
            return text
        return self._from_file(f"{name}_FILE", Path(file))

    def installation_token(self) -> str | None:
        """The token that may do everything: long enough that nobody finds it by guessing."""
        token = self.secret("DTS_TOKEN")
        if token is not None and len(token) < TOKEN_LENGTH:
            self.refuse(
                "DTS_TOKEN",
                "settings.short",
                f"has fewer than {TOKEN_LENGTH} characters; `dts token generate` makes one",
            )
        return token

    def secret_file(self, name: str, check: Callable[[str], T]) -> T | None:
        """A secret that may stand in a file only; never echoed, not even by `check`."""
        file = self.text(name)
        text = None if file is None else self._from_file(name, Path(file))
        try:
            return None if text is None else check(text)
        except ValueError as exc:
            self.refuse(name, "settings.invalid", str(exc))
            return None

    def _from_file(self, name: str, file: Path) -> str | None:
        # Whoever put the secret itself here by mistake must not find it in the log.
        shown = f"the file {file}" if file.is_absolute() else "a file"
        text, trouble = "", f"names {shown} that is empty"
        try:
            text = file.read_text("utf-8").strip()
        except OSError as exc:
            trouble = f"names {shown} that cannot be read: {exc.strerror}"
        except UnicodeDecodeError:
            trouble = f"names {shown} that is not UTF-8 text"
        if not text:
            self.refuse(name, "settings.unreadable", trouble)
        return text or None

    def unknown(self) -> tuple[str, ...]:
        """A sentence for each variable that looks like a setting and is none."""
        names = sorted(name for name in self._environ if name.startswith("DTS_") and name not in self._known)
        return tuple(f"{name} is not a setting of dts{self._nearest(name)}" for name in names)

    def _nearest(self, name: str) -> str:
        near = difflib.get_close_matches(name, self._known, n=1, cutoff=0.75)
        return f"; did you mean {near[0]}?" if near else ""

    def refuse(self, name: str, code: str, message: str) -> None:
        self.violations.append(Violation(name, code, message))


def _addresses(text: str) -> tuple[Address, ...]:
    return tuple(_address(part.strip()) for part in text.split(","))


def _address(text: str) -> Address:
    whole, _, port = text.rpartition(":")
    many = whole.startswith(_EVERY)
    host = whole.removeprefix(_EVERY)
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host if ":" not in host else ""
    if not host or any(c.isspace() or c == "/" for c in host) or not port.isdecimal() or not 0 < int(port[:6]) < 65536:
        raise ValueError(
            "must be HOST:PORT, or dns:NAME:PORT for every address of a name, or several of them with commas; "
            "a port is from 1 to 65535"
        )
    return Address(_EVERY + host if many else host, int(port))


def _labels(text: str) -> dict[str, str]:
    labels: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not _LABEL_KEY.fullmatch(key) or key in labels:
            raise ValueError("must be KEY=VALUE with commas between, each key once, of letters, digits and . _ / -")
        labels[key] = value
    return labels


def _node_name(text: str) -> str:
    if not _NODE_NAME.fullmatch(text):
        raise ValueError("must be 1 to 63 letters, digits and . _ -, beginning and ending with a letter or digit")
    return text


def _slots(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text[:9]) <= MOST_SLOTS:
        raise ValueError(f"must be a whole number from 1 to {MOST_SLOTS}")
    return int(text)


def _cpus(text: str) -> float:
    if not re.fullmatch(r"\d{1,5}(\.\d{1,6})?", text, re.ASCII) or float(text) <= 0:
        raise ValueError("must be a number of processors above 0, such as 2 or 0.5")
    return float(text)


def _size(text: str) -> int:
    try:
        size = parse_size(text)
    except ValueError:
        size = 0
    if not size:
        raise ValueError("must be a number of bytes above 0, or one with a unit such as 512m or 8GiB")
    return size


def _keep(text: str) -> timedelta:
    try:
        keep = parse_duration(text)
    except ValueError:
        keep = timedelta(0)
    if not LEAST_KEEP <= keep <= MOST_KEEP:
        raise ValueError(f"must be from 1h to {MOST_KEEP.days}d, such as 30d or 12h")
    return keep


def _flag(text: str) -> bool:
    if text.lower() not in _FLAGS:
        raise ValueError("must be true or false")
    return _FLAGS[text.lower()]


def _level(text: str) -> str:
    return _one_of(*_LEVELS)(text.upper())


def _access_token(text: str) -> str:
    if not is_secret(text):
        raise ValueError("names a file that does not hold one access token; `dts token generate` prints one")
    return text


def _one_of(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"must be {', '.join(allowed[:-1])} or {allowed[-1]}")
        return text

    return parse
