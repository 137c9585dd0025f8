"""Cron expressions, read strictly in their dialect.

What is written is checked here, item by item, with a sentence for everything that is wrong; croniter then expands what
is left. It does not iterate; see docs/decisions/0010.
"""

from __future__ import annotations

import difflib
import re
from datetime import timedelta

from croniter import croniter

from dts.domain.cron_fields import CronError, CronFields, DayRule
from dts.domain.cron_items import COLUMNS, WEEKDAY, Column, ItemReader, Items, shown
from dts.domain.durations import parse_duration
from dts.pb.dts.v1 import Dialect

LONGEST = 256
SHORTEST_PERIOD = timedelta(seconds=1)
LONGEST_PERIOD = timedelta(days=366)
DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
DIALECTS = (Dialect.DTS, Dialect.CRONIE, Dialect.ROBFIG)
_ZONE = re.compile(r"((?:CRON_)?TZ)=(\S*) *(.*)")
_FIVE = "five fields: minute, hour, day of month, month, day of week"


def parse_cron(expression: str, dialect: Dialect, *, key: str) -> CronFields:
    """Reads an expression in its dialect; unspecified means dts. key: the task's name, the seed of `H`.

    Raises:
        CronError: it is refused.
    """
    dialect = dialect or Dialect.DTS
    if dialect not in DIALECTS:
        raise CronError("dialect", f"dialect {int(dialect)} is not known; there are dts, cronie and robfig")
    text = expression.strip(" \r\n")
    _check_characters(text)
    text, zone = _without_zone(text, dialect)
    if not text.startswith("@"):
        return _read(text, dialect, key, zone)
    if text.lower().split()[0] == "@every":
        return CronFields((), (), (), (), DayRule(), elapsed=False, every=_every(text), timezone=zone)
    return _read(_descriptor(text), dialect, key, zone)


def _check_characters(text: str) -> None:
    if not text:
        raise CronError("empty", f"is empty; it has {_FIVE}")
    if len(text) > LONGEST:
        raise CronError("too_long", f"has {len(text)} characters; at most {LONGEST} are allowed")
    for place, character in enumerate(text, 1):
        if not (character.isascii() and character.isprintable()):
            what = "a tab" if character == "\t" else f"U+{ord(character):04X}"
            raise CronError("characters", f"character {place} is {what}; only printable ASCII and spaces are allowed")


def _without_zone(text: str, dialect: Dialect) -> tuple[str, str | None]:
    match = _ZONE.fullmatch(text)
    if match is None:
        return text, None
    prefix, zone, rest = match.groups()
    if dialect is not Dialect.ROBFIG:
        why = f"{prefix}= belongs to the dialect robfig; give the schedule a timezone instead"
        raise CronError("timezone", f"{shown(text)}: {why}")
    if not zone or not rest:
        raise CronError("timezone", f"{shown(text)}: {prefix}= is followed by a zone, a space and the expression")
    return rest, zone


def _every(text: str) -> timedelta:
    try:
        period = parse_duration(text[len("@every") :])
    except ValueError as error:
        raise CronError("every", f"{shown(text)}: @every is followed by a duration: {error}") from None
    if not SHORTEST_PERIOD <= period <= LONGEST_PERIOD:
        raise CronError("every", f"{shown(text)}: the interval is not in 1s..{LONGEST_PERIOD.days}d")
    return period


def _descriptor(text: str) -> str:
    name = text.lower()
    if name.split()[0] == "@reboot":
        why = "names no instant; use a one-shot (at), or start the work with the machine"
        raise CronError("reboot", f"{shown(text)}: @reboot {why}")
    if name not in DESCRIPTORS:
        known = [*DESCRIPTORS, "@every 5m"]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise CronError("descriptor", f"{shown(text)} is not known; {hint}")
    return DESCRIPTORS[name]


def _read(text: str, dialect: Dialect, key: str, zone: str | None) -> CronFields:
    texts = _split(text, dialect)
    fields = [ItemReader(text, dialect, column, key).read(field) for field, column in zip(texts, COLUMNS, strict=True)]
    second, minute, hour, day, month, weekday = _expand(fields)
    return CronFields(
        seconds=tuple(sorted(second)),
        minutes=tuple(sorted(minute)),
        hours=tuple(sorted(hour)),
        months=tuple(sorted(month)),
        days=DayRule(
            days=None if fields[3].whole else day,
            last_days=fields[3].last_days,
            near=fields[3].near,
            weekdays=None if fields[5].whole else weekday,
            nth=fields[5].nth,
            both=_joined_by_and(texts, fields, dialect),
        ),
        elapsed=texts[1].startswith(("*", "?")) or texts[2].startswith(("*", "?")),
        timezone=zone,
    )


def _split(text: str, dialect: Dialect) -> list[str]:
    texts = text.split()
    allowed = (5,) if dialect is Dialect.CRONIE else (5, 6)
    if len(texts) in allowed:
        return texts if len(texts) == 6 else ["0", *texts]
    words = _FIVE if dialect is Dialect.CRONIE else f"{_FIVE}, or six with seconds first"
    count = f"{len(texts)} field{'s' if len(texts) != 1 else ''}"
    raise CronError("field_count", f"{shown(text)} has {count}; it has {words}{_surplus(texts, dialect)}")


def _surplus(texts: list[str], dialect: Dialect) -> str:
    if dialect is Dialect.CRONIE and len(texts) > 5:
        return "; the user and the command of a crontab do not belong here, and it knows no seconds"
    return "; years are not known" if len(texts) == 7 else ""


def _joined_by_and(texts: list[str], fields: list[Items], dialect: Dialect) -> bool:
    """Whether both day fields must match: cronie looks at the first character, robfig and dts at what is restricted."""
    if dialect is Dialect.CRONIE:
        return texts[3].startswith("*") or texts[5].startswith("*")
    return fields[3].whole or fields[5].whole


def _expand(fields: list[Items]) -> list[frozenset[int]]:
    """The values of each column; none if it has only items that croniter does not expand."""
    # croniter wants seconds last, and a word in each column.
    second, *others = (",".join(field.plain) or "*" for field in fields)
    expanded, _ = croniter.expand(" ".join([*others, second]))
    values = [expanded[-1], *expanded[:-1]]
    return [
        _numbers(found, column) if field.plain else frozenset()
        for field, found, column in zip(fields, values, COLUMNS, strict=True)
    ]


def _numbers(found: list[int | str], column: Column) -> frozenset[int]:
    numbers = range(column.low, column.high + 1) if "*" in found else [int(value) for value in found]
    return frozenset(number % 7 for number in numbers) if column is WEEKDAY else frozenset(numbers)


__all__ = ["CronError", "CronFields", "DayRule", "parse_cron"]
