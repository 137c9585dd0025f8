"""Values of forms that have a form of their own."""

from __future__ import annotations

from collections.abc import Mapping

from dts.domain.errors import InvalidArgument

SHOWN = 64
NEW_LINE, GOES_ON = "\n", "\t"


def pairs(text: str, *, field: str) -> dict[str, str]:
    """`NAME=VALUE`, one on each line; a line that begins with a tab goes on with the value above it.

    Raises:
        InvalidArgument: a line has no `=`, or a name comes twice.
    """
    found: dict[str, str] = {}
    last = ""
    for line in text.split("\n"):
        if line.startswith(GOES_ON) and last:
            found[last] += "\n" + line.removeprefix(GOES_ON)
        elif line.strip():
            last, value = _pair(line, field)
            if last in found:
                raise InvalidArgument.of(field, "option.twice", f"{last[:SHOWN]} is given twice")
            found[last] = value
    return found


def pairs_text(values: Mapping[str, str]) -> str:
    """What `pairs` reads again."""
    return "\n".join(f"{name}={value.replace(NEW_LINE, NEW_LINE + GOES_ON)}" for name, value in values.items())


def _pair(line: str, field: str) -> tuple[str, str]:
    name, equals, value = line.partition("=")
    if not equals or not name.strip():
        raise InvalidArgument.of(field, "option.pair", f"{line[:SHOWN]!r} is not NAME=VALUE")
    return name.strip(), value


def lines(text: str) -> list[str]:
    """The lines that have something on them."""
    return [line.strip() for line in text.splitlines() if line.strip()]
