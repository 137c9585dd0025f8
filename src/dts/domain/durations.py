"""Durations as people write them: `90s`, `5m`, `1h30m`, `2d`, or a number of seconds."""

from __future__ import annotations

import re
from datetime import timedelta

from dts.domain.ids import MICROSECOND

UNITS = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
    "us": MICROSECOND,
}
"""Every unit, the largest first. Days are 24 hours, whatever the clocks do."""

LONGEST = timedelta(days=36_500)
_LENGTH = 64
_NUMBER = r"\d{1,12}(?:\.\d{1,6})?"
_SECONDS = re.compile(_NUMBER, re.ASCII)
_PARTS = re.compile("".join(f"(?:({_NUMBER}){unit})?" for unit in UNITS), re.ASCII)


def parse_duration(text: str) -> timedelta:
    """Reads a duration; never negative, exact to the microsecond.

    Raises:
        ValueError: it is none; the message says what is allowed.
    """
    text = text.strip()
    if len(text) > _LENGTH:
        raise ValueError("a duration is written such as 90s, 5m, 1h30m or 2d")
    if _SECONDS.fullmatch(text):
        return _within(_times(text, UNITS["s"]), text)
    match = _PARTS.fullmatch(text)
    if not text or match is None:
        shown = ascii(text) if text.isprintable() else "this"
        raise ValueError(f"{shown} is not a duration: write it such as 90s, 5m, 1h30m or 2d, largest unit first")
    parts = (_times(number, unit) for number, unit in zip(match.groups(), UNITS.values(), strict=True) if number)
    return _within(sum(parts, 0), text)


def format_duration(duration: timedelta) -> str:
    """Writes a duration so that `parse_duration` reads the same; `0s` for none.

    Negative ones, which only differences of instants are, get a minus sign.
    """
    if duration < timedelta(0):
        return "-" + format_duration(-duration)
    parts: list[str] = []
    rest = duration
    for name, unit in UNITS.items():
        count, rest = divmod(rest, unit)
        if count:
            parts.append(f"{count}{name}")
    return "".join(parts) or "0s"


def _times(number: str, unit: timedelta) -> int:
    """So many microseconds; exact, because a float is not."""
    whole, _, fraction = number.partition(".")
    size = unit // MICROSECOND
    return int(whole) * size + int(fraction.ljust(6, "0") or 0) * size // 10**6


def _within(micros: int, text: str) -> timedelta:
    if micros > LONGEST // MICROSECOND:
        raise ValueError(f"{text} is too long: at most {LONGEST.days}d")
    return timedelta(microseconds=micros)
