"""Which ticks a change of a schedule makes appear, vanish and move."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dts.domain.schedule import compile_schedule
from dts.domain.tick_changes import tick_changes
from dts.pb.dts.v1 import Cron, DateRange, Rule, Schedule

MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def cron(expression, **more):
    return compile_schedule(Schedule(rules=[Rule(cron=Cron(expression=expression))], **more), key="t")


def changes(before, after, *, days=7, listed=10):
    return tick_changes(before, after, since=MONDAY, until=MONDAY + days * DAY, listed=listed)


def counts(found):
    return found.stay, found.appear, found.vanish, found.move


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("0 3 * * *", "0 3 * * *", (7, 0, 0, 0)),
        ("0 3 * * *", "0 4 * * *", (0, 0, 0, 7)),
        ("0 3 * * *", "0 2 * * *", (0, 0, 0, 7)),
        ("0 3 * * *", "0 3,15 * * *", (7, 7, 0, 0)),
        ("0 3,15 * * *", "0 3 * * *", (7, 0, 7, 0)),
        ("0 3 * * *", "0 3 * * MON-FRI", (5, 0, 2, 0)),
        ("0 * * * *", "30 * * * *", (0, 0, 0, 168)),
        ("0 3 * * *", "30 2,14 * * *", (0, 7, 0, 7)),
    ],
)
def test_ticks_appear_vanish_and_move(before, after, expected):
    found = changes(cron(before), cron(after))
    assert counts(found) == expected
    assert found.differ is (expected[1:] != (0, 0, 0))


def test_a_task_that_comes_or_goes_has_all_its_ticks_appear_or_vanish():
    assert counts(changes(None, cron("0 3 * * *"))) == (0, 7, 0, 0)
    assert counts(changes(cron("0 3 * * *"), None)) == (0, 0, 7, 0)
    assert not changes(None, None).differ


def test_another_zone_moves_and_an_excluded_date_vanishes():
    found = changes(cron("0 3 * * *"), cron("0 3 * * *", timezone="Europe/Zurich"))
    assert (counts(found), found.first[0]) == ((0, 0, 0, 7), (MONDAY + 3 * HOUR, MONDAY + 2 * HOUR))
    found = changes(cron("0 3 * * *"), cron("0 3 * * *", exclude=[DateRange(first="2026-11-25")]))
    assert (counts(found), found.first) == ((6, 0, 1, 0), [(MONDAY + 2 * DAY + 3 * HOUR, None)])


def test_the_first_instant_counts_and_the_last_does_not():
    found = changes(None, cron("0 0 * * *"), days=1)
    assert found.first == [(None, MONDAY)]


def test_all_are_counted_and_the_first_are_listed():
    found = changes(None, cron("* * * * *"), days=1, listed=3)
    assert (found.appear, len(found.first)) == (1440, 3)
