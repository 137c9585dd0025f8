"""What one process hosts, where it listens and where it finds the rest."""

from __future__ import annotations

from dataclasses import dataclass, field

from dts.domain.errors import InvalidArgument
from dts.rpc.address import HostPort
from dts.rpc.tls import Tls
from dts.settings import Settings

ROLES = ("definition", "scheduler", "executor", "database", "gateway")
"""Every role, by the names of `dts serve --role`."""

GRPC = HostPort("127.0.0.1", 7461)
HTTP = HostPort("127.0.0.1", 7462)

NEEDS = {
    "definition": ("database",),
    "scheduler": ("database",),
    "executor": ("scheduler", "database"),
    "database": (),
    "gateway": ("definition", "scheduler", "database"),
}
"""Which roles a role calls: in its own process, or at the address that its setting names."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """One process.

    http: health and figures, and the API as JSON where the gateway is hosted; None for nowhere.
    token: what callers show, and what we show to others; None if certificates are all there is.
    tls: the certificates of this process; None: it speaks in the clear.
    dsn: PostgreSQL's address, for the role database.
    """

    settings: Settings
    roles: frozenset[str]
    grpc: HostPort
    http: HostPort | None
    token: str | None = field(repr=False)
    tls: Tls | None = None
    dsn: str | None = field(repr=False, default=None)
    allow_process: bool = False

    def hosts(self, role: str) -> bool:
        """Whether the role runs in this process."""
        return role in self.roles

    def peers(self, role: str) -> tuple[HostPort, ...]:
        """Where a role of another process is."""
        found = getattr(self.settings.peers, role)
        return tuple(HostPort(address.host, address.port) for address in found)


def parse_roles(names: list[str]) -> frozenset[str]:
    """Reads `scheduler,executor`, given once or several times.

    Raises:
        InvalidArgument: a name is none of the roles.
    """
    given = [name.strip() for text in names for name in text.split(",") if name.strip()]
    unknown = sorted(set(given) - set(ROLES))
    if unknown or not given:
        wrong = f"{', '.join(unknown)[:64]} is not known" if unknown else "none is given"
        raise InvalidArgument.of("role", "role.unknown", f"{wrong}; there are {', '.join(ROLES)}")
    return frozenset(given)


def http_address(text: str | None, roles: frozenset[str]) -> HostPort | None:
    """Where HTTP is served: where somebody says so, and by the gateway in any case.

    Raises:
        InvalidArgument: it is no address.
    """
    return parse_address(text, HTTP, field_name="http") if text is not None or "gateway" in roles else None


def parse_address(text: str | None, default: HostPort, *, field_name: str) -> HostPort:
    """Reads HOST:PORT; the default where nothing is said.

    Raises:
        InvalidArgument: it is no address.
    """
    if text is None:
        return default
    try:
        return HostPort.parse(text)
    except ValueError as error:
        raise InvalidArgument.of(field_name, "address.invalid", str(error)) from error


def missing_peers(wiring: Wiring) -> list[str]:
    """The settings that this process needs and lacks, such as DTS_DATABASE_ADDR."""
    called = {needed for role in wiring.roles for needed in NEEDS[role]} - wiring.roles
    return [f"DTS_{role.upper()}_ADDR" for role in ROLES if role in called and not wiring.peers(role)]


def in_the_clear(wiring: Wiring) -> list[str]:
    """Where this process would speak with other machines without TLS, each with the option or setting that says so."""
    if wiring.tls is not None:
        return []
    called = {needed for role in wiring.roles for needed in NEEDS[role]} - wiring.roles
    met = [("--grpc", wiring.grpc)]
    if wiring.http is not None and wiring.hosts("gateway"):  # elsewhere it has no secrets
        met.append(("--http", wiring.http))
    met += [(f"DTS_{role.upper()}_ADDR", peer) for role in sorted(called) for peer in wiring.peers(role)]
    return [f"{name} {address}" for name, address in met if not address.is_loopback]
