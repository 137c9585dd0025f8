"""Findings, and what is wrong with plain text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum

from dts.domain.errors import Violation

SHOWN = 64
"""A value of at most so many printable characters is repeated in what is said about it."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_CONTROL_BUT_LINES = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


@dataclass(slots=True)
class Findings:
    """What a check found: refusals, and warnings in the same form."""

    violations: list[Violation] = field(default_factory=list)
    warnings: list[Violation] = field(default_factory=list)

    def refuse(self, path: str, code: str, message: str) -> None:
        """This field must not be stored."""
        self.violations.append(Violation(path, code, message))

    def warn(self, path: str, code: str, message: str) -> None:
        """This field may surprise."""
        self.warnings.append(Violation(path, code, message))


def text_trouble(text: str, *, lines: bool = True) -> str | None:
    """What is wrong with text that is stored and shown; None if nothing is. lines: it may have several, and tabs."""
    if _SURROGATE.search(text):
        return "holds half a character: it is not valid Unicode"
    if (_CONTROL_BUT_LINES if lines else _CONTROL).search(text):
        return "holds control characters; only text is allowed"
    return None


def check_enum(path: str, value: int, kind: type[IntEnum], findings: Findings) -> None:
    """A word that is known: senders of other versions may know more."""
    if value not in set(kind):
        findings.refuse(path, "enum.unknown", f"is one of {words(kind)}")


def words(kind: Iterable[IntEnum]) -> str:
    """The members of an enum as people write them."""
    return ", ".join(member.name.lower() for member in kind if member and member.name)


def under(path: str, key: str) -> str:
    """The path to an entry of a map; the map itself where the key cannot be shown."""
    return f"{path}.{key}" if 0 < len(key) <= SHOWN and key.isprintable() else path


def is_id(text: str) -> bool:
    """Whether text reads as the id of something, in any of the forms in which ids are read."""
    return re.fullmatch(r"(?:-*[0-9a-f]){32}-*", text) is not None
