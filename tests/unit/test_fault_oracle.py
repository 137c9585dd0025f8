from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from faults.checker.oracle import Due, course_of, names, next_tick, ticks
from faults.model import Definition, Every, Minutely, Once, Operation, Outcome, Verb

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
TEN = Definition(Every(10 * SECOND))
FIFTEEN = Definition(Every(15 * SECOND))


def at(seconds: float) -> datetime:
    return NOON + seconds * SECOND


def did(verb: Verb, begin: float, end: float | None, definition: Definition | None = None) -> Operation:
    """Acknowledged if it ended, unknown if it did not."""
    outcome = Outcome.INFO if end is None else Outcome.OK
    return Operation("a", verb, at(begin), None if end is None else at(end), outcome, definition)


def due(operations: list[Operation], *seconds: float) -> list[Due]:
    course = course_of(operations)
    return [course.due(at(second)) for second in seconds]


CREATED = did(Verb.CREATE, 0, 1, TEN)


def test_an_interval_is_anchored_to_the_epoch() -> None:
    assert list(ticks(Every(7 * SECOND), at(0), at(16))) == [
        instant for n in range(1, 17) if (instant := at(n)).timestamp() % 7 == 0
    ]


def test_a_phase_moves_an_interval() -> None:
    assert list(ticks(Every(10 * SECOND, 3 * SECOND), at(3), at(23))) == [at(13), at(23)]


def test_minutes_are_named_in_every_hour() -> None:
    plan = Minutely(frozenset({0, 30}))
    assert list(ticks(plan, NOON, NOON + timedelta(hours=1))) == [at(1800), at(3600)]


def test_once_is_once() -> None:
    assert list(ticks(Once(at(5)), at(0), at(5))) == [at(5)]
    assert list(ticks(Once(at(5)), at(5), at(9))) == []


def test_an_instant_is_named_or_not_to_the_microsecond() -> None:
    assert names(TEN.plan, at(10))
    assert not names(TEN.plan, at(10) + timedelta(microseconds=1))


def test_the_next_tick_is_after() -> None:
    assert next_tick(TEN.plan, at(10)) == at(20)
    assert next_tick(Once(at(5)), at(5)) is None


def test_a_tick_is_owed_from_two_seconds_after_the_answer() -> None:
    created = did(Verb.CREATE, 1, 8, TEN)
    assert due([created], 0, 10, 20) == [Due.NOT, Due.SURELY, Due.SURELY]
    assert due([did(Verb.CREATE, 1, 8.5, TEN)], 10) == [Due.EITHER]


def test_a_paused_task_owes_nothing_and_a_resumed_one_does() -> None:
    operations = [CREATED, did(Verb.PAUSE, 15, 16), did(Verb.RESUME, 35, 39)]
    assert due(operations, 10, 20, 30, 40, 50) == [Due.SURELY, Due.NOT, Due.NOT, Due.EITHER, Due.SURELY]
    assert course_of(operations).paused(at(20))
    assert not course_of(operations).paused(at(50))


def test_a_deleted_task_owes_nothing() -> None:
    assert due([CREATED, did(Verb.DELETE, 15, 16)], 10, 20) == [Due.SURELY, Due.NOT]


def test_an_update_changes_what_is_owed() -> None:
    operations = [CREATED, did(Verb.UPDATE, 31, 32, FIFTEEN)]
    assert due(operations, 30, 40, 45, 60) == [Due.SURELY, Due.NOT, Due.SURELY, Due.SURELY]


def test_while_an_update_is_under_way_both_are_right() -> None:
    operations = [CREATED, did(Verb.UPDATE, 35, 44, FIFTEEN)]
    assert due(operations, 40, 45, 50) == [Due.EITHER, Due.EITHER, Due.NOT]


def test_a_failed_operation_did_nothing() -> None:
    refused = Operation("a", Verb.PAUSE, at(15), at(16), Outcome.FAIL)
    assert due([CREATED, refused], 20) == [Due.SURELY]


@pytest.mark.parametrize("second", [20, 1000])
def test_what_nobody_knows_of_may_be_either_for_ever(second: float) -> None:
    assert due([CREATED, did(Verb.PAUSE, 15, None)], second) == [Due.EITHER]


def test_what_nobody_knows_of_may_happen_after_what_is_known() -> None:
    operations = [CREATED, did(Verb.PAUSE, 15, None), did(Verb.RESUME, 20, 21)]
    assert due(operations, 30) == [Due.EITHER]


def test_an_unknown_update_leaves_common_ticks_owed() -> None:
    assert due([CREATED, did(Verb.UPDATE, 15, None, FIFTEEN)], 30, 40, 45) == [Due.SURELY, Due.EITHER, Due.EITHER]


def test_a_task_that_nobody_made_owes_nothing() -> None:
    assert due([], 10) == [Due.NOT]


def test_the_owed_ticks_of_an_interval_are_those_of_all_its_parts() -> None:
    course = course_of([CREATED, did(Verb.UPDATE, 31, 32, FIFTEEN), did(Verb.DELETE, 62, 63)])
    assert list(course.surely_due(at(10), at(100))) == [at(20), at(30), at(45), at(60)]


def test_a_tick_of_an_earlier_definition_was_planned_once() -> None:
    course = course_of([CREATED, did(Verb.UPDATE, 31, 32, FIFTEEN)])
    assert course.ever_planned(at(50))
    assert not course.ever_planned(at(51))
