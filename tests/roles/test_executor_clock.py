from __future__ import annotations

from datetime import UTC, datetime, timedelta

from dts.roles.executor.distant_clock import LONGEST_USE, DistantClock, SkewWatch

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def test_nothing_is_known_before_an_answer_tells():
    clock = DistantClock()
    assert clock.at(5) is None
    clock.heard(None, asked_at=1, heard_at=2)
    assert clock.at(5) is None


def test_what_is_told_was_true_in_the_middle_of_question_and_answer():
    clock = DistantClock()
    clock.heard(NOON, asked_at=100, heard_at=100.5)
    assert clock.at(100.25) == NOON
    assert clock.at(110.25) == NOON + 10 * SECOND


def test_an_answer_that_was_long_on_its_way_tells_less():
    clock = DistantClock()
    clock.heard(NOON, asked_at=100, heard_at=100.2)
    clock.heard(NOON + 10 * SECOND, asked_at=102, heard_at=110.1)
    assert clock.at(110.1) == NOON + 10 * SECOND


def test_a_younger_answer_that_was_as_quick_counts_since_the_clock_may_have_been_set():
    clock = DistantClock()
    clock.heard(NOON, asked_at=100, heard_at=100.2)
    clock.heard(NOON + timedelta(hours=1), asked_at=103, heard_at=103.3)
    assert clock.at(103.15) == NOON + timedelta(hours=1)


def test_an_old_answer_gives_way_to_any():
    clock = DistantClock()
    clock.heard(NOON, asked_at=100, heard_at=100.002)
    late = 100 + LONGEST_USE + 1
    clock.heard(NOON, asked_at=late, heard_at=late + 1)
    assert clock.at(late + 0.5) == NOON


def test_a_wrong_clock_of_the_machine_is_said_once_and_so_is_that_it_is_right_again(caplog):
    watch = SkewWatch()
    caplog.set_level("INFO")
    watch.look(NOON, None)
    watch.look(NOON + SECOND, NOON)
    assert caplog.messages == []
    for wall in (NOON + 90 * SECOND, NOON + 91 * SECOND):
        watch.look(wall, NOON)
    watch.look(NOON, NOON)
    watch.look(NOON - 5 * SECOND, NOON)
    assert caplog.messages == [
        "the clock of this machine is 90.0 s ahead of the database's",
        "the clock of this machine agrees with the database's again",
        "the clock of this machine is 5.0 s behind the database's",
    ]
