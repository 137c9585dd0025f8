"""How many ticks several rules have together; an instant that several of them name counts once.

A day of a rule is one large integer with a bit for each second. Joining rules is `|`, counting is `bit_count`: a
year of every-second rules is some hundred operations of microseconds, where listing the ticks would take minutes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import or_

from dts.domain.ids import EPOCH, MICROSECOND
from dts.domain.localtime import SECOND, Stretch, stretches
from dts.domain.rules import CronRule, IntervalRule, OnceRule, Rule

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
SECONDS = 86_400


def count_union(rules: Sequence[Rule], low: datetime, high: datetime) -> int:
    """How many instants in (low, high] are ticks of at least one rule."""
    once = {tick for rule in rules if isinstance(rule, OnceRule) for tick in rule.instants if low < tick <= high}
    many = list(dict.fromkeys(rule for rule in rules if not isinstance(rule, OnceRule)))
    alone = sum(not any(rule.count(tick - MICROSECOND, tick) for rule in many) for tick in once)
    if len(many) < 2:
        return alone + sum(rule.count(low, high) for rule in many)
    return alone + _Union(many).count(low, high)


class _Union:
    """Two rules or more, each with many ticks."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._masks = [_mask_of(rule) for rule in rules if not _is_fractional(rule)]
        # They meet whole seconds now and then, and each other; the grid of seconds does not hold them.
        self._fractional = [rule for rule in rules if _is_fractional(rule)]

    def count(self, low: datetime, high: datetime) -> int:
        begin, end = low + MICROSECOND, high + MICROSECOND
        return sum(self._count(*piece) for piece in _days(begin, end))

    def _count(self, begin: datetime, end: datetime) -> int:
        """How many in [begin, end), which lie in one day of UTC."""
        midnight = _midnight(begin)
        span = _bits(_seconds(begin, midnight), _seconds(end, midnight))
        bits = reduce(or_, (mask.day(midnight) for mask in self._masks), 0) & span
        found = {tick for rule in self._fractional for tick in _listed(rule, begin, end)}
        return bits.bit_count() + sum(not _holds(bits, tick, midnight) for tick in found)


@dataclass(frozen=True, slots=True)
class _IntervalMask:
    period: int
    phase: int
    pattern: int

    def day(self, midnight: datetime) -> int:
        """The seconds of a day that are ticks."""
        first = (self.phase - (midnight - EPOCH) // SECOND) % self.period
        return self.pattern << first if first < SECONDS else 0


@dataclass(frozen=True, slots=True)
class _CronMask:
    rule: CronRule
    pattern: int

    def day(self, midnight: datetime) -> int:
        """The seconds of a day that are ticks."""
        pieces = list(stretches(self.rule.zone, midnight, midnight + DAY))
        if len(pieces) == 1 and pieces[0].opens is None:
            return self._as_the_clock_shows(pieces[0])
        hours = [midnight + n * HOUR for n in range(24)]
        return sum(self._near_a_change(hour) << _seconds(hour, midnight) for hour in hours)

    def _near_a_change(self, hour: datetime) -> int:
        """The seconds of an hour that are ticks."""
        pieces = list(stretches(self.rule.zone, hour, hour + HOUR))
        if len(pieces) == 1:
            bits = self._as_the_clock_shows(pieces[0])
            # A change of the clock either takes away from what the clock shows or adds to it, never both within an
            # hour: an equal number is the same ticks.
            if bits.bit_count() == self.rule.count(hour - MICROSECOND, hour + HOUR - MICROSECOND):
                return bits
        return sum(1 << _seconds(tick, hour) for tick in _listed(self.rule, hour, hour + HOUR))

    def _as_the_clock_shows(self, stretch: Stretch) -> int:
        """The seconds of a stretch, no longer than a day, at which the clock shows a time of the expression."""
        local = stretch.local(stretch.begin)
        shift = local.hour * 3600 + local.minute * 60 + local.second
        today = self.pattern >> shift if self.rule.fields.matches_day(local.date()) else 0
        following = self.pattern << SECONDS - shift if self.rule.fields.matches_day((local + DAY).date()) else 0
        return (today | following) & _bits(0, (stretch.end - stretch.begin) // SECOND)


def _mask_of(rule: Rule) -> _IntervalMask | _CronMask:
    if isinstance(rule, IntervalRule):
        period, phase = rule.period // SECOND, rule.phase // SECOND
        return _IntervalMask(period, phase, sum(1 << second for second in range(0, SECONDS, period)))
    assert isinstance(rule, CronRule)
    minute = sum(1 << second for second in rule.fields.seconds)
    hour = sum(minute << 60 * number for number in rule.fields.minutes)
    return _CronMask(rule, sum(hour << 3600 * number for number in rule.fields.hours))


def _is_fractional(rule: Rule) -> bool:
    return isinstance(rule, IntervalRule) and bool(rule.period % SECOND or rule.phase % SECOND)


def _days(begin: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    while begin < end:
        until = min(_midnight(begin) + DAY, end)
        yield begin, until
        begin = until


def _midnight(instant: datetime) -> datetime:
    return datetime(instant.year, instant.month, instant.day, tzinfo=UTC)


def _seconds(instant: datetime, since: datetime) -> int:
    """Whole seconds, rounded up: the first one that is not before the instant."""
    return -((since - instant) // SECOND)


def _bits(low: int, high: int) -> int:
    """The bits [low, high)."""
    return (1 << high) - (1 << low)


def _holds(bits: int, tick: datetime, midnight: datetime) -> bool:
    return not tick.microsecond and bool(bits >> _seconds(tick, midnight) & 1)


def _listed(rule: Rule, begin: datetime, end: datetime) -> Iterator[datetime]:
    for tick in rule.after(begin - MICROSECOND):
        if tick >= end:
            return
        yield tick
