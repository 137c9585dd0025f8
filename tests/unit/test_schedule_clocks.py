"""Ticks around every change of every clock, against an oracle that tries each minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo

import pytest

from dts.domain.schedule import CompiledSchedule, compile_schedule
from dts.pb.dts.v1 import Cron, FoldPolicy, GapPolicy, Rule, Schedule
from support.oracle import expected, rules_of_the_world

AROUND = timedelta(hours=30)

# The expression, whether it follows elapsed time, and the local times that it names, written down a second time.
EXPRESSIONS = [
    ("30 2 * * *", False, lambda t: (t.hour, t.minute) == (2, 30)),
    ("0,30 0-3 * * *", False, lambda t: t.hour <= 3 and t.minute in {0, 30}),
    ("0 0 * * *", False, lambda t: (t.hour, t.minute) == (0, 0)),
    ("59 23 * * *", False, lambda t: (t.hour, t.minute) == (23, 59)),
    ("5 1 * * SUN", False, lambda t: (t.hour, t.minute) == (1, 5) and t.isoweekday() == 7),
    ("*/20 * * * *", True, lambda t: t.minute % 20 == 0),
    ("0 * * * *", True, lambda t: t.minute == 0),
    ("15 */2 * * *", True, lambda t: t.minute == 15 and t.hour % 2 == 0),
]
POLICIES = [(GapPolicy.RUN_AFTER, FoldPolicy.ONCE), (GapPolicy.SKIP, FoldPolicy.TWICE)]


def cron(expression: str, zone: str, gap=GapPolicy.UNSPECIFIED, fold=FoldPolicy.UNSPECIFIED) -> CompiledSchedule:
    rules = [Rule(cron=Cron(expression=expression))]
    return compile_schedule(Schedule(rules=rules, timezone=zone, dst_gap=gap, dst_fold=fold), key="t")


@pytest.mark.parametrize(("gap", "fold"), POLICIES, ids=["run_after-once", "skip-twice"])
def test_every_change_of_every_clock_in_three_years_is_as_the_oracle_says(gap, fold):
    for name, changes in rules_of_the_world(2025, 2027):
        zone = ZoneInfo(name)
        schedules = [cron(expression, name, gap, fold) for expression, *_ in EXPRESSIONS]
        for change, (schedule, (expression, elapsed, matches)) in product(
            changes, zip(schedules, EXPRESSIONS, strict=True)
        ):
            begin, end = change.at - AROUND, change.at + AROUND
            wanted = expected(
                matches,
                zone,
                begin,
                end,
                elapsed=elapsed,
                after_gap=gap is GapPolicy.RUN_AFTER,
                twice=fold is FoldPolicy.TWICE,
            )
            found = [tick.at for tick in schedule.between(begin, end, limit=10_000)]
            assert found == wanted, (expression, name, change)
            assert schedule.count(begin, end).ticks == len(wanted), (expression, name, change)


ODD = [
    ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),
    ("Pacific/Kwajalein", datetime(1993, 8, 21, 12, tzinfo=UTC)),
    ("America/St_Johns", datetime(2007, 11, 4, 2, 31, tzinfo=UTC)),
    ("America/St_Johns", datetime(2008, 3, 9, 3, 31, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
    ("Africa/Cairo", datetime(2026, 4, 23, 22, tzinfo=UTC)),
    ("Asia/Pyongyang", datetime(2015, 8, 14, 15, tzinfo=UTC)),
    ("Antarctica/Troll", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    ("America/Caracas", datetime(2007, 12, 9, 7, tzinfo=UTC)),
]


@pytest.mark.parametrize(("gap", "fold"), POLICIES, ids=["run_after-once", "skip-twice"])
@pytest.mark.parametrize(("zone", "at"), ODD)
def test_odd_changes_of_the_past_are_as_the_oracle_says(zone, at, gap, fold):
    for expression, elapsed, matches in EXPRESSIONS:
        begin, end = at - AROUND, at + AROUND
        wanted = expected(
            matches,
            ZoneInfo(zone),
            begin,
            end,
            elapsed=elapsed,
            after_gap=gap is GapPolicy.RUN_AFTER,
            twice=fold is FoldPolicy.TWICE,
        )
        found = [tick.at for tick in cron(expression, zone, gap, fold).between(begin, end, limit=10_000)]
        assert found == wanted, expression


@pytest.mark.parametrize(
    ("expression", "zone", "after", "local"),
    [
        ("30 2 * * *", "America/New_York", "2026-03-08T00:00:00+00:00", "2026-03-08T03:00:00-04:00"),
        ("30 1 * * *", "America/New_York", "2026-11-01T00:00:00+00:00", "2026-11-01T01:30:00-04:00"),
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00+00:00", "2026-10-04T02:30:00+11:00"),
        ("0 0 * * *", "Africa/Cairo", "2026-04-23T12:00:00+00:00", "2026-04-24T01:00:00+03:00"),
        ("0 12 * * *", "Pacific/Apia", "2011-12-29T23:00:00+00:00", "2011-12-31T12:00:00+14:00"),
        ("0 0 29 2 *", "UTC", "2096-03-01T00:00:00+00:00", "2104-02-29T00:00:00+00:00"),
        ("0 0 * * *", "UTC", "2100-02-28T12:00:00+00:00", "2100-03-01T00:00:00+00:00"),
    ],
)
def test_well_known_cases(expression, zone, after, local):
    tick = cron(expression, zone).next_after(datetime.fromisoformat(after))
    assert tick is not None
    assert tick.at == datetime.fromisoformat(local)


def test_a_fixed_time_in_the_repeated_hour_runs_once_and_the_next_day_again():
    schedule = cron("30 1 * * *", "America/New_York")
    ticks = schedule.between(datetime(2026, 10, 31, 12, tzinfo=UTC), datetime(2026, 11, 3, tzinfo=UTC), limit=9)
    assert [tick.at.isoformat() for tick in ticks] == ["2026-11-01T05:30:00+00:00", "2026-11-02T06:30:00+00:00"]
