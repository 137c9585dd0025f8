"""Findings, and what is wrong with plain text."""

from __future__ import annotations

from dataclasses import dataclass, field

from dts.domain.errors import Violation


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
    """What is wrong with text that is stored and shown; None if nothing is. lines: it may have several."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "holds half a character: it is not valid Unicode"
    allowed = "\n\t\r" if lines else ""
    if any((character < " " or character == "\x7f") and character not in allowed for character in text):
        return "holds control characters; only text is allowed"
    return None
