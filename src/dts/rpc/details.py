"""Details of an error as gRPC carries them: `google.rpc.Status` in the header `grpc-status-details-bin`.

`BadRequest` names the fields that were refused, `ErrorInfo.reason` carries `DtsError.code`. Headers are small (peers
refuse more than 8 KiB), so what does not fit is left out and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from betterproto2 import Message
from grpclib.const import Status
from grpclib.encoding.base import StatusDetailsCodecBase

from dts.domain.errors import Violation
from dts.pb.google.protobuf import Any
from dts.pb.google.rpc import BadRequest, BadRequestFieldViolation, ErrorInfo
from dts.pb.google.rpc import Status as StatusMessage

DOMAIN = "dts"
"""`ErrorInfo.domain`: whose constant the reason is."""

MAX_MESSAGE_BYTES = 1024
MAX_VIOLATIONS_BYTES = 2048
_TYPE_URL = "type.googleapis.com/"
_OMITTED = "violations.omitted"


@dataclass(frozen=True, slots=True)
class Details:
    """An encoded `google.rpc.Status`. Kept as bytes so that a forwarder passes on what it does not know."""

    raw: bytes


@dataclass(frozen=True, slots=True)
class Facts:
    """What details say to us: the code of the error and the fields that were refused."""

    code: str | None = None
    violations: tuple[Violation, ...] = ()


class StatusDetailsCodec(StatusDetailsCodecBase):
    """Lets grpclib carry `Details` as they are."""

    def encode(self, status: Status, message: str | None, details: object) -> bytes:  # noqa: ARG002 - grpclib's signature
        """The bytes of the header; nothing for details that are not ours."""
        return details.raw if isinstance(details, Details) else b""

    def decode(self, status: Status, message: str | None, data: bytes) -> Details:  # noqa: ARG002 - grpclib's signature
        """The header as it came, unread."""
        return Details(data)


def shorten(text: str, limit: int = MAX_MESSAGE_BYTES) -> str:
    """The text as valid UTF-8 of at most `limit` bytes, marked where it was cut."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= limit:
        return encoded.decode()
    return encoded[: limit - 3].decode("utf-8", "ignore") + "…"


def pack(status: Status, message: str, code: str, violations: Sequence[Violation] = ()) -> Details:
    """The details of an error, small enough for a header."""
    parts: list[Message] = [ErrorInfo(reason=code, domain=DOMAIN)]
    if violations:
        parts.append(BadRequest(field_violations=list(_fitting(violations))))
    return Details(bytes(StatusMessage(code=status.value, message=shorten(message), details=[_any(p) for p in parts])))


def read(details: Details) -> Facts:
    """What details say, as far as they can be understood."""
    try:
        parts = StatusMessage.parse(details.raw).details
        return Facts(code=_code(parts), violations=tuple(_violations(parts)))
    except Exception:  # noqa: BLE001 - a peer's nonsense beside an error must not hide the error; the parser raises anything
        return Facts()


def _any(message: Message) -> Any:
    return Any(type_url=f"{_TYPE_URL}google.rpc.{type(message).__name__}", value=bytes(message))


def _fitting(violations: Sequence[Violation]) -> Iterable[BadRequestFieldViolation]:
    room = MAX_VIOLATIONS_BYTES
    for index, violation in enumerate(violations):
        entry = _entry(violation)
        room -= len(bytes(entry))
        if room < 0:
            left = len(violations) - index
            yield _entry(Violation("request", _OMITTED, f"{left} more of its fields were refused"))
            return
        yield entry


def _entry(violation: Violation) -> BadRequestFieldViolation:
    return BadRequestFieldViolation(
        field=shorten(violation.field, 256),
        reason=shorten(violation.code, 128),
        description=shorten(violation.message),
    )


def _code(parts: Iterable[Any]) -> str | None:
    for part in parts:
        if part.type_url == f"{_TYPE_URL}google.rpc.ErrorInfo":
            return ErrorInfo.parse(part.value).reason or None
    return None


def _violations(parts: Iterable[Any]) -> Iterable[Violation]:
    for part in parts:
        if part.type_url == f"{_TYPE_URL}google.rpc.BadRequest":
            for entry in BadRequest.parse(part.value).field_violations:
                yield Violation(entry.field, entry.reason, entry.description)
