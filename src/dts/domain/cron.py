"""Cron expressions, read strictly in their dialect.

What is written is checked here, item by item, with a sentence for everything that is wrong; croniter then expands what
is left. It does not iterate; see docs/decisions/0010.
"""

from __future__ import annotations

import calendar
import difflib
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta

from croniter import croniter

from dts.domain.durations import parse_duration
from dts.pb.dts.v1 import Dialect

LONGEST = 256
MONTHS = {name: n for n, name in enumerate("JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split(), 1)}  # noqa: SIM905 - reads as a row
DAYS = {name: number for number, name in enumerate(["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"])}
DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


class CronError(ValueError):
    """An expression was refused. code: a constant for programs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = f"schedule.cron.{code}"


@dataclass(frozen=True, slots=True)
class Column:
    """One field of an expression. The largest value of days of the week is 7, which is Sunday again."""

    name: str
    low: int
    high: int
    names: dict[str, int] = field(default_factory=dict, hash=False)


SECOND = Column("second", 0, 59)
MINUTE = Column("minute", 0, 59)
HOUR = Column("hour", 0, 23)
DAY = Column("day of month", 1, 31)
MONTH = Column("month", 1, 12, MONTHS)
WEEKDAY = Column("day of week", 0, 7, DAYS)
COLUMNS = (SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY)


@dataclass(frozen=True, slots=True)
class DayRule:
    """Which days of a month match.

    days: days of the month; None for any.
    last_days: so many days before the last one (0 is the last itself).
    near: the weekday nearest to these days, within the month; 0 stands for the last weekday of the month.
    weekdays: 0 is Sunday; None for any.
    nth: (weekday, n-th) pairs; n is -1 for the last.
    both: day of month and day of week must both match; else either.
    """

    days: frozenset[int] | None = None
    last_days: frozenset[int] = frozenset()
    near: frozenset[int] = frozenset()
    weekdays: frozenset[int] | None = None
    nth: frozenset[tuple[int, int]] = frozenset()
    both: bool = False

    def matches(self, day: date, length: int) -> bool:
        """Whether a day matches. length: of its month."""
        by_date, by_weekday = self._date_matches(day, length), self._weekday_matches(day, length)
        return by_date and by_weekday if self.both else by_date or by_weekday

    def _date_matches(self, day: date, length: int) -> bool:
        return (
            self.days is None
            or day.day in self.days
            or length - day.day in self.last_days
            or any(
                _nearest_weekday(day.replace(day=min(wanted or length, length)), length) == day.day
                for wanted in self.near
                if (wanted or 1) <= length
            )
        )

    def _weekday_matches(self, day: date, length: int) -> bool:
        weekday = day.isoweekday() % 7
        if self.weekdays is None or weekday in self.weekdays:
            return True
        return (weekday, (day.day + 6) // 7) in self.nth or (day.day > length - 7 and (weekday, -1) in self.nth)


@dataclass(frozen=True, slots=True)
class CronFields:
    """An expression, expanded.

    seconds: (0,) where the expression has no seconds.
    elapsed: the hour or the minute begins with a star: it follows elapsed time over changes of the clock, as in
        Debian's cron.
    every: the interval of `@every`; the other fields mean nothing then.
    timezone: of a CRON_TZ= prefix; not checked.
    """

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    months: tuple[int, ...]
    days: DayRule
    elapsed: bool
    every: timedelta | None = None
    timezone: str | None = None

    def matches_day(self, day: date) -> bool:
        """Whether a local date matches."""
        return day.month in self.months and self.days.matches(day, calendar.monthrange(day.year, day.month)[1])

    def days_of(self, year: int, month: int) -> tuple[int, ...]:
        """The matching days of a month, ascending."""
        if month not in self.months:
            return ()
        length = calendar.monthrange(year, month)[1]
        if self.days.days is None and self.days.weekdays is None:
            return tuple(range(1, length + 1))
        return tuple(number for number in range(1, length + 1) if self.days.matches(date(year, month, number), length))


def parse_cron(expression: str, dialect: Dialect, *, key: str) -> CronFields:
    """Reads an expression in its dialect; unspecified means dts. key: the task's name, the seed of `H`.

    Raises:
        CronError: it is refused.
    """
    dialect = dialect or Dialect.DTS
    text = expression.strip(" \t\r\n")
    _check_characters(text)
    text, zone = _without_zone(text) if dialect is Dialect.ROBFIG else (text, None)
    if text.startswith("@"):
        if text.split()[0] == "@every":
            return CronFields((), (), (), (), DayRule(), False, every=_every(text), timezone=zone)
        text = _descriptor(text)
    return _Reader(text, dialect, key).read(zone)


def _check_characters(text: str) -> None:
    if not text:
        raise CronError("empty", "is empty; it has five fields: minute hour day month weekday")
    if len(text) > LONGEST:
        raise CronError("too_long", f"has {len(text)} characters; at most {LONGEST} are allowed")
    if not text.isascii() or not all(character.isprintable() or character == "\t" for character in text):
        raise CronError("characters", "holds characters that no cron expression has; only ASCII is allowed")


def _without_zone(text: str) -> tuple[str, str | None]:
    match = re.match(r"(?:CRON_TZ|TZ)=(\S+)\s+(.*)", text)
    return (match[2], match[1]) if match else (text, None)


def _every(text: str) -> timedelta:
    try:
        period = parse_duration(text.removeprefix("@every").strip())
    except ValueError as error:
        raise CronError("every", f"@every is followed by a duration: {error}") from None
    if period < timedelta(seconds=1):
        raise CronError("every", "@every is at least 1s")
    return period


def _descriptor(text: str) -> str:
    name = text.lower()
    if name == "@reboot":
        raise CronError("reboot", "@reboot has no instant; use a one-shot (at), or start the work with the machine")
    if name not in DESCRIPTORS:
        known = [*DESCRIPTORS, "@every 5m"]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise CronError("descriptor", f"{shown(text)} is not known; {hint}")
    return DESCRIPTORS[name]


def shown(text: str) -> str:
    """The text in quotes, if it is short enough to be shown."""
    return f"'{text}'" if len(text) <= 64 else "the expression"


class _Reader:
    """Reads one expression."""

    def __init__(self, text: str, dialect: Dialect, key: str) -> None:
        self._text = text
        self._dialect = dialect
        self._key = key
        self._last_days: set[int] = set()
        self._near: set[int] = set()
        self._nth: set[tuple[int, int]] = set()

    def read(self, zone: str | None) -> CronFields:
        texts = self._split()
        plain = [self._plain(text, column) for text, column in zip(texts, COLUMNS, strict=True)]
        # croniter wants seconds last, and has no word for "only special days": those columns are left to us.
        order = [*plain[1:], plain[0]]
        expanded, _ = croniter.expand(" ".join(text or "*" for text in order))
        values = [expanded[5], *expanded[:5]]
        seconds, minutes, hours, _, months, _ = (
            tuple(sorted(_numbers(text, value, column)))
            for text, value, column in zip(plain, values, COLUMNS, strict=True)
        )
        elapsed = texts[1].startswith(("*", "?")) or texts[2].startswith(("*", "?"))
        return CronFields(seconds, minutes, hours, months, self._days(texts, plain, values), elapsed, timezone=zone)

    def _split(self) -> list[str]:
        texts = self._text.split()
        allowed = (5,) if self._dialect is Dialect.CRONIE else (5, 6)
        if len(texts) not in allowed:
            words = "five fields: minute hour day month weekday"
            if len(allowed) > 1:
                words += ", or six with seconds first"
            raise CronError("field_count", f"{shown(self._text)} has {len(texts)} fields; it has {words}")
        return texts if len(texts) == 6 else ["0", *texts]

    def _days(self, texts: list[str], plain: list[str], values: list[list[int | str]]) -> DayRule:
        any_day, any_weekday = texts[3] in {"*", "?"}, texts[5] in {"*", "?"}
        starred = texts[3].startswith("*") or texts[5].startswith("*")
        return DayRule(
            days=None if any_day else _numbers(plain[3], values[3], DAY),
            last_days=frozenset(self._last_days),
            near=frozenset(self._near),
            weekdays=None if any_weekday else frozenset(day % 7 for day in _numbers(plain[5], values[5], WEEKDAY)),
            nth=frozenset(self._nth),
            both=starred if self._dialect is Dialect.CRONIE else any_day or any_weekday,
        )

    def _plain(self, text: str, column: Column) -> str:
        """The field without what we expand ourselves; empty if nothing is left."""
        items = text.split(",")
        kept = [item for item in (self._item(item, column) for item in items) if item]
        return ",".join(kept)

    def _item(self, item: str, column: Column) -> str:
        """An item as croniter reads it; empty for one that we keep ourselves."""
        if self._dialect is Dialect.DTS:
            for pattern, read in _SPECIAL.get(column.name, ()):
                if match := re.fullmatch(pattern, item, re.IGNORECASE):
                    read(self, match)
                    return ""
        if item[:1] in {"H", "h"}:
            return self._hashed(item, column)
        if item == "?" and self._dialect is not Dialect.CRONIE and column in {DAY, WEEKDAY}:
            return "*"
        return self._range(item, column)

    def _range(self, item: str, column: Column) -> str:
        match = re.fullmatch(r"(\*|(\w+)(?:-(\w+))?)(?:/(\w+))?", item, re.ASCII)
        if match is None:
            raise self._wrong("syntax", f"{column.name} {item[:32]!r} is not a value, range, list or step{_hint(item)}")
        whole, first, final, step = match.groups()
        if whole == "*":
            return "*" if step is None else f"*/{self._step(step, column, column.low, column.high)}"
        low = self._value(first, column)
        high = self._value(final, column) if final is not None else low
        if final is None and step is not None:
            if self._dialect is not Dialect.ROBFIG:
                raise self._wrong(
                    "step", f"{column.name} {item} has a step without a range; write {low}-{column.high}/{step}"
                )
            high = 6 if column is WEEKDAY else column.high
        if low > high:
            raise self._wrong("reversed_range", f"{column.name} {item} runs backwards; write two ranges with a comma")
        if step is not None:
            return f"{low}-{high}/{self._step(step, column, low, high)}"
        return f"{low}-{high}" if final is not None and low < high else str(low)

    def _value(self, text: str, column: Column) -> int:
        if text.upper() in column.names:
            return column.names[text.upper()]
        high = 6 if column is WEEKDAY and self._dialect is Dialect.ROBFIG else column.high
        if not text.isdecimal():
            known = f", or {'-'.join((next(iter(column.names)), next(reversed(column.names))))}" if column.names else ""
            raise self._wrong(
                "name", f"{column.name} {text[:32]} is not a number from {column.low} to {high}{known}{_hint(text)}"
            )
        if len(text) > 4 or not column.low <= int(text) <= high:
            raise self._wrong("out_of_range", f"{column.name} {text[:32]} is not in {column.low}..{high}")
        return int(text)

    def _step(self, text: str, column: Column, low: int, high: int) -> int:
        if not text.isdecimal() or len(text) > 4 or int(text) == 0:
            raise self._wrong("step", f"{column.name}: step {text[:32]} is not a number above 0")
        span = high - low + (0 if column is WEEKDAY and high == 7 else 1)
        if int(text) > span:
            raise self._wrong("step", f"{column.name}: step {text} is larger than the range, which has {span} values")
        return int(text)

    def _hashed(self, item: str, column: Column) -> str:
        """`H`, `H(0-29)`, `H/15` and `H(0-29)/10`, as in Jenkins: stable for a task, spread over tasks."""
        match = re.fullmatch(r"H(?:\((\w+)-(\w+)\))?(?:/(\w+))?", item, re.IGNORECASE | re.ASCII)
        if match is None:
            raise self._wrong("hash", f"{column.name} {item[:32]} is not H, H(LOW-HIGH), H/STEP or H(LOW-HIGH)/STEP")
        low, high = column.low, {DAY: 28, WEEKDAY: 6}.get(column, column.high)
        if match[1]:
            low, high = self._value(match[1], column), self._value(match[2], column)
            if low > high:
                raise self._wrong("reversed_range", f"{column.name} {item} runs backwards")
        digest = hashlib.sha256(f"{column.name}\0{self._key}".encode()).digest()
        number = int.from_bytes(digest[:8], "big")
        if match[3] is None:
            return str(low + number % (high - low + 1))
        step = self._step(match[3], column, low, high)
        return ",".join(str(value) for value in range(low + number % min(step, high - low + 1), high + 1, step))

    def _wrong(self, code: str, message: str) -> CronError:
        return CronError(code, f"{shown(self._text)}: {message}")

    # -- what only the dialect dts has

    def keep_last_day(self, match: re.Match[str]) -> None:
        """`L`: the last day of the month; `L-3`: three days before it."""
        self._last_days.add(self._small(match[1] or "0", "L", 30))

    def keep_near(self, match: re.Match[str]) -> None:
        """`15W`: the weekday nearest to the 15th; `LW`: the last weekday of the month."""
        self._near.add(0 if match[1].upper() == "L" else self._value(match[1], DAY))

    def keep_nth(self, match: re.Match[str]) -> None:
        """`FRI#2`: the second Friday."""
        number = self._small(match[2], "#", 5)
        if number == 0:
            raise self._wrong("nth", "day of week #0 does not exist; it is 1 to 5")
        self._nth.add((self._value(match[1], WEEKDAY) % 7, number))

    def keep_last_weekday(self, match: re.Match[str]) -> None:
        """`5L` or `L5`: the last Friday."""
        self._nth.add((self._value(match[1] or match[2], WEEKDAY) % 7, -1))

    def _small(self, text: str, what: str, most: int) -> int:
        if int(text) > most:
            raise self._wrong("out_of_range", f"{what} is followed by at most {most}, not {text[:8]}")
        return int(text)


_Read = Callable[[_Reader, re.Match[str]], None]
_SPECIAL: dict[str, tuple[tuple[str, _Read], ...]] = {
    DAY.name: ((r"L(?:-(\d{1,3}))?", _Reader.keep_last_day), (r"(\d{1,3}|L)W", _Reader.keep_near)),
    WEEKDAY.name: (
        (r"(\w+)#(\d{1,3})", _Reader.keep_nth),
        (r"(?:([0-7]|SUN|MON|TUE|WED|THU|FRI|SAT)L|L([0-7]))", _Reader.keep_last_weekday),
    ),
}


def _numbers(plain: str, values: list[int | str], column: Column) -> frozenset[int]:
    """What croniter made of a field; none if the field had only items that we keep ourselves."""
    if not plain:
        return frozenset()
    if "*" in values:
        return frozenset(range(column.low, column.high + 1))
    return frozenset(int(value) for value in values)


def _hint(item: str) -> str:
    if "~" in item:
        return "; for a time that is spread over tasks write H in the dialect dts"
    if re.search(r"[#LWH]", item, re.IGNORECASE):
        return "; L, #, W and H belong to the dialect dts, L and W to the day of month, # to the day of week"
    return ""


def _nearest_weekday(day: date, length: int) -> int:
    """The day of the month of the weekday nearest to a day, without leaving its month."""
    match day.isoweekday():
        case 6:
            return day.day - 1 if day.day > 1 else day.day + 2
        case 7:
            return day.day + 1 if day.day < length else day.day - 2
        case _:
            return day.day
