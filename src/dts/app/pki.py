"""The certificates of an installation: a CA of its own, and one for each role that says which role it is.

The CA's key never leaves the directory where it was made; no process of dts needs it.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from dts.domain.access import ROLES
from dts.domain.errors import FailedPrecondition, InvalidArgument, NotFound
from dts.rpc.tls import NODE, ROLE

CA = "ca.pem"
CA_KEY = "ca.key"
CA_LIFE = timedelta(days=3650)
LIFE = timedelta(days=398)
MOST_LIFE = timedelta(days=3650)
SKEW = timedelta(minutes=5)
"""Certificates are valid a little before they are made: clocks differ."""

_HOST = re.compile(r"(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_.-]{0,250}[A-Za-z0-9])?", re.ASCII)
_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)

LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Issued:
    """What a certificate says.

    roles: whom it speaks for; empty for a CA.
    node: the only node whose work its owner may do; empty for any.
    names: host names and addresses that it may be met at.
    """

    path: Path
    roles: tuple[str, ...]
    node: str
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    ca: bool


def make_ca(directory: Path, *, now: datetime) -> Issued:
    """Makes the CA of an installation.

    Raises:
        FailedPrecondition: there is one already, or the directory cannot be written.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"dts CA {now:%Y-%m-%d}")])
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        _builder(name, name, key.public_key(), now, CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _create(directory / CA_KEY, _pem(key), 0o600)
        _create(directory / CA, _pem(certificate), 0o644)
    except FileExistsError as error:
        why = f"{error.filename} exists; `dts pki issue` makes certificates with the CA that is there"
        raise FailedPrecondition(why, code="pki.exists") from error
    except OSError as error:
        raise _unwritable(directory, error) from error
    return read(directory / CA)


def issue(
    directory: Path,
    roles: Collection[str],
    *,
    now: datetime,
    node: str = "",
    names: Sequence[str] | None = None,
    life: timedelta = LIFE,
) -> Issued:
    """Makes the certificate of a process; one of the same name is replaced, which renews it.

    Args:
        directory: where the CA is and where the certificate goes, with its key, in one file.
        roles: the roles of the process.
        now: the time.
        node: the only node whose work it may do; empty for any.
        names: further host names and addresses that callers know it by; None for those of the one that is replaced.
        life: how long it works.

    Raises:
        InvalidArgument: no such role, or no such name.
        NotFound: there is no CA here.
        FailedPrecondition: the files cannot be read or written.
    """
    if not roles or not set(roles) <= ROLES:
        raise InvalidArgument.of("role", "role.unknown", f"is of {', '.join(sorted(ROLES))}")
    if not timedelta(0) < life <= MOST_LIFE:
        raise InvalidArgument.of("--days", "pki.days", f"is from 1 to {MOST_LIFE.days}")
    if node and not _NODE.fullmatch(node):
        raise InvalidArgument.of("--node", "pki.node", "is the id of a node, as `dts node list -o json` shows it")
    authority, signer = _authority(directory)
    key = ec.generate_private_key(ec.SECP256R1())
    title = "+".join(sorted(roles))
    path = directory / f"{title}{'.' + node if node else ''}.pem"
    further = _names_of(path) if names is None else names
    known_by = [*(host for role in sorted(roles) for host in (role, f"tasks.{role}")), *LOOPBACK, *further]
    uris = [ROLE + role for role in sorted(roles)] + ([NODE + node] if node else [])
    alternatives = [_general(name) for name in dict.fromkeys(known_by)]
    alternatives += [x509.UniformResourceIdentifier(uri) for uri in uris]
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"dts {title}")])
    certificate = (
        _builder(subject, authority.subject, key.public_key(), now, life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    draft = path.with_suffix(".new")
    try:
        draft.unlink(missing_ok=True)
        _create(draft, _pem(key) + _pem(certificate), 0o600)
        draft.replace(path)
    except OSError as error:
        raise _unwritable(directory, error) from error
    return read(path)


def read(path: Path) -> Issued:
    """What the certificate in a file says.

    Raises:
        NotFound: there is no such file, or no certificate in it.
    """
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it holds no certificate in PEM"
        raise NotFound(f"{path} cannot be read: {why}", code="pki.unreadable") from error
    names = _alternatives(certificate)
    uris = names.get_values_for_type(x509.UniformResourceIdentifier) if names else []
    hosts = names.get_values_for_type(x509.DNSName) if names else []
    addresses = names.get_values_for_type(x509.IPAddress) if names else []
    return Issued(
        path=path,
        roles=tuple(uri.removeprefix(ROLE) for uri in uris if uri.startswith(ROLE)),
        node=next((uri.removeprefix(NODE) for uri in uris if uri.startswith(NODE)), ""),
        names=(*hosts, *(str(address) for address in addresses)),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        ca=_is_ca(certificate),
    )


def _names_of(path: Path) -> tuple[str, ...]:
    """Names that people gave once must not be lost when a certificate is renewed without saying them again."""
    try:
        return read(path).names
    except NotFound:
        return ()


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(
        subject_name=subject,
        issuer_name=issuer,
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=now - SKEW,
        not_valid_after=now + life,
    )


def _authority(directory: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    try:
        certificate = x509.load_pem_x509_certificate((directory / CA).read_bytes())
        key = serialization.load_pem_private_key((directory / CA_KEY).read_bytes(), password=None)
    except FileNotFoundError as error:
        raise NotFound(f"there is no CA in {directory}; `dts pki init` makes one", code="pki.no_ca") from error
    except (OSError, ValueError, TypeError) as error:
        why = f"the CA in {directory} cannot be read: {getattr(error, 'strerror', None) or 'it is no PEM'}"
        raise FailedPrecondition(why, code="pki.unreadable") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise FailedPrecondition(f"{directory / CA_KEY} is not the key of {directory / CA}", code="pki.unreadable")
    return certificate, key


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass  # it is a name
    if not _HOST.fullmatch(name):
        why = "is a host name or an address, such as dts.example.org or 10.0.0.5"
        raise InvalidArgument.of("--name", "pki.name", why)
    return x509.DNSName(name)


def _alternatives(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _pem(value: x509.Certificate | ec.EllipticCurvePrivateKey) -> bytes:
    if isinstance(value, x509.Certificate):
        return value.public_bytes(serialization.Encoding.PEM)
    form, sealed = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return value.private_bytes(serialization.Encoding.PEM, form, sealed)


def _create(path: Path, content: bytes, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(content)


def _unwritable(directory: Path, error: OSError) -> FailedPrecondition:
    return FailedPrecondition(f"cannot write to {directory}: {error.strerror}", code="pki.unwritable")
