"""What is refused and what is said of a schedule before it is stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dts.domain.schedule import compile_schedule, to_tick
from dts.domain.schedule_check import check_schedule, clock_changes
from dts.pb.dts.v1 import Cron, DateRange, Dialect, FoldPolicy, GapPolicy, Interval, OneShot, Rule, Schedule

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
ZURICH = {"timezone": "Europe/Zurich"}


def cron(expression: str, dialect: Dialect = Dialect.DTS) -> Rule:
    return Rule(cron=Cron(expression=expression, dialect=dialect))


def at(time: str) -> Rule:
    return Rule(at=OneShot(time=time))


def every(period: timedelta) -> Rule:
    return Rule(every=Interval(period=period))


def refused(*rules: Rule, **fields) -> list[tuple[str, str]]:
    violations, warnings = check_schedule(Schedule(rules=list(rules), **fields), key="t", now=NOW)
    assert not (violations and warnings)
    return [(found.field.removeprefix("schedule."), found.code.removeprefix("schedule.")) for found in violations]


def said(*rules: Rule, allow_past: bool = False, **fields) -> str:
    schedule = Schedule(rules=list(rules), **fields)
    violations, warnings = check_schedule(schedule, key="t", now=NOW, allow_past=allow_past)
    return "; ".join([*(str(found) for found in violations), *warnings])


def test_one_rule_that_never_fires_is_refused_beside_others():
    assert refused(cron("0 0 * * *"), cron("0 0 30 2 *")) == [("rules[1].cron", "never_fires")]
    assert refused(cron("0 0 29 2 *"), cron("0 0 29 2 1")) == []


def test_a_leap_day_on_a_weekday_fires_in_cronie_too():
    assert refused(cron("0 0 29 2 */7", Dialect.CRONIE)) == []


def test_bounds_that_leave_no_tick_are_refused_as_what_they_are():
    within = {"starts_at": datetime(2026, 5, 1, 1, tzinfo=UTC), "ends_at": datetime(2026, 5, 1, 2, tzinfo=UTC)}
    assert refused(cron("0 0 * * *"), **within) == [("ends_at", "never_fires")]
    assert refused(at("2026-04-01T00:00"), starts_at=NOW + 60 * DAY) == [("starts_at", "never_fires")]
    assert refused(cron("0 1 * * *"), **within) == []


@pytest.mark.parametrize("name", ["starts_at", "ends_at"])
def test_a_bound_without_an_offset_is_refused(name):
    aware = "ends_at" if name == "starts_at" else "starts_at"
    bounds = {name: datetime(2026, 5, 1), aware: datetime(2026, 5, 1, tzinfo=UTC)}
    assert refused(cron("* * * * *"), **bounds) == [(name, "bounds")]


def test_a_one_shot_in_a_gap_that_is_skipped_is_refused():
    assert refused(at("2026-03-29T02:30"), dst_gap=GapPolicy.SKIP, **ZURICH) == [("rules[0].at", "never_fires")]


def test_a_one_shot_in_a_gap_or_a_fold_says_when_it_runs():
    assert "runs at 2026-03-29T03:00:00+02:00" in said(at("2026-03-29T02:30"), **ZURICH)
    once, twice = (
        said(at("2026-10-25T02:30"), dst_fold=fold, **ZURICH) for fold in (FoldPolicy.ONCE, FoldPolicy.TWICE)
    )
    assert once.endswith("runs at 2026-10-25T02:30:00+02:00")
    assert twice.endswith("runs at 2026-10-25T02:30:00+02:00 and 2026-10-25T02:30:00+01:00")
    assert said(at("2026-06-01T02:30"), **ZURICH) == ""


def test_an_offset_that_the_zone_does_not_have_is_refused():
    assert refused(at("2026-06-01T12:00:00+01:00"), **ZURICH) == [("rules[0].at", "at")]
    assert refused(at("2026-06-01T12:00:00+02:00"), **ZURICH) == []
    assert refused(at("2026-06-01T12:00:00Z"), **ZURICH) == []
    assert refused(at("2026-06-01T12:00:00+01:00")) == []
    assert refused(at("2026-10-25T02:30:00+01:00"), **ZURICH) == []


@pytest.mark.parametrize(
    "time",
    [
        "2026-02-30T00:00",
        "2026-05-01T24:00",
        "2026-05-01T23:59:60",
        "2026-05-01T12:00:00+24:00",
        "2026-05-01",
        "2026-05-01T12",
        "20260501T1200",
        "2026-W18-5T12:00",
        " 2026-05-01T12:00",
        "2026-05-01T12:00\n",
        "٢٠٢٦-05-01T12:00",
        "2200-01-01T00:00:00Z",
        "1969-12-31T23:59:59",
        "9999-12-31T23:59:59-23:59",
        "",
        "x" * 1_000_000,
    ],
)
def test_what_is_no_time_is_refused_in_few_words(time):
    assert refused(at(time)) == [("rules[0].at", "at")]
    assert len(said(at(time))) < 200


def test_a_past_instant_among_others_is_said_and_not_refused():
    assert said(at("2026-02-01T00:00"), cron("0 0 * * *")) == "rules[0].at lies in the past"


def test_what_is_over_is_only_caught_up():
    assert refused(at("2026-02-01T00:00")) == [("rules[0].at", "in_past")]
    assert "only what is caught up" in said(at("2026-02-01T00:00"), allow_past=True)


@pytest.mark.parametrize(
    ("rule", "distance"),
    [
        (every(10 * MINUTE), 10 * MINUTE),
        (cron("@every 90s"), 90 * timedelta(seconds=1)),
        (cron("* * * * *"), MINUTE),
        (cron("0,20,30 * * * *"), 10 * MINUTE),
        (cron("5,50 * * * *"), 15 * MINUTE),
        (cron("5,55 0-23/2 * * *"), 50 * MINUTE),
        (cron("*/20 * * * * *"), timedelta(seconds=20)),
        (cron("10 * * * * *"), MINUTE),
        (cron("0,50 0,1 * * * *"), timedelta(seconds=10)),
        (cron("0,40 59 0,1 * * *"), timedelta(seconds=40)),
        (cron("10,50 0,23 * * *"), 20 * MINUTE),
        # From 23:50 to 00:10 of the next day it is not due.
        (cron("10,50 0,23 * * 1"), 40 * MINUTE),
        (cron("0 6,18 * * *"), 12 * HOUR),
        (cron("0 3 * * *"), DAY),
        (cron("0 3 1 * *"), None),
        (at("2026-06-01T12:00"), None),
    ],
)
def test_jitter_is_less_than_the_smallest_distance(rule, distance):
    allowed = distance - timedelta(microseconds=1) if distance else DAY
    assert refused(rule, jitter=allowed) == []
    if distance is not None:
        assert refused(rule, jitter=distance) == [("jitter", "jitter")]
    assert refused(rule, jitter=DAY + MINUTE) == [("jitter", "jitter")]


@given(
    st.integers(0, 59), st.integers(0, 59), st.integers(0, 23), st.integers(0, 23), st.sampled_from(["*", "1", "1,2"])
)
@settings(max_examples=100, deadline=None)
def test_the_smallest_distance_is_that_of_the_ticks(minute, other, hour, another, weekday):
    rule = cron(f"{minute},{other} {hour},{another} * * {weekday}")
    ticks = compile_schedule(Schedule(rules=[rule]), key="t").between(NOW, NOW + 21 * DAY, limit=999)
    smallest = min(b.at - a.at for a, b in pairwise(ticks))
    if smallest <= DAY:
        assert refused(rule, jitter=smallest) == [("jitter", "jitter")]
    assert refused(rule, jitter=min(smallest - MINUTE, DAY)) == []


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("*/7 * * * *", "last distance of each hour is 4 minutes"),
        ("*/45 * * * *", "last distance of each hour is 15 minutes"),
        ("0 */5 * * *", "last distance of each day is 4 hours"),
        ("*/59 * * * * *", "last distance of each minute is 1 second"),
        ("0 0 1 */5 *", "last distance of each year is 2 months"),
        ("0 0 */2 * *", "begins anew with each month"),
        ("0 0 31 * *", "months without a day 31 are left out"),
        ("0 0 13 * 5", "joined by OR"),
        ("0 0 29 2 *", "the next tick is in 2028"),
        ("*/15 * * * *", ""),
        ("0,7,14 * * * *", ""),
        ("*/1 */1 */1 * *", ""),
        ("0 0 31 12 *", ""),
        ("0 0 L * *", ""),
        ("@daily", ""),
        ("@every 7m", ""),
    ],
)
def test_what_may_surprise_about_an_expression_is_said(expression, words):
    found = said(cron(expression))
    assert words in found
    assert bool(words) == bool(found)


def test_a_zone_before_the_expression_does_not_shift_its_columns():
    assert "each day is 4 hours" in said(cron("CRON_TZ=Asia/Tokyo 0 */5 * * *", Dialect.ROBFIG))
    assert "each hour is 4 minutes" in said(cron("CRON_TZ=Asia/Tokyo 0 */7 * * * *", Dialect.ROBFIG))
    assert refused(cron("CRON_TZ=Mars/Phobos 0 * * * *", Dialect.ROBFIG)) == [("rules[0].cron", "timezone")]
    assert refused(cron("CRON_TZ=Mars/Phobos @every 1h", Dialect.ROBFIG)) == [("rules[0].cron", "timezone")]


def test_a_schedule_of_excluded_dates_alone_is_said_to_run_nothing():
    assert "nothing would run" in said(cron("0 0 * * *"), exclude=[DateRange(first="01-01", last="12-31")])
    assert said(cron("0 0 * * *"), exclude=[DateRange(first="01-01", last="12-30")]) == ""
    assert "nothing would run" in said(cron("0 0 24 12 *"), exclude=[DateRange(first="12-24")])
    assert said(cron("0 0 24,26 12 *"), exclude=[DateRange(first="12-24")]) == ""
    assert "nothing would run" in said(at("2026-04-01T00:00"), exclude=[DateRange(first="2026-04-01")])
    assert "inverted" in said(cron("0 0 * * *"), timezone="Etc/GMT+3")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("utc", "UTC"),
        ("zurich", "Europe/Zurich"),
        ("New York", "America/New_York"),
        ("america/new_york", "America/New_York"),
        ("America/Buenos_Aries", "America/Buenos_Aires"),
        ("GMT+3", None),
        ("../../etc/passwd", None),
        ("x" * 1000, None),
    ],
)
def test_a_zone_is_suggested_if_one_was_probably_meant(name, meant):
    found = said(cron("* * * * *"), timezone=name)
    assert found.endswith(f"did you mean {meant}?" if meant else ", such as Europe/Zurich")
    assert len(found) < 200


def changes(*rules: Rule, **fields) -> list[tuple[datetime, str]]:
    found = clock_changes(Schedule(rules=list(rules), **{**ZURICH, **fields}), key="t", after=NOW)
    return [(each.change.at, each.effect.partition("; ")[2]) for each in found]


SPRING, AUTUMN = datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)
GAP, FOLD = "what falls into the gap", "what falls into the repeated time"


@pytest.mark.parametrize(
    ("expression", "policies", "expected"),
    [
        ("30 2 * * *", {}, [f"{GAP} runs at once after it", f"{FOLD} runs once, at the first of the two"]),
        (
            "30 2 * * *",
            {"dst_gap": GapPolicy.SKIP, "dst_fold": FoldPolicy.TWICE},
            [f"{GAP} does not run", f"{FOLD} runs twice"],
        ),
        (
            "* * * * * *",
            {},
            [f"it follows elapsed time: {GAP} does not run", f"it follows elapsed time: {FOLD} runs twice"],
        ),
        ("0 2 * * SUN", {}, [f"{GAP} runs at once after it", f"{FOLD} runs once, at the first of the two"]),
    ],
)
def test_what_a_change_of_the_clock_does_is_said(expression, policies, expected):
    assert changes(cron(expression), **policies) == list(zip([SPRING, AUTUMN], expected, strict=True))


@pytest.mark.parametrize("expression", ["0 12 * * *", "0 3 * * *", "59 1 * * *", "30 2 * * MON", "0 4-23 * * *"])
def test_a_change_that_touches_no_time_of_the_schedule_is_not_listed(expression):
    assert changes(cron(expression)) == []


def test_changes_are_those_of_the_zone_of_each_expression_within_the_bounds():
    here, there = cron("30 2 * * *"), cron("CRON_TZ=America/New_York 30 2 * * *", Dialect.ROBFIG)
    found = clock_changes(Schedule(rules=[here, there], **ZURICH), key="t", after=NOW)
    assert [each.change.at for each in found] == [datetime(2026, 3, 8, 7, tzinfo=UTC), SPRING]
    assert found[0].effect.startswith("in America/New_York the clock goes from 02:00 on to 03:00; ")
    assert found[1].effect.startswith("the clock goes from 02:00 on to 03:00; ")
    assert changes(here, ends_at=SPRING - DAY) == []
    assert next(change for change, _ in changes(here, starts_at=SPRING + DAY)) == AUTUMN
    assert changes(every(HOUR), at("2026-03-29T02:30")) == []
    assert changes(cron("61 * * * *")) == []


def test_one_sentence_holds_what_a_change_does_to_several_rules():
    [(_, spring), _] = changes(cron("30 2 * * *"), cron("15 2 * * *"), cron("* * * * *"))
    assert spring == f"{GAP} runs at once after it; it follows elapsed time: {GAP} does not run"


@given(
    st.sampled_from(["30 2 * * *", "0,45 1-3 * * *", "*/20 * * * *", "15 */2 * * *"]),
    st.sampled_from(["Europe/Zurich", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "Antarctica/Troll"]),
    st.sampled_from([GapPolicy.RUN_AFTER, GapPolicy.SKIP]),
    st.sampled_from([FoldPolicy.ONCE, FoldPolicy.TWICE]),
)
@settings(max_examples=60, deadline=None)
def test_the_ticks_do_what_is_said_of_them(expression, zone, gap, fold):
    schedule = Schedule(rules=[cron(expression)], timezone=zone, dst_gap=gap, dst_fold=fold)
    compiled = compile_schedule(schedule, key="t")
    for found in clock_changes(schedule, key="t", after=NOW):
        change, jump = found.change, abs(found.change.after - found.change.before)
        if change.after > change.before:
            at_once = bool(compiled.between(change.at - timedelta(microseconds=1), change.at, limit=1))
            named = "runs at once" in found.effect
            # A tick at the end of the gap may be one of its own.
            assert at_once or not named
        else:
            again = compiled.count(change.at - timedelta(microseconds=1), change.at + jump - timedelta(microseconds=1))
            assert bool(again.ticks) == ("twice" in found.effect)


def test_a_tick_is_shown_in_its_zone_to_the_microsecond():
    schedule = compile_schedule(Schedule(rules=[every(timedelta(seconds=1.5))], **ZURICH), key="t")
    tick = schedule.next_after(NOW)
    assert to_tick(tick, task="t", timezone=schedule.timezone).local_time == "2026-03-01T13:00:01.500000+01:00"
