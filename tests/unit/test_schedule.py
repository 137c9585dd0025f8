"""What holds for every schedule, by properties; and its bounds, exclusions and jitter."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dts.domain.errors import InvalidArgument
from dts.domain.schedule import CompiledSchedule, compile_schedule
from dts.domain.schedule_check import check_schedule, clock_changes
from dts.pb.dts.v1 import Cron, DateRange, FoldPolicy, GapPolicy, Interval, OneShot, Rule, Schedule

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
ZONES = ["UTC", "Europe/Zurich", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu"]


def compiled(*rules: Rule, key: str = "t", **fields) -> CompiledSchedule:
    return compile_schedule(Schedule(rules=list(rules), **fields), key=key)


def cron(expression: str) -> Rule:
    return Rule(cron=Cron(expression=expression))


def every(seconds: float, phase: float = 0) -> Rule:
    period = Interval(period=timedelta(seconds=seconds), phase=timedelta(seconds=phase) if phase else None)
    return Rule(every=period)


def field_of(low: int, high: int) -> st.SearchStrategy[str]:
    values = st.lists(st.integers(low, high), min_size=1, max_size=4, unique=True)
    lists = values.map(lambda numbers: ",".join(str(number) for number in sorted(numbers)))
    return st.one_of(st.just("*"), lists, st.integers(1, high - low + 1).map(lambda step: f"*/{step}"))


expressions = st.tuples(field_of(0, 59), field_of(0, 23), field_of(1, 28), field_of(1, 12), field_of(0, 6)).map(
    " ".join
)
rules = st.one_of(
    expressions.map(cron),
    st.integers(1, 100_000).map(every),
    st.datetimes(datetime(2025, 1, 1), datetime(2028, 1, 1)).map(lambda at: Rule(at=OneShot(time=at.isoformat()))),
)
schedules = st.builds(
    lambda some, zone, gap, fold: compiled(*some, timezone=zone, dst_gap=gap, dst_fold=fold),
    st.lists(rules, min_size=1, max_size=3),
    st.sampled_from(ZONES),
    st.sampled_from([GapPolicy.RUN_AFTER, GapPolicy.SKIP]),
    st.sampled_from([FoldPolicy.ONCE, FoldPolicy.TWICE]),
)
instants = st.datetimes(datetime(2025, 6, 1), datetime(2027, 6, 1)).map(lambda at: at.replace(tzinfo=UTC))


@given(schedules, instants)
@settings(max_examples=150, deadline=None)
def test_ticks_are_strictly_later_and_strictly_increasing(schedule, after):
    ticks = schedule.between(after, after + 60 * DAY, limit=50)
    at = [after, *(tick.at for tick in ticks)]
    assert all(a < b for a, b in pairwise(at))


@given(schedules, instants, st.timedeltas(timedelta(0), 3 * DAY))
@settings(max_examples=150, deadline=None)
def test_all_questions_have_the_same_answer(schedule, after, span):
    until = after + span
    ticks = schedule.between(after, until, limit=1_000_000)
    counted = schedule.count(after, until)
    assert counted.ticks == len(ticks)
    assert (counted.first, counted.last) == ((ticks[0].at, ticks[-1].at) if ticks else (None, None))
    assert schedule.last_before(until, after=after) == (ticks[-1] if ticks else None)
    following = schedule.next_after(after)
    assert (following is not None and following.at <= until) == bool(ticks)
    if ticks:
        assert following == ticks[0]


@given(schedules, instants)
@settings(max_examples=50, deadline=None)
def test_asking_one_by_one_finds_what_asking_at_once_finds(schedule, after):
    at_once = schedule.between(after, after + 400 * DAY, limit=8)
    one_by_one = []
    position = after
    while len(one_by_one) < 8 and (tick := schedule.next_after(position)) and tick.at <= after + 400 * DAY:
        one_by_one.append(tick)
        position = tick.at
    assert one_by_one == at_once


def test_equal_instants_of_several_rules_are_one_tick():
    schedule = compiled(cron("0 * * * *"), every(1800), Rule(at=OneShot(time="2026-03-01T13:00:00Z")))
    ticks = schedule.between(NOW, NOW + timedelta(hours=2), limit=99)
    assert [tick.at.minute for tick in ticks] == [30, 0, 30, 0]
    assert schedule.count(NOW, NOW + timedelta(hours=2)).ticks == 4


def test_an_interval_hangs_on_the_epoch_and_its_phase():
    [tick] = compiled(every(3600, phase=600)).between(NOW, NOW + timedelta(hours=1), limit=9)
    assert tick.at == NOW + timedelta(minutes=10)


def test_both_bounds_count():
    schedule = compiled(
        cron("0 0 * * *"), starts_at=datetime(2026, 3, 5, tzinfo=UTC), ends_at=datetime(2026, 3, 7, tzinfo=UTC)
    )
    assert [tick.at.day for tick in schedule.between(NOW, NOW + 30 * DAY, limit=99)] == [5, 6, 7]
    assert schedule.next_after(datetime(2026, 3, 7, tzinfo=UTC)) is None


def test_excluded_dates_are_local_and_ticks_all_the_same():
    zone = {"timezone": "Pacific/Auckland"}
    once = compiled(cron("0 1 * * *"), exclude=[DateRange(first="2026-03-03", last="2026-03-04")], **zone)
    ticks = once.between(NOW, NOW + 5 * DAY, limit=99)
    assert [(tick.at.astimezone(once.zone).day, tick.excluded) for tick in ticks] == [
        (3, True),
        (4, True),
        (5, False),
        (6, False),
        (7, False),
    ]
    counted = once.count(NOW, NOW + 5 * DAY)
    assert (counted.ticks, counted.excluded) == (5, 2)


def test_a_yearly_range_may_go_over_new_year():
    schedule = compiled(cron("0 0 * * *"), exclude=[DateRange(first="12-24", last="01-02")])
    ticks = schedule.between(datetime(2026, 12, 22, tzinfo=UTC), datetime(2027, 1, 4, tzinfo=UTC), limit=99)
    assert [tick.excluded for tick in ticks] == [False] + [True] * 10 + [False] * 2


def test_jitter_is_stable_spread_and_never_part_of_the_instant():
    plain, late = compiled(every(60)), compiled(every(60), jitter=timedelta(seconds=30))
    ticks = late.between(NOW, NOW + timedelta(hours=2), limit=999)
    assert [tick.at for tick in ticks] == [tick.at for tick in plain.between(NOW, NOW + timedelta(hours=2), limit=999)]
    delays = [tick.start - tick.at for tick in ticks]
    assert delays == [tick.start - tick.at for tick in late.between(NOW, NOW + timedelta(hours=2), limit=999)]
    assert all(timedelta(0) <= delay < timedelta(seconds=30) for delay in delays)
    assert len(set(delays)) > 100
    other = compiled(every(60), jitter=timedelta(seconds=30), key="another")
    assert delays != [tick.start - tick.at for tick in other.between(NOW, NOW + timedelta(hours=2), limit=999)]


def test_a_local_time_in_the_gap_runs_at_its_end_or_not_at_all():
    gap = Rule(at=OneShot(time="2026-03-29T02:30"))
    [tick] = compiled(gap, timezone="Europe/Zurich").between(NOW, NOW + 60 * DAY, limit=9)
    assert tick.at == datetime(2026, 3, 29, 1, tzinfo=UTC)
    skip = compiled(gap, timezone="Europe/Zurich", dst_gap=GapPolicy.SKIP)
    assert skip.next_after(NOW) is None


def test_a_year_of_seconds_is_counted_without_listing_them():
    schedule = compiled(cron("* * * * * *"), timezone="America/New_York")
    begun = time.perf_counter()
    assert schedule.count(NOW, NOW + 365 * DAY).ticks == 365 * 86_400
    assert time.perf_counter() - begun < 1


@pytest.mark.parametrize("expression", ["0 0 31 2 *", "0 0 30 2 *", "0 0 31 4,6,9,11 *"])
def test_an_expression_that_never_fires_is_refused(expression):
    violations, _ = check_schedule(Schedule(rules=[cron(expression)]), key="t", now=NOW)
    assert [(found.field, found.code) for found in violations] == [("schedule.rules[0].cron", "schedule.never_fires")]


def test_a_one_shot_of_the_past_is_refused_unless_it_can_be_caught_up():
    past = Schedule(rules=[Rule(at=OneShot(time="2026-02-01T00:00:00Z"))])
    violations, _ = check_schedule(past, key="t", now=NOW)
    assert [found.code for found in violations] == ["schedule.in_past"]
    assert check_schedule(past, key="t", now=NOW, allow_past=True)[0] == []


WRONG = [
    ({"rules": []}, "schedule.rules"),
    ({"rules": [Rule()]}, "schedule.rules[0]"),
    ({"rules": [every(0.5)]}, "schedule.rules[0].every"),
    ({"rules": [every(400 * 86_400)]}, "schedule.rules[0].every"),
    ({"rules": [every(60, phase=60)]}, "schedule.rules[0].every.phase"),
    ({"rules": [Rule(at=OneShot(time="2026-02-30T00:00"))]}, "schedule.rules[0].at"),
    ({"rules": [Rule(at=OneShot(time="tomorrow"))]}, "schedule.rules[0].at"),
    ({"rules": [Rule(at=OneShot(time="2026-05-01T24:00"))]}, "schedule.rules[0].at"),
    ({"timezone": "Mars/Phobos"}, "schedule.timezone"),
    ({"timezone": "../../etc/passwd"}, "schedule.timezone"),
    ({"timezone": "europe/zurich"}, "schedule.timezone"),
    ({"timezone": "x" * 1_000_000}, "schedule.timezone"),
    ({"jitter": timedelta(days=2)}, "schedule.jitter"),
    ({"max_runs": 0}, "schedule.max_runs"),
    ({"exclude": [DateRange(first="2026-02-30")]}, "schedule.exclude[0]"),
    ({"exclude": [DateRange(first="2026-03-02", last="2026-03-01")]}, "schedule.exclude[0]"),
    ({"exclude": [DateRange(first="2026-03-02", last="03-05")]}, "schedule.exclude[0]"),
    ({"starts_at": NOW, "ends_at": NOW - DAY}, "schedule.ends_at"),
]


@pytest.mark.parametrize(("fields", "path"), WRONG)
def test_what_is_wrong_is_refused_by_its_field(fields, path):
    with pytest.raises(InvalidArgument) as refused:
        compiled(*fields.pop("rules", [every(60)]), **fields)
    assert [violation.field for violation in refused.value.violations] == [path]
    assert len(str(refused.value)) < 300


def test_a_zone_that_is_nearly_right_is_named():
    with pytest.raises(InvalidArgument, match="Europe/Zurich"):
        compiled(every(60), timezone="Europe/Zürich")


def test_clock_changes_say_what_they_do():
    schedule = Schedule(rules=[cron("30 2 * * *")], timezone="Europe/Zurich")
    effects = [found.effect for found in clock_changes(schedule, key="t", after=NOW)]
    assert "runs at once after it" in effects[0]
    assert "runs once" in effects[1]
