"""Messages to bytes and back, for both sides of a connection."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

from betterproto2 import Message
from grpclib.encoding.base import CodecBase

from dts.domain.errors import InvalidArgument
from dts.rpc.descriptors import descriptor_pool


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


class RequestCodec(Codec):
    """Reads what strangers send: betterproto2 takes a string that ends too early, and a number where a string belongs.

    Google's parser reads each message first. It refuses what is no message and drops what the contract does not know,
    a field of another type included.

    Args:
        entries: how many entries all lists and maps of a message may have together; None for any number.
    """

    _PACKAGE = "dts.pb."

    def __init__(self, entries: int | None = None) -> None:
        self._entries = entries
        self._parsers: dict[type[Message], Any] = {}

    def decode(self, data: bytes, message_type: Any) -> Any:
        """The message in the bytes.

        Raises:
            InvalidArgument: they are no such message, or one with too many entries.
        """
        if issubclass(message_type, Message):
            data = self._cleaned(data, message_type)
        return super().decode(data, message_type)

    def _cleaned(self, data: bytes, message_type: type[Message]) -> bytes:
        parser = self._parsers.get(message_type)
        if parser is None:
            parser = self._parsers[message_type] = self._parser(message_type)
        message = super().decode(data, parser)
        if self._entries is not None:
            _check_entries(message, self._entries)
        message.DiscardUnknownFields()
        return bytes(message.SerializeToString())

    def _parser(self, message_type: type[Message]) -> Any:
        from google.protobuf.message_factory import GetMessageClass  # type: ignore[import-untyped]  # noqa: PLC0415 - only servers pay

        package = message_type.__module__.removeprefix(self._PACKAGE)
        return GetMessageClass(self._pool.FindMessageTypeByName(f"{package}.{message_type.__name__}"))

    @cached_property
    def _pool(self) -> Any:
        return descriptor_pool()


def _check_entries(message: Any, most: int) -> None:
    """An entry of two bytes costs betterproto2 microseconds: a small message could hold up everybody for seconds."""
    found, left = 0, [message]
    while left:
        for field, value in left.pop().ListFields():
            if field.is_repeated:
                found += len(value)
                if found > most:
                    why = f"has more than {most} entries in its lists and maps"
                    raise InvalidArgument.of("message", "message.entries", why)
            if field.message_type is not None:
                left.extend(_below(field, value))


def _below(field: Any, value: Any) -> Iterable[Any]:
    """The messages in a field."""
    if not field.is_repeated:
        return (value,)
    if not field.message_type.GetOptions().map_entry:
        return tuple(value)
    kept = field.message_type.fields_by_name["value"]
    return tuple(value.values()) if kept.message_type is not None else ()
