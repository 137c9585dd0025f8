"""Ticks around changes of the clock in every zone since 1900, against local minutes read with zoneinfo alone.

Another way to the same answer than `support.oracle`, which goes over minutes of UTC: offsets of odd seconds, jumps of a
day and times chosen to fall into each gap and fold are seen here.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import resources
from itertools import pairwise, product
from zoneinfo import ZoneInfo, available_timezones

import pytest

from dts.domain.localtime import RECENT, STEP, changes_of
from dts.domain.schedule import compile_schedule
from dts.pb.dts.v1 import Cron, FoldPolicy, GapPolicy, Rule, Schedule

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SINCE, UNTIL = datetime(1900, 1, 6, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
POLICIES = list(product([GapPolicy.RUN_AFTER, GapPolicy.SKIP], [FoldPolicy.ONCE, FoldPolicy.TWICE]))
SAMPLE = 120


@dataclass(frozen=True)
class Change:
    """A change of a clock as the file of the zone lists it."""

    zone: str
    at: datetime
    before: timedelta
    after: timedelta

    @property
    def shift(self) -> timedelta:
        return self.after - self.before

    @property
    def ends(self) -> list[datetime]:
        """The local times before and after it, the earlier one first."""
        return sorted((self.at + offset).replace(tzinfo=None) for offset in (self.before, self.after))


@cache
def listed_changes() -> dict[str, tuple[Change, ...]]:
    """The changes of one zone for each different set of them."""
    zones = sorted(available_timezones() - {"localtime", "posixrules", "Factory"})
    seen: dict[tuple[object, ...], tuple[Change, ...]] = {}
    for name in zones:
        changes = tuple(_changes(name))
        seen.setdefault(tuple((each.at, each.before, each.after) for each in changes), changes)
    return {changes[0].zone: changes for changes in seen.values() if changes}


def _changes(name: str) -> Iterator[Change]:
    zone = ZoneInfo(name)
    for at in _instants_in_file(name):
        before, after = ((at - step).astimezone(zone).utcoffset() for step in (SECOND, timedelta(0)))
        if before != after and SINCE < at < UNTIL:
            yield Change(name, at, before, after)


def _instants_in_file(name: str) -> list[datetime]:
    """RFC 9636: a header and data of 32 bits, then the same of 64 bits, which begins with the instants."""
    data = resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()
    utc, standard, leap, times, types, chars = struct.unpack_from(">6l", data, 20)
    second = 44 + times * 5 + types * 6 + chars + leap * 8 + standard + utc
    times = struct.unpack_from(">6l", data, second + 20)[3]
    return [EPOCH + number * SECOND for number in struct.unpack_from(f">{times}q", data, second + 44) if number > -3e9]


def sampled() -> list[Change]:
    """Every change by more than three hours, and some of the rest, the same ones every time."""
    every = [change for changes in listed_changes().values() for change in changes]
    odd = [change for change in every if abs(change.shift) > 3 * HOUR]
    return odd + random.Random(20260301).sample(every, SAMPLE)


class Minutes:
    """The local minutes around a change, each with the instants at which the clock shows it."""

    def __init__(self, change: Change) -> None:
        around = 27 * HOUR if abs(change.shift) > 3 * HOUR else 4 * HOUR
        low, high = change.ends
        self._zone = ZoneInfo(change.zone)
        self._jumps_a_day = change.shift >= DAY
        self.begin, self.end = change.at - around, change.at + around
        begin = (low - around - HOUR).replace(second=0)
        count = (high + around + HOUR - begin) // MINUTE
        self._rows = [(local, self._instants(local)) for local in (begin + n * MINUTE for n in range(count))]

    def expected(
        self, matches: Callable[[datetime], bool], *, elapsed: bool, after_gap: bool, twice: bool
    ) -> list[datetime]:
        """The ticks in (begin, end]."""
        found: set[datetime] = set()
        for local, instants in self._rows:
            if matches(local):
                found.update(instants if elapsed or twice else instants[:1])
                if not instants and after_gap and not elapsed and not self._jumps_a_day:
                    found.add(self._after(local))
        return sorted(instant for instant in found if self.begin < instant <= self.end)

    def _instants(self, local: datetime) -> list[datetime]:
        both = {local.replace(tzinfo=self._zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
        return sorted(each for each in both if each.astimezone(self._zone).replace(tzinfo=None, fold=0) == local)

    def _after(self, local: datetime) -> datetime:
        """The first second after a gap, by going through it."""
        while not (instants := self._instants(local)):
            local += SECOND
        return instants[0]


def expressions(change: Change) -> list[tuple[str, bool, Callable[[datetime], bool]]]:
    """Expressions, whether they follow elapsed time, and the times that they name; some that the change meets."""
    chance = random.Random(f"{change.zone} {change.at}")
    low, high = change.ends
    inside = low.replace(second=0) + chance.randrange((high - low) // MINUTE + 2) * MINUTE
    hours = sorted({low.hour, high.hour, chance.randrange(24)})
    minutes = sorted({low.minute, high.minute, chance.randrange(60)})
    listed = f"{','.join(map(str, minutes))} {','.join(map(str, hours))} * * *"
    return [
        (f"{inside.minute} {inside.hour} * * *", False, lambda t: t.time() == inside.time()),
        (f"{inside.minute} {inside.hour} {inside.day} {inside.month} *", False, lambda t: t == inside),
        (listed, False, lambda t: t.hour in hours and t.minute in minutes),
        ("*/7 * * * *", True, lambda t: t.minute % 7 == 0),
        (f"{inside.minute} */2 * * *", True, lambda t: t.minute == inside.minute and t.hour % 2 == 0),
    ]


def test_changes_of_the_past_are_as_local_minutes_say():
    for number, change in enumerate(sampled()):
        minutes = Minutes(change)
        for index, (expression, elapsed, matches) in enumerate(expressions(change)):
            gap, fold = POLICIES[(number + index) % len(POLICIES)]
            expected = minutes.expected(
                matches, elapsed=elapsed, after_gap=gap is GapPolicy.RUN_AFTER, twice=fold is FoldPolicy.TWICE
            )
            rules = [Rule(cron=Cron(expression=expression))]
            spec = Schedule(rules=rules, timezone=change.zone, dst_gap=gap, dst_fold=fold)
            schedule = compile_schedule(spec, key="t")
            about = (change, expression, gap, fold)
            found = [tick.at for tick in schedule.between(minutes.begin, minutes.end, limit=10_000)]
            assert found == expected, about
            assert schedule.count(minutes.begin, minutes.end).ticks == len(expected), about
            assert schedule.count(minutes.begin, change.at).ticks == sum(at <= change.at for at in expected), about
            newest = schedule.last_before(change.at, after=minutes.begin)
            assert (newest.at if newest else None) == max((at for at in expected if at <= change.at), default=None)


@pytest.mark.parametrize(
    "zone",
    ["Europe/Amsterdam", "Africa/Monrovia", "Africa/Casablanca", "America/St_Johns", "Pacific/Apia", "Asia/Gaza"],
)
def test_every_listed_change_of_a_zone_is_found(zone):
    listed = list(_changes(zone))
    found = [change for year in range(1900, listed[-1].at.year + 1) for change in changes_of(ZoneInfo(zone), year)]
    known = [(each.at, each.before, each.after) for each in found if SINCE < each.at <= listed[-1].at]
    assert known == [(each.at, each.before, each.after) for each in listed]


def test_the_zones_are_as_tame_as_the_search_for_changes_believes():
    for changes in listed_changes().values():
        distances = [b.at - a.at for a, b in pairwise(changes)]
        assert min(distances, default=DAY) > STEP
        assert max(abs(change.shift) for change in changes) < RECENT
