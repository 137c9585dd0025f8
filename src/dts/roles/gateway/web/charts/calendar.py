"""A year of outcomes, a column for each week and a cell for each day, as of UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from dts.pb.dts.v1 import ListRunCountsResponse

DAY = timedelta(days=1)
DAYS = 364
CELL = 13
"""Width of a cell with the gap beside it."""


@dataclass(frozen=True, slots=True)
class Day:
    """One cell. level: 0 for none that failed to 3 for all; kind: the class of its colour."""

    x: int
    y: int
    kind: str
    told: str


@dataclass(frozen=True, slots=True)
class Month:
    """Where a month begins."""

    x: int
    name: str


@dataclass(frozen=True, slots=True)
class Calendar:
    """What to draw."""

    width: int
    height: int
    days: list[Day]
    months: list[Month]


def begin_of(now: datetime) -> datetime:
    """The first midnight of the picture: a Monday."""
    today = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
    first = today - (DAYS - 1) * DAY
    return first - first.weekday() * DAY


def calendar(now: datetime, counts: ListRunCountsResponse) -> Calendar:
    """The picture. counts: by day, from `begin_of(now)`."""
    begin = begin_of(now)
    rows = {step: row for row, step in enumerate(counts.steps)}
    count = (now - begin) // DAY + 1
    days = [_day(begin + number * DAY, number, rows.get(number), counts) for number in range(count)]
    months = [
        Month(number // 7 * CELL, f"{begin + number * DAY:%b}")
        for number in range(count)
        if (begin + number * DAY).day == 1
    ]
    return Calendar((count // 7 + 1) * CELL, 7 * CELL, days, months)


def _day(day: datetime, number: int, row: int | None, counts: ListRunCountsResponse) -> Day:
    x, y = number // 7 * CELL, number % 7 * CELL
    if row is None:
        return Day(x, y, "none", f"{day:%Y-%m-%d}: nothing")
    found = {kind: getattr(counts, kind)[row] for kind in ("succeeded", "failed", "skipped", "cancelled")}
    said = ", ".join(f"{many} {kind}" for kind, many in found.items() if many)
    return Day(x, y, _kind(found), f"{day:%Y-%m-%d}: {said}")


def _kind(found: dict[str, int]) -> str:
    """The worst of what a day saw, and how much of it."""
    total = sum(found.values())
    if found["failed"]:
        return "bad some" if found["failed"] * 2 < total else "bad"
    if found["skipped"] * 2 > total:
        return "skip"
    return "ok some" if found["skipped"] else "ok" if found["succeeded"] else "off"
