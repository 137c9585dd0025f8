"""Counting agrees with listing, for unions, excluded dates and the ends of time."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dts.domain.schedule import CompiledSchedule, Stretch, compile_schedule
from dts.domain.schedule_dates import Excluded, read_dates
from dts.pb.dts.v1 import Cron, DateRange, FoldPolicy, GapPolicy, Interval, OneShot, Rule, Schedule

DAY = timedelta(days=1)
EVER = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))

# Days whose clocks change by half an hour, by a day, over midnight, and by odd seconds.
CHANGES = [
    ("UTC", datetime(2026, 1, 1, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC)),
    ("America/St_Johns", datetime(2007, 11, 4, 2, 31, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),
    ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),
    ("Pacific/Kwajalein", datetime(1969, 9, 30, 13, tzinfo=UTC)),
    ("Africa/Monrovia", datetime(1972, 1, 7, 0, 44, 30, tzinfo=UTC)),
]


def compiled(*rules: Rule, **fields) -> CompiledSchedule:
    return compile_schedule(Schedule(rules=list(rules), **fields), key="t")


def cron(expression: str) -> Rule:
    return Rule(cron=Cron(expression=expression))


def every(period: timedelta, phase: timedelta = timedelta(0)) -> Rule:
    return Rule(every=Interval(period=period, phase=phase))


def field_of(low: int, high: int) -> st.SearchStrategy[str]:
    some = st.lists(st.integers(low, high), min_size=1, max_size=3, unique=True)
    return st.one_of(st.sampled_from(["*", "*/2", "*/7"]), some.map(lambda values: ",".join(map(str, values))))


crons = st.tuples(st.sampled_from(["", "30 ", "*/20 "]), field_of(0, 59), field_of(0, 23), st.sampled_from("**17"))
intervals = st.one_of(st.integers(60, 100_000).map(float), st.sampled_from([61.5, 90.25, 3600.000001]))
rules = st.one_of(
    crons.map(lambda parts: cron(f"{parts[0]}{parts[1]} {parts[2]} {parts[3]} * *")),
    st.tuples(intervals, st.one_of(st.integers(0, 59), st.just(0.5))).map(
        lambda x: every(timedelta(seconds=x[0]), timedelta(seconds=x[1]))
    ),
)


@given(st.data(), st.sampled_from(CHANGES), st.lists(rules, min_size=1, max_size=4))
@settings(max_examples=200, deadline=None)
def test_counting_agrees_with_listing(data, change, some):
    zone, at = change
    days = [(at + n * DAY).date().isoformat() for n in data.draw(st.lists(st.integers(-2, 2), max_size=2))]
    schedule = compiled(
        *some,
        timezone=zone,
        exclude=[DateRange(first=day) for day in days],
        dst_gap=data.draw(st.sampled_from([GapPolicy.RUN_AFTER, GapPolicy.SKIP])),
        dst_fold=data.draw(st.sampled_from([FoldPolicy.ONCE, FoldPolicy.TWICE])),
    )
    after = at + data.draw(st.timedeltas(-2 * DAY, timedelta(0)))
    until = after + data.draw(st.timedeltas(timedelta(0), 3 * DAY))
    ticks = schedule.between(after, until, limit=1_000_000)
    excluded = sum(tick.excluded for tick in ticks)
    ends = (ticks[0].at, ticks[-1].at) if ticks else (None, None)
    assert schedule.count(after, until) == Stretch(len(ticks), excluded, *ends)


def test_a_local_day_that_is_cut_in_two_is_excluded_in_both_parts():
    # At 00:01 of 4 November the clock was put back to 23:01 of the third.
    schedule = compiled(cron("*/10 * * * *"), timezone="America/St_Johns", exclude=[DateRange(first="2007-11-04")])
    after, until = datetime(2007, 11, 3, tzinfo=UTC), datetime(2007, 11, 6, tzinfo=UTC)
    ticks = schedule.between(after, until, limit=9999)
    assert schedule.count(after, until).excluded == sum(tick.excluded for tick in ticks) == 145


@pytest.mark.parametrize("phase", [timedelta(0), timedelta(seconds=0.5)])
def test_an_interval_between_the_seconds_meets_none_of_them(phase):
    schedule = compiled(cron("* * * * * *"), every(timedelta(seconds=10), phase))
    at = datetime(2026, 3, 1, tzinfo=UTC)
    assert schedule.count(at, at + timedelta(seconds=100)).ticks == (110 if phase else 100)


@pytest.mark.parametrize(
    "rules",
    [
        [cron("* * * * * *"), cron("*/2 * * * * *")],
        [cron("* * * * * *"), every(timedelta(seconds=1))],
        [cron(f"{n}-59 * * * * *") for n in range(32)],
    ],
)
def test_a_year_of_unions_is_counted_without_listing_it(rules):
    schedule = compiled(*rules, timezone="America/New_York", exclude=[DateRange(first="02-01", last="11-30")])
    after, until = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    begun = time.perf_counter()
    assert schedule.count(after, until).ticks == 365 * 86_400
    # Listing takes minutes.
    assert time.perf_counter() - begun < 5


@pytest.mark.parametrize(
    "rule",
    [
        cron("* * * * *"),
        cron("0 0 29 2 *"),
        every(timedelta(days=366)),
        every(timedelta(seconds=1)),
        Rule(at=OneShot(time="2199-12-31T23:59:59Z")),
    ],
)
@pytest.mark.parametrize("at", [*EVER, datetime(1900, 1, 1, tzinfo=UTC), datetime(9998, 12, 28, tzinfo=UTC)])
def test_time_has_ends_that_nothing_stumbles_over(rule, at):
    schedule = compiled(rule, timezone="Pacific/Apia", starts_at=EVER[0], ends_at=EVER[1])
    low, high = max(EVER[0], at - DAY) if at > EVER[0] + DAY else at, at + DAY if at < EVER[1] - DAY else at
    ticks = schedule.between(low, high, limit=100_000)
    assert schedule.count(low, high).ticks == len(ticks)
    assert schedule.last_before(high, after=low) == (ticks[-1] if ticks else None)
    following = schedule.next_after(at)
    assert following is None or following.at > at


def test_nothing_is_due_where_time_ends():
    schedule = compiled(cron("* * * * *"))
    assert schedule.next_after(EVER[1]) is None
    assert schedule.between(datetime(9999, 1, 1, tzinfo=UTC), EVER[1], limit=9) == []


def test_a_range_within_another_does_not_end_it():
    excluded = Excluded.of([read_dates("2026-01-01", "2026-01-31"), read_dates("2026-01-05", "2026-01-06")])
    assert excluded.holds(date(2026, 1, 20))
    assert not excluded.holds(date(2026, 2, 1))


DATES = st.dates(date(2023, 1, 1), date(2025, 12, 31))


@given(st.lists(st.tuples(DATES, st.integers(0, 40), st.booleans()), max_size=5), DATES)
def test_a_day_is_excluded_if_a_range_holds_it(ranges, day):
    written = []
    for first, length, yearly in ranges:
        last = first + length * DAY
        form = "%m-%d" if yearly else "%Y-%m-%d"
        written.append(read_dates(first.strftime(form), last.strftime(form)))
    excluded = Excluded.of(written)
    assert excluded.holds(day) == any(dates.holds(day) for dates in written)
    runs = [
        (first + n * DAY) for first, last in excluded.runs(day - 9 * DAY, day + 9 * DAY) for n in _days(first, last)
    ]
    assert runs == [day + n * DAY for n in range(-9, 10) if excluded.holds(day + n * DAY)]


def _days(first: date, last: date) -> range:
    return range((last - first).days + 1)
