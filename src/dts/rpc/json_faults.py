"""Which fields of a JSON document are wrong, once it is known that something is: Google's parser names the first only,
and in its own words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from dts.domain.errors import Violation

MOST = 20
"""So many faults are told, and then no more."""

DEEPEST = 50
"""What is nested more deeply is wrong as a whole."""

_SHOWN = 64
_STANDARD = "google.protobuf."
_EXPECTED = {
    "TYPE_BOOL": "true or false",
    "TYPE_BYTES": "text in base64",
    "TYPE_DOUBLE": "a number",
    "TYPE_FLOAT": "a number",
    "TYPE_INT32": "a whole number of 32 bits",
    "TYPE_UINT32": "a whole number of 32 bits, 0 or more",
    "TYPE_INT64": "a whole number of 64 bits, best as text",
    "TYPE_UINT64": "a whole number of 64 bits, 0 or more, best as text",
    "TYPE_STRING": "text",
    "google.protobuf.Timestamp": "a moment such as 2026-11-23T12:00:00Z",
    "google.protobuf.Duration": "a duration in seconds such as 1.5s",
}


def faults(value: Mapping[str, Any], kind: Any, pool: Any) -> list[Violation]:
    """The fields that are wrong, at most `MOST`; never none.

    Args:
        value: the document, of which Google's parser has refused something.
        kind: Google's class of the message that it should be.
        pool: where the types of messages are known.
    """
    found = list(islice(_Walk(pool).message(value, kind, "", 0), MOST))
    return found or [Violation("message", "message.malformed", f"is no {kind.DESCRIPTOR.name}")]


class _Walk:
    def __init__(self, pool: Any) -> None:
        from google.protobuf.descriptor import FieldDescriptor  # type: ignore[import-untyped]  # noqa: PLC0415 - only who errs pays

        self._pool = pool
        self._types = {getattr(FieldDescriptor, name): text for name, text in _EXPECTED.items() if name[0] == "T"}
        self._enum = FieldDescriptor.TYPE_ENUM

    def message(self, value: Any, kind: Any, path: str, depth: int) -> Iterator[Violation]:
        described = kind.DESCRIPTOR
        if not isinstance(value, dict) or depth > DEEPEST:
            why = "is nested too deeply" if depth > DEEPEST else "is not an object; expected is {…}"
            yield Violation(path.removesuffix(".") or "message", "json.type", why)
            return
        fields = dict(described.fields_by_name) | {field.json_name: field for field in described.fields}
        seen: dict[str, str] = {}
        for name, inner in value.items():
            field = fields.get(name)
            if field is None:
                yield _unknown(f"{path}{_shown(name)}", described)
                continue
            yield from _twice(field, f"{path}{field.name}", seen, given=inner is not None)
            yield from self._field(inner, field, kind, path, depth)

    def _field(self, value: Any, field: Any, kind: Any, path: str, depth: int) -> Iterator[Violation]:
        where = f"{path}{field.name}"
        if value is None or (field.message_type is None or field.message_type.full_name.startswith(_STANDARD)):
            yield from self._leaf(value, field, kind, where)
        elif field.message_type.GetOptions().map_entry:
            yield from self._map(value, field, kind, where, depth)
        elif not field.is_repeated:
            yield from self.message(value, self._class(field.message_type), f"{where}.", depth + 1)
        elif isinstance(value, list):
            inner = self._class(field.message_type)
            for index, item in enumerate(value):
                yield from self.message(item, inner, f"{where}[{index}].", depth + 1)
        else:
            yield Violation(where, "json.type", "is not a list; expected is […]")

    def _map(self, value: Any, field: Any, kind: Any, where: str, depth: int) -> Iterator[Violation]:
        entry = field.message_type.fields_by_name["value"]
        if entry.message_type is None or not isinstance(value, dict):
            yield from self._leaf(value, field, kind, where)
            return
        for key, inner in value.items():
            yield from self.message(inner, self._class(entry.message_type), f"{where}[{_shown(key)}].", depth + 1)

    def _leaf(self, value: Any, field: Any, kind: Any, where: str) -> Iterator[Violation]:
        """Google's parser is the judge of what a value may be; here it is asked about one field alone."""
        from google.protobuf.json_format import ParseDict, ParseError  # type: ignore[import-untyped]  # noqa: PLC0415 - the same

        try:
            ParseDict({field.name: value}, kind(), descriptor_pool=self._pool)
        except (ParseError, ValueError, TypeError, AttributeError, RecursionError):
            yield Violation(where, "json.type", f"is not what is expected: {self._expected(field)}{_echo(value)}")

    def _expected(self, field: Any) -> str:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            entry = field.message_type.fields_by_name["value"]
            return f"an object whose values are each {self._expected(entry)}"
        if field.type == self._enum:
            one = ", ".join(value.name for value in field.enum_type.values)
        elif field.message_type is not None:
            one = _EXPECTED.get(field.message_type.full_name, field.message_type.name)
        else:
            one = self._types.get(field.type, "a number")
        return f"a list, each of {one}" if field.is_repeated else one

    def _class(self, described: Any) -> Any:
        from google.protobuf.message_factory import GetMessageClass  # type: ignore[import-untyped]  # noqa: PLC0415 - the same

        return GetMessageClass(described)


def _unknown(where: str, described: Any) -> Violation:
    known = ", ".join(field.json_name for field in described.fields) or "no fields"
    return Violation(where, "json.unknown", f"is not known; {described.name} has {known}")


def _twice(field: Any, where: str, seen: dict[str, str], *, given: bool) -> Iterator[Violation]:
    """A field in both spellings, or two of which only one may be."""
    if field.name in seen:
        yield Violation(where, "json.twice", "stands there twice, in two spellings")
    seen[field.name] = field.name
    oneof = field.containing_oneof
    if oneof is None or not given:
        return
    other = seen.setdefault(f"oneof {oneof.name}", field.name)
    if other != field.name:
        yield Violation(where, "json.oneof", f"stands beside {other}; only one of them may")


def _shown(name: str) -> str:
    return name if len(name) <= _SHOWN and name.isprintable() else "…"


def _echo(value: Any) -> str:
    text = repr(value) if isinstance(value, str | int | float | bool) else ""
    return f"; it is {text}" if text and len(text) <= _SHOWN and text.isprintable() else ""
