"""Values of a task file: where each stands, what it may be, and every mistake with its line.

Scalars are taken as they are written, so `no` stays no and 1:30 stays 1:30.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import yaml

from dts.domain.errors import Violation

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """A value in a file, and the path to it."""

    node: yaml.Node
    path: str

    @property
    def line(self) -> int:
        """From 1."""
        return int(self.node.start_mark.line) + 1

    def at(self, node: yaml.Node, name: str) -> Place:
        """A value inside this one."""
        dot = "." if self.path and not name.startswith("[") else ""
        return Place(node, f"{self.path}{dot}{name}")


@dataclass(slots=True)
class Problems:
    """Collects what is wrong, and reads plain values."""

    source: str
    found: list[Violation] = field(default_factory=list)

    def add(self, place: Place, code: str, message: str) -> None:
        """Something is wrong here."""
        self.found.append(Violation(f"{self.source}:{place.line}", code, message))

    def mapping(self, place: Place, known: Mapping[str, Callable[[Place], Any]]) -> dict[str, Any]:
        """The values of a mapping by key, read by what stands beside the key in `known`."""
        if not isinstance(place.node, yaml.MappingNode):
            self.add(place, "file.form", f"{place.path or 'this'} is a mapping of {', '.join(sorted(known))}")
            return {}
        values: dict[str, Any] = {}
        for key, node in place.node.value:
            inner = place.at(node, str(key.value)[:64])
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            if name not in known:
                self.add(Place(key, ""), "file.unknown_key", f"unknown key {name[:64]!r}{_near(name, known)}")
            elif name in values:
                self.add(Place(key, ""), "file.key_twice", f"{inner.path} is given twice")
            else:
                values[name] = known[name](inner)
        return {name: value for name, value in values.items() if value is not None}

    def empty(self, place: Place) -> None:
        """Nothing: a mapping without keys."""
        if not isinstance(place.node, yaml.MappingNode) or place.node.value:
            self.add(place, "file.form", f"{place.path} takes nothing: write {{}}")

    def text(self, place: Place) -> str | None:
        """Any scalar, as it is written."""
        if isinstance(place.node, yaml.ScalarNode):
            plain = not place.node.style  # None in PyYAML's own parser, "" in libyaml's
            return "" if plain and place.node.value in {"", "~", "null"} else str(place.node.value)
        self.add(place, "file.form", f"{place.path} is a plain value")
        return None

    def texts(self, place: Place) -> list[str]:
        """A list of scalars."""
        if not isinstance(place.node, yaml.SequenceNode):
            self.add(place, "file.form", f'{place.path} is a list, such as ["a", "b"]')
            return []
        read = (self.text(place.at(node, f"[{number}]")) for number, node in enumerate(place.node.value))
        return [text for text in read if text is not None]

    def one_or_many(self, place: Place) -> list[Place]:
        """A value, or each of a list."""
        if isinstance(place.node, yaml.SequenceNode):
            return [place.at(node, f"[{number}]") for number, node in enumerate(place.node.value)]
        return [place]

    def pairs(self, place: Place) -> dict[str, str]:
        """A mapping of scalars with any keys."""
        if not isinstance(place.node, yaml.MappingNode):
            self.add(place, "file.form", f"{place.path} is a mapping, such as {{KEY: value}}")
            return {}
        values: dict[str, str] = {}
        for key, node in place.node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.add(Place(key, ""), "file.form", f"{place.path} has a key that is no plain value")
                continue
            name = str(key.value)
            text = self.text(place.at(node, name[:64]))
            if name in values:
                self.add(Place(key, ""), "file.key_twice", f"{place.path}.{name[:64]} is given twice")
            elif text is not None:
                values[name] = text
        return values

    def parsed(self, parse: Callable[[str], T]) -> Callable[[Place], T | None]:
        """Reads scalars with something that raises ValueError with a sentence."""

        def read(place: Place) -> T | None:
            text = self.text(place)
            if text is None:
                return None
            try:
                return parse(text)
            except ValueError as error:
                self.add(place, "file.value", f"{place.path}: {error}")
                return None

        return read


def _near(name: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(sorted(known))}"
