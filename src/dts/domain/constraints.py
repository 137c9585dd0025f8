"""Conditions on a node in Swarm's own syntax, such as `node.labels.disk==ssd`.

The grammar and the comparison are SwarmKit's (manager/constraint): a key, `==` or `!=`, a value. Keys and values are
compared without regard to case, except for the keys of labels. A node that lacks a label differs from every value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from dts.pb.dts.v1 import Node

_FIELDS: dict[str, Callable[[Node], str]] = {
    "node.id": lambda node: node.id,
    "node.hostname": lambda node: node.hostname,
    "node.role": lambda node: node.role,
    "node.platform.os": lambda node: node.platform.partition("/")[0],
    "node.platform.arch": lambda node: node.platform.partition("/")[2],
}
_LABELS: dict[str, Callable[[Node], dict[str, str]]] = {
    "node.labels.": lambda node: node.labels,
    "engine.labels.": lambda node: node.engine_labels,
}
_KEY = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_./-]*", re.ASCII)
_VALUE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9:_\s./+@*()?-]*", re.ASCII)
_ALLOWED = (
    "node.id, node.hostname, node.role, node.platform.os, node.platform.arch, node.labels.KEY and engine.labels.KEY"
)
_LONGEST = 256

WEIGHT = 100
"""The largest weight of a preference."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """One condition. equal: `==`; else `!=`."""

    key: str
    value: str
    equal: bool

    def matches(self, node: Node) -> bool:
        """Whether the node meets it."""
        held = value_of(self.key, node)
        same = held is not None and held.casefold() == self.value.casefold()
        return same is self.equal

    def explain(self, node: Node) -> str:
        """What is wrong with a node that does not meet it, as a verb phrase: `lacks label disk=ssd`."""
        name, is_label = self._name()
        if not self.equal:
            return f"has {name}={value_of(self.key, node)}"
        return f"lacks label {name}={self.value}" if is_label else f"is not {name}={self.value}"

    def _name(self) -> tuple[str, bool]:
        for prefix in _LABELS:
            if self.key.startswith(prefix):
                return self.key.removeprefix(prefix), True
        return self.key.removeprefix("node."), False


@dataclass(frozen=True, slots=True)
class Preference:
    """A condition that a node should meet, and how much it weighs beside others."""

    constraint: Constraint
    weight: int = 1


def value_of(key: str, node: Node) -> str | None:
    """What a node has under the key of a constraint; None for a label that it lacks."""
    for prefix, labels in _LABELS.items():
        if key.startswith(prefix):
            return labels(node).get(key.removeprefix(prefix))
    return _FIELDS[key](node)


def parse_constraint(text: str) -> Constraint:
    """Reads one condition.

    Raises:
        ValueError: it is none; the message says what is allowed.
    """
    if len(text) > _LONGEST:
        raise ValueError(f"a constraint has at most {_LONGEST} characters")
    match = re.fullmatch(r"\s*(.*?)\s*(==|!=)\s*(.*?)\s*", text, re.DOTALL)
    if match is None:
        raise ValueError("a constraint is written KEY==VALUE or KEY!=VALUE, such as node.labels.disk==ssd")
    key, operator, value = match.groups()
    if not _KEY.fullmatch(key) or not _VALUE.fullmatch(value):
        raise ValueError("key and value begin with a letter or digit, such as node.labels.disk==ssd")
    return Constraint(_known(key), value, operator == "==")


def parse_preference(text: str) -> Preference:
    """Reads a condition, with its weight before it where it is not 1: `5*node.labels.disk==ssd`.

    Raises:
        ValueError: it is none; the message says what is allowed.
    """
    match = re.fullmatch(r"\s*(\d{1,9})\s*\*(.*)", text, re.DOTALL | re.ASCII)
    if match is None:
        return Preference(parse_constraint(text))
    weight = int(match[1])
    if not 1 <= weight <= WEIGHT:
        raise ValueError(f"a weight is from 1 to {WEIGHT}, written before the condition: 5*node.labels.disk==ssd")
    return Preference(parse_constraint(match[2]), weight)


def parse_attribute(text: str) -> str:
    """Reads what a constraint may be about, such as `node.labels.zone`.

    Raises:
        ValueError: it is nothing of the kind; the message says what is allowed.
    """
    key = text.strip()
    if len(key) > _LONGEST or not _KEY.fullmatch(key):
        raise ValueError(f"is one of {_ALLOWED}")
    return _known(key)


def _known(key: str) -> str:
    if key.lower() in _FIELDS:
        return key.lower()
    for prefix in _LABELS:
        if key.lower().startswith(prefix) and len(key) > len(prefix):
            return prefix + key[len(prefix) :]
    raise ValueError(f"{key} is not known; there are {_ALLOWED}")
