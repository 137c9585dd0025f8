"""Options that several commands have, as values."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import TypeVar

from dts.cli.times import duration
from dts.domain.durations import parse_duration
from dts.domain.errors import InvalidArgument
from dts.pb.dts.v1 import Cron, Dialect, Interval, OneShot, Rule, Schedule
from dts.runtime.clock import now

E = TypeVar("E", bound=IntEnum)


def pairs(texts: Sequence[str], *, field: str) -> dict[str, str]:
    """`KEY=VALUE` options.

    Raises:
        InvalidArgument: one has no `=`, or a key comes twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise InvalidArgument.of(field, "option.pair", f"{text[:64]!r} is not KEY=VALUE")
        if key in found:
            raise InvalidArgument.of(field, "option.twice", f"{key[:64]} is given twice")
        found[key] = value
    return found


def member(kind: type[E], text: str | None, *, field: str) -> E:
    """A word as a member of an enum; unspecified if nothing is said.

    Raises:
        InvalidArgument: there is no such word.
    """
    words = {each.name.lower(): each for each in kind if each and each.name}
    if text is None:
        return kind(0)
    if text not in words:
        raise InvalidArgument.of(field, "enum.unknown", f"{text[:64]!r} is not one of {', '.join(words)}")
    return words[text]


def schedule_of(
    cron: Sequence[str], every: Sequence[str], at: Sequence[str], *, timezone: str, dialect: str | None
) -> Schedule | None:
    """The union of the schedules given; None if there is none."""
    known = member(Dialect, dialect, field="--dialect")
    rules = [Rule(cron=Cron(expression=text, dialect=known)) for text in cron]
    rules += [Rule(every=Interval(period=duration(text, field="--every"))) for text in every]
    rules += [Rule(at=OneShot(time=_moment(text))) for text in at]
    return Schedule(rules=rules, timezone=timezone) if rules else None


def _moment(text: str) -> str:
    """`+10m` becomes an instant; everything else is the server's to read."""
    if not text.startswith("+"):
        if _is_duration(text):
            raise InvalidArgument.of("--at", "time.invalid", f"{text!r} is a duration: so long from now is +{text}")
        return text
    try:
        return (now() + parse_duration(text[1:])).isoformat(timespec="seconds").replace("+00:00", "Z")
    except ValueError as error:
        raise InvalidArgument.of("--at", "duration.invalid", str(error)) from error


def _is_duration(text: str) -> bool:
    try:
        return bool(parse_duration(text))
    except ValueError:
        return False
