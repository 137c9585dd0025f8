"""Mutual TLS: who is at the other end of a connection, by the role that its certificate names.

A certificate names roles and a node by URIs among its alternative names, `urn:dts:role:scheduler` and
`urn:dts:node:ID`. Callers check the role of the server and not its host name: replicas come and go behind a name, and
nobody but this installation's own CA can say that somebody is its database.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpclib.protocol import Stream as WireStream

from dts.domain.access import ROLES, Peer
from dts.domain.errors import FailedPrecondition

log = logging.getLogger(__name__)

ROLE = "urn:dts:role:"
NODE = "urn:dts:node:"

HANDSHAKE_SECONDS = 5.0
"""How long a peer may take to say who it is."""

Certificate = Mapping[str, Any]
"""A verified certificate, as `ssl.SSLSocket.getpeercert` tells it."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where the certificates are.

    ca: who may vouch for others; may hold several, while one CA follows another.
    certificate: our own, with what stands between it and the CA.
    key: of our certificate; in the same file if None.
    """

    ca: Path
    certificate: Path
    key: Path | None = None

    def stamps(self) -> tuple[tuple[int, int, int], ...]:
        """Changes when a file does. Raises OSError where one is missing."""
        found = [path.stat() for path in (self.ca, self.certificate, self.key) if path is not None]
        return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in found)


@dataclass(frozen=True, slots=True)
class CallerTls:
    """How a caller knows a server.

    context: the one for the next connection.
    check: raises ConnectionError if the certificate is not that of the server we mean.
    """

    context: Callable[[], ssl.SSLContext]
    check: Callable[[Certificate], None]


class Tls:
    """The certificates of this process. Changed files count from the next connection on, without a restart.

    Args:
        files: where they are.

    Raises:
        FailedPrecondition: they cannot be read, or do not belong together.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._made: dict[_Facing, ssl.SSLContext] = {}
        try:
            self._stamps = files.stamps()
            self._made[_CALLER] = _CALLER.context(files)
        except (OSError, ssl.SSLError) as error:
            raise FailedPrecondition(_why(files, error), code="tls.unreadable") from error

    def server(self, *, strangers: bool, protocol: str = "h2") -> ssl.SSLContext:
        """For listening.

        Args:
            strangers: also take callers without a certificate: people, who show a token.
            protocol: what is spoken, by its ALPN name.
        """
        facing = _Facing(ssl.PROTOCOL_TLS_SERVER, ssl.CERT_OPTIONAL if strangers else ssl.CERT_REQUIRED, protocol)
        self._made[facing] = facing.context(self._files)

        def turn(connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: ssl.SSLContext) -> None:
            connection.context = self._current(facing)

        listening = facing.context(self._files)
        listening.sni_callback = turn
        return listening

    def caller(self, role: str) -> CallerTls:
        """For calling a role."""
        return CallerTls(lambda: self._current(_CALLER), lambda certificate: check_role(certificate, role))

    def _current(self, facing: _Facing) -> ssl.SSLContext:
        """The context of a connection that is about to be made, with the certificates of today."""
        try:
            stamps = self._files.stamps()
            if stamps != self._stamps:
                self._stamps = stamps
                self._made = {facing: facing.context(self._files) for facing in self._made}
                log.info("the certificates have changed and were read anew")
        except (OSError, ssl.SSLError) as error:
            # Half-written files are no reason to stop: what was good stays until all of them fit.
            log.warning("%s; the certificates read before stay in use", _why(self._files, error))
        return self._made[facing]


@dataclass(frozen=True, slots=True)
class _Facing:
    """A side of connections. protocol: the ALPN name of what is spoken."""

    side: int
    verify: ssl.VerifyMode
    protocol: str

    def context(self, files: TlsFiles) -> ssl.SSLContext:
        """Reads the files. Raises OSError or SSLError."""
        context = ssl.SSLContext(self.side)
        # No password is ever asked for on the terminal: an encrypted key is an error here.
        context.load_cert_chain(files.certificate, files.key, password=lambda: b"")
        context.load_verify_locations(files.ca)
        context.check_hostname = False
        context.verify_mode = self.verify
        # A resumed session would keep a certificate alive that is no longer taken.
        context.options |= ssl.OP_NO_TICKET
        return _speaking(context, self.protocol)


_CALLER = _Facing(ssl.PROTOCOL_TLS_CLIENT, ssl.CERT_REQUIRED, "h2")


def people(ca: str) -> CallerTls:
    """How people know the gateway.

    Args:
        ca: the file with the CA of the installation, and the server's certificate must name the role gateway; or
            `system`, and any CA that this machine trusts may vouch for the server's host name.

    Raises:
        FailedPrecondition: the file cannot be read.
    """
    if ca == "system":
        common = _speaking(ssl.create_default_context(), "h2")
        return CallerTls(lambda: common, lambda _certificate: None)
    try:
        own = _speaking(ssl.create_default_context(cafile=ca), "h2")
    except (OSError, ssl.SSLError) as error:
        why = f"DTS_TLS_CA names a file that holds no certificate, {ca}: {_reason(error)}"
        raise FailedPrecondition(why, code="tls.unreadable") from error
    own.check_hostname = False
    return CallerTls(lambda: own, lambda certificate: check_role(certificate, "gateway"))


def peer_of(stream: WireStream) -> Peer | None:
    """What the certificate at the other end of a call says; None without one, or if it names no role."""
    transport = stream.connection._transport  # noqa: SLF001 - grpclib has no other way to it
    return named(transport.get_extra_info("peercert") or {})


def named(certificate: Certificate) -> Peer | None:
    """The roles and the node that a verified certificate names; None if it names no role."""
    uris = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"]
    roles = frozenset(uri.removeprefix(ROLE) for uri in uris if uri.startswith(ROLE)) & ROLES
    nodes = [uri.removeprefix(NODE) for uri in uris if uri.startswith(NODE)]
    return Peer(roles, nodes[0] if nodes else "") if roles else None


def check_role(certificate: Certificate, role: str) -> None:
    """Raises ConnectionError unless the certificate is of this role."""
    peer = named(certificate)
    if peer is None or role not in peer.roles:
        found = " and ".join(sorted(peer.roles)) if peer else "no role"
        raise ConnectionError(f"the certificate is of {found}, not of the role {role}")


def _speaking(context: ssl.SSLContext, protocol: str) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([protocol])
    return context


def _why(files: TlsFiles, error: Exception) -> str:
    names = ", ".join(str(path) for path in (files.ca, files.certificate, files.key) if path is not None)
    return f"the certificates cannot be used ({names}): {_reason(error)}"


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "no pem").replace("_", " ").lower()
    return getattr(error, "strerror", None) or str(error)
