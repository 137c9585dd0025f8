"""Messages as proto3 JSON, and back.

Google's own library does it, over the descriptors that buf made from `proto/`: what it makes of a message is the
definition of proto3 JSON (docs/decisions/0015). Messages come and go as bytes, so that a forwarder need not read them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any, NoReturn

from dts.domain.errors import InvalidArgument
from dts.rpc.descriptors import descriptor_pool
from dts.rpc.json_faults import faults


class JsonForm:
    """The JSON of the requests and answers of every route; descriptors are read at the first call."""

    def __init__(self) -> None:
        self._classes: dict[tuple[str, str], Any] = {}

    def request(self, route: str, text: bytes) -> bytes:
        """The message that stands in the JSON.

        Args:
            route: such as `/dts.v1.SchedulerService/GetRun`.
            text: UTF-8. Names of fields in either spelling.

        Raises:
            InvalidArgument: it is no JSON, or not of the message of the route; every field that is wrong is named.
        """
        from google.protobuf.json_format import ParseDict, ParseError  # type: ignore[import-untyped]  # noqa: PLC0415 - only who asks pays

        value = load(text)
        message = self._class(route, "input_type")()
        try:
            ParseDict(value, message, descriptor_pool=self._pool)
        except (ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
            # ParseDict lets what it did not expect come through as what it is.
            raise InvalidArgument(faults(value, type(message), self._pool)) from error
        return bytes(message.SerializeToString())

    def answer(self, route: str, data: bytes) -> str:
        """The JSON of an answer, in a line; fields without a value are left out.

        Args:
            route: whose answer it is.
            data: the message as bytes.
        """
        return self._text(self._class(route, "output_type").FromString(data))

    def any(self, type_name: str, data: bytes) -> str | None:
        """The JSON of a message by its full name; None where the name is not known or the bytes are none of it."""
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # noqa: PLC0415 - the same

        try:
            return self._text(self._named(type_name).FromString(data))
        except (KeyError, DecodeError):
            return None

    def _text(self, message: Any) -> str:
        from google.protobuf.json_format import MessageToJson  # noqa: PLC0415 - the same

        return str(MessageToJson(message, indent=None, ensure_ascii=False, descriptor_pool=self._pool))

    def _class(self, route: str, side: str) -> Any:
        found = self._classes.get((route, side))
        if found is None:
            service, method = route[1:].split("/")
            described = self._pool.FindServiceByName(service).methods_by_name[method]
            found = self._classes[route, side] = self._named(getattr(described, side).full_name)
        return found

    def _named(self, name: str) -> Any:
        from google.protobuf.message_factory import GetMessageClass  # type: ignore[import-untyped]  # noqa: PLC0415 - the same

        return GetMessageClass(self._pool.FindMessageTypeByName(name))

    @cached_property
    def _pool(self) -> Any:
        return descriptor_pool()


def load(text: bytes) -> Mapping[str, Any]:
    """An object of JSON, read strictly: UTF-8, every name once, no NaN.

    Raises:
        InvalidArgument: it is something else.
    """
    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise _no_json("is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise _no_json(f"is no JSON: {error.msg} in line {error.lineno}, column {error.colno}") from error
    except RecursionError as error:
        raise _no_json("is nested too deeply") from error
    except _Odd as error:
        raise _no_json(f"is no JSON of ours: {error}") from error
    except ValueError as error:  # Python's own bound on digits
        raise _no_json("holds a number that is too long") from error
    if not isinstance(value, dict):
        raise _no_json("is not an object; expected is {…}")
    return value


class _Odd(ValueError):
    """What Python takes for JSON, and others do not."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise _Odd("a name stands twice in one object")
    return value


def _no_constant(_name: str) -> NoReturn:
    raise _Odd("NaN and Infinity are no numbers of JSON")


def _no_json(why: str) -> InvalidArgument:
    return InvalidArgument.of("message", "message.malformed", why)
