"""The headers of a request, judged before anything else of it, and those that end a refused one."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from grpclib.encoding.base import GRPC_CONTENT_TYPE
from grpclib.exceptions import GRPCError
from grpclib.metadata import Deadline, encode_grpc_message
from multidict import MultiDict

from dts.domain.errors import InvalidArgument
from dts.rpc.details import Details

Headers = list[tuple[str, str]]

MAX_TIMEOUT_SECONDS = 366 * 86400.0
_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
_SECONDS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_NOT_METADATA = frozenset({"te", "content-type", "user-agent"})


class Refusal(Exception):
    """What came is no gRPC request; the answer is a status of HTTP."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def deadline(headers: Headers) -> Deadline | None:
    """When the caller stops waiting.

    Raises:
        InvalidArgument: `grpc-timeout` is not one to eight digits and a unit.
    """
    texts = [value for name, value in headers if name == "grpc-timeout"]
    return min((Deadline.from_timeout(_seconds(text)) for text in texts), default=None)


def _seconds(text: str) -> float:
    match = _TIMEOUT.fullmatch(text)
    if match is None:
        raise InvalidArgument.of("grpc-timeout", "header.timeout", "is not 1 to 8 digits and one of H M S m u n")
    return min(int(match[1]) * _SECONDS[match[2]], MAX_TIMEOUT_SECONDS)


def metadata(headers: Headers) -> Any:
    """What the caller sent beside the message.

    Raises:
        InvalidArgument: a header whose name ends in `-bin` is not base64.
    """
    result: MultiDict[str | bytes] = MultiDict()
    for name, value in headers:
        if name.startswith((":", "grpc-")) or name in _NOT_METADATA:
            continue
        for part in value.split(",") if name.endswith("-bin") else ():
            result.add(name, _binary(part.strip()))
        if not name.endswith("-bin"):
            result.add(name, value)
    return result


def _binary(value: str) -> bytes:
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidArgument.of("metadata", "header.base64", "has a -bin header that is not base64") from error


def check_http(headers: Mapping[str, str]) -> None:
    """Raises Refusal for what is no gRPC request."""
    if headers.get(":method") != "POST":
        raise Refusal(405, "gRPC is spoken here: POST only")
    if not headers.get(":path", "").startswith("/"):
        raise Refusal(400, "the path is missing")
    content_type, _, subtype = headers.get("content-type", "").partition(";")[0].partition("+")
    if content_type.strip() != GRPC_CONTENT_TYPE or (subtype.strip() or "proto") != "proto":
        raise Refusal(415, "content-type must be application/grpc")
    if headers.get("te") != "trailers":
        raise Refusal(400, "the header te: trailers is missing")


def check_ascii(headers: Headers) -> None:
    """Raises InvalidArgument for bytes that headers must not have."""
    if not all(name.isascii() and value.isascii() for name, value in headers):
        raise InvalidArgument.of("metadata", "header.ascii", "has a header that is not ASCII")


def trailers(error: GRPCError) -> Headers:
    """The only headers of an answer that is nothing but a status."""
    headers = [(":status", "200"), ("content-type", GRPC_CONTENT_TYPE), ("grpc-status", str(error.status.value))]
    if error.message:
        headers.append(("grpc-message", encode_grpc_message(error.message)))
    if isinstance(error.details, Details):
        headers.append(("grpc-status-details-bin", base64.b64encode(error.details.raw).decode().rstrip("=")))
    return headers
