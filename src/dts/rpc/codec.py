"""Messages to bytes and back, for both sides of a connection."""

from __future__ import annotations

from typing import Any

from betterproto2 import Message
from grpclib.encoding.base import CodecBase

from dts.domain.errors import InvalidArgument


class Raw(bytes):
    """A message that is passed on without being read."""

    __slots__ = ()


class Codec(CodecBase):
    """Our generated messages, Google's (health, reflection) and raw ones (the forwarder)."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        """The bytes of a message.

        Raises:
            TypeError: it is not of the type that the method declares.
        """
        if not isinstance(message, message_type):
            raise TypeError(f"a {message_type.__name__} is expected, not a {type(message).__name__}")
        if isinstance(message, bytes):
            return message
        return bytes(message.SerializeToString())

    def decode(self, data: bytes, message_type: Any) -> Any:
        """The message in the bytes.

        Raises:
            InvalidArgument: they are no such message.
        """
        if issubclass(message_type, bytes):
            return message_type(data)
        try:
            return message_type.parse(data) if issubclass(message_type, Message) else message_type.FromString(data)
        except Exception as error:  # what a parser raises on hostile bytes has no common root
            raise InvalidArgument.of("message", "message.malformed", f"is no {message_type.__name__}") from error
