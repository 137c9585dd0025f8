"""Messages out of a stream: a flag, a length, so many bytes. The length is judged before anything is collected."""

from __future__ import annotations

import struct

from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.protocol import Stream

from dts.domain.errors import InvalidArgument, ResourceExhausted

PREFIX = struct.Struct(">BI")


async def read_message(stream: Stream, *, limit: int) -> bytes | None:
    """The next message, or None at the end of the stream.

    Args:
        stream: where it comes from.
        limit: the largest message that is accepted, in bytes.

    Raises:
        ResourceExhausted: it is larger; nothing of it was read.
        InvalidArgument: the stream ended within it.
        GRPCError: UNIMPLEMENTED, it is compressed.
    """
    prefix = await _read(stream, PREFIX.size)
    if not prefix:
        return None
    flag, length = PREFIX.unpack(prefix)
    if flag:
        raise GRPCError(Status.UNIMPLEMENTED, "compressed messages are not supported: send them as they are")
    if length > limit:
        raise ResourceExhausted(
            f"the message has {length} bytes; at most {limit} are allowed", code="message.too_large"
        )
    body = await _read(stream, length)
    if len(body) != length:
        raise _truncated()
    return body


async def _read(stream: Stream, size: int) -> bytes:
    try:
        return await stream.recv_data(size)
    except AssertionError as error:  # grpclib's way to say that the stream ended too early
        raise _truncated() from error


def _truncated() -> InvalidArgument:
    return InvalidArgument.of("message", "message.truncated", "ends before the length that it announces")
