"""The form in which a task is defined: fields made of a definition, and a definition made of fields.

Both sides are the document that a task file holds. What the form has no field for stays as it was.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from dts.domain.errors import InvalidArgument
from dts.domain.kinds import KINDS
from dts.roles.gateway.web.pages.fields import lines, pairs, pairs_text

Document = dict[str, Any]

SOURCES = ("cron", "every", "at")
BY_HAND, AS_IT_IS = "hand", "kept"
PLAIN = ("description", "overlap", "catchup", "timeout", "start_deadline")
AREAS = ("command", "env", "body", "constraints", "labels")
"""Fields of several lines."""

TARGETS = {"service": "service/", "container": ""}
"""Where a command runs, by the key of kind `exec`, as the command line writes it."""

KEYS: Mapping[str, tuple[str, ...]] = {
    "container": ("image", "command", "env"),
    "service": ("copy_of", "image", "command", "env"),
    "exec": ("target", "command", "env"),
    "process": ("command", "env"),
    "http": ("url", "method", "body"),
    "noop": (),
}
"""The fields of each kind."""


def fields_of(document: Document) -> dict[str, str]:
    """The fields that show a definition."""
    schedule: Document = document.get("schedule") or {}
    kind = next((name for name in KINDS if name in document), "container")
    fields = {"name": document.get("name", ""), "kind": kind, "timezone": schedule.get("timezone", "")}
    fields |= {name: str(document.get(name, "")) for name in (*PLAIN, "retries")}
    fields |= _when(schedule)
    fields |= _kind_fields(kind, document.get(kind) or {})
    fields["constraints"] = "\n".join(document.get("constraints", []))
    fields["labels"] = pairs_text(document.get("labels", {}))
    return fields


def document_of(form: Mapping[str, str], before: Document) -> Document:
    """The definition that the fields ask for.

    Args:
        form: what was sent.
        before: the definition that is edited; empty for a new one.

    Raises:
        InvalidArgument: a field cannot be read.
    """
    document = {name: value for name, value in before.items() if name not in KINDS or name == form["kind"]}
    document["name"] = form["name"].strip()
    for name in PLAIN:
        _put(document, name, form[name].strip())
    _put(document, "retries", _number(form["retries"].strip()))
    _put(document, "schedule", _schedule(form, before.get("schedule") or {}))
    if form["kind"] in KINDS:
        document[form["kind"]] = _kind(form, before.get(form["kind"]) or {})
    _put(document, "constraints", lines(form["constraints"]))
    _put(document, "labels", pairs(form["labels"], field="labels"))
    return document


def _when(schedule: Document) -> dict[str, str]:
    named = [source for source in SOURCES if source in schedule]
    if not schedule:
        return {"when": BY_HAND, "expression": ""}
    if len(named) != 1 or not isinstance(schedule[named[0]], str):
        return {"when": AS_IT_IS, "expression": ""}
    return {"when": named[0], "expression": schedule[named[0]]}


def _kind_fields(kind: str, said: Document) -> dict[str, str]:
    fields = {name: str(said.get(name, "")) for names in KEYS.values() for name in names}
    fields["command"] = shlex.join(said.get("command", []))
    fields["env"] = pairs_text(said.get("env", {}))
    if kind == "exec":
        fields["target"] = next((prefix + said[key] for key, prefix in TARGETS.items() if key in said), "")
    return fields


def _schedule(form: Mapping[str, str], before: Document) -> Document:
    when, zone = form["when"], form["timezone"].strip()
    if when == BY_HAND:
        return {}
    schedule = dict(before)
    if when in SOURCES:
        dropped = {*SOURCES, *(() if when == "cron" else ("dialect",)), *(() if when == "every" else ("phase",))}
        schedule = {name: value for name, value in schedule.items() if name not in dropped}
        schedule = {when: form["expression"].strip(), **schedule}
    _put(schedule, "timezone", zone)
    return schedule


def _kind(form: Mapping[str, str], before: Document) -> Document:
    said = dict(before)
    for name in KEYS[form["kind"]]:
        match name:
            case "command":
                _put(said, name, _words(form[name]))
            case "env":
                _put(said, name, pairs(form[name], field=name))
            case "target":
                _put_target(said, form[name].strip())
            case "body":
                _put(said, name, form[name])
            case _:
                _put(said, name, form[name].strip())
    return said


def _put_target(said: Document, target: str) -> None:
    name = target.removeprefix(TARGETS["service"])
    _put(said, "service", name if name != target else "")
    _put(said, "container", name if name == target else "")


def _put(document: Document, name: str, value: Any) -> None:
    """Says it, or says nothing of it."""
    if value in ("", None, [], {}):
        document.pop(name, None)
    else:
        document[name] = value


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise InvalidArgument.of("command", "command.quotes", f"cannot be split into words: {error}") from error


def _number(text: str) -> int | str:
    return int(text[:9]) if text.isascii() and text.isdecimal() else text


def can_show(document: Document) -> bool:
    """Whether the form would give the definition back as it is: what it cannot show is changed as a task file."""
    fields = fields_of(document)
    broken = any("\n" in text for name, text in fields.items() if name not in AREAS)
    return not broken and document_of(fields, document) == document
