"""The Connect protocol, as far as it is about bytes: names of codes, JSON of errors, envelopes of streams, deadlines.

See https://connectrpc.com/docs/protocol.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any

from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.metadata import Deadline

from dts.domain.errors import InvalidArgument
from dts.pb.google.rpc import Status as StatusMessage
from dts.rpc.details import Details
from dts.rpc.jsonform import JsonForm

UNARY = "application/json"
STREAM = "application/connect+json"

TIMEOUT = "connect-timeout-ms"
VERSION = "connect-protocol-version"

ENVELOPE_BYTES = 5
"""Before each message of a stream: flags, and four bytes of its length."""

LAST = 2
"""The flag of the envelope that ends a stream: how it went."""

_DIGITS = re.compile(r"[0-9]{1,10}", re.ASCII)
_TYPE_URL = "type.googleapis.com/"

_HTTP = {
    Status.CANCELLED: 499,
    Status.UNKNOWN: 500,
    Status.INVALID_ARGUMENT: 400,
    Status.DEADLINE_EXCEEDED: 504,
    Status.NOT_FOUND: 404,
    Status.ALREADY_EXISTS: 409,
    Status.PERMISSION_DENIED: 403,
    Status.RESOURCE_EXHAUSTED: 429,
    Status.FAILED_PRECONDITION: 400,
    Status.ABORTED: 409,
    Status.OUT_OF_RANGE: 400,
    Status.UNIMPLEMENTED: 501,
    Status.INTERNAL: 500,
    Status.UNAVAILABLE: 503,
    Status.DATA_LOSS: 500,
    Status.UNAUTHENTICATED: 401,
}


def code_name(status: Status) -> str:
    """A status as Connect writes it, such as `not_found`."""
    return "canceled" if status is Status.CANCELLED else status.name.lower()


def http_status(error: GRPCError) -> int:
    """The status of HTTP that an error has on a call with one answer."""
    return _HTTP[error.status]


def error_json(error: GRPCError, form: JsonForm) -> dict[str, Any]:
    """An error as JSON; its details as Connect has them, and readable beside."""
    told: dict[str, Any] = {"code": code_name(error.status)}
    if error.message:
        told["message"] = error.message
    if isinstance(error.details, Details):
        details = [_detail(part.type_url, part.value, form) for part in _parts(error.details)]
        told |= {"details": details} if details else {}
    return told


def _parts(details: Details) -> list[Any]:
    try:
        return list(StatusMessage.parse(details.raw).details)
    except Exception:  # noqa: BLE001 - nonsense beside an error must not hide the error; the parser raises anything
        return []


def _detail(type_url: str, value: bytes, form: JsonForm) -> dict[str, Any]:
    name = type_url.removeprefix(_TYPE_URL)
    shown = form.any(name, value)
    told: dict[str, Any] = {"type": name, "value": base64.b64encode(value).decode().rstrip("=")}
    return told if shown is None else told | {"debug": json.loads(shown)}


def deadline(headers: Mapping[str, str]) -> Deadline | None:
    """When the caller stops waiting.

    Raises:
        InvalidArgument: `connect-timeout-ms` is not 1 to 10 digits.
    """
    text = headers.get(TIMEOUT)
    if text is None:
        return None
    if _DIGITS.fullmatch(text) is None:
        raise InvalidArgument.of(TIMEOUT, "header.timeout", "is not 1 to 10 digits: the milliseconds that you wait")
    return Deadline.from_timeout(int(text) / 1000)


def check_version(headers: Mapping[str, str]) -> None:
    """Raises InvalidArgument for a version of the protocol that is not 1; none is as good as 1."""
    if headers.get(VERSION, "1") != "1":
        raise InvalidArgument.of(VERSION, "header.version", "is not 1, the only version that there is")


def envelope(data: bytes, flags: int = 0) -> bytes:
    """A message of a stream."""
    return bytes([flags]) + len(data).to_bytes(4, "big") + data


def only_message(body: bytes) -> bytes:
    """The one message of a request to a method that answers with a stream.

    Raises:
        InvalidArgument: it is not one message as it is, uncompressed and whole.
    """
    length = int.from_bytes(body[1:ENVELOPE_BYTES], "big")
    if len(body) < ENVELOPE_BYTES or len(body) < ENVELOPE_BYTES + length:
        raise InvalidArgument.of("message", "message.missing", "one is expected in an envelope, and it is not whole")
    if body[0] != 0:
        raise InvalidArgument.of("message", "message.flags", "has flags; only 0 is taken: not compressed, not the end")
    if len(body) > ENVELOPE_BYTES + length:
        raise InvalidArgument.of("message", "message.second", "one is expected, more were sent")
    return body[ENVELOPE_BYTES:]
