"""P3 to P6: not early, not late, soon well again, and not at once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from faults.checker.timing import recoveries
from faults.model import EngineEvent, Fault, Observed, Overlap
from support.fault_worlds import (
    SECOND,
    at,
    broken,
    change_end,
    change_witness,
    complaints,
    every,
    fault,
    kept,
    move_start,
    play,
    unrun,
)

CLEAN = play(every(10, lasts=3 * SECOND))


def during(observed: Observed, *faults: Fault) -> Observed:
    return replace(observed, faults=faults)


# -- P3


def test_work_that_starts_before_its_tick_is_early() -> None:
    observed = move_start(CLEAN, 4, -0.2)
    assert broken(observed) == {"P3"}
    assert complaints(observed, "P3") == ("try 1 started at 12:00:49.900 on node-1, 0.1 s before its tick 12:00:50.000")


def test_fifty_milliseconds_are_not_early() -> None:
    assert kept(move_start(CLEAN, 4, -0.15))


def test_a_fault_does_not_excuse_early_work() -> None:
    assert broken(during(move_start(CLEAN, 4, -0.2), fault(45, 55))) == {"P3"}


# -- P4


def test_work_that_starts_later_than_its_tolerance_is_late() -> None:
    observed = move_start(CLEAN, 4, 2)
    assert broken(observed) == {"P4"}
    assert complaints(observed, "P4") == (
        "the tick 12:00:50.000 started at 12:00:52.100, 2.1 s after it could; with nothing broken it had to by "
        "12:00:52.000"
    )


def test_a_tolerance_may_be_greater() -> None:
    assert kept(move_start(play(every(10, lasts=3 * SECOND, tolerance=3 * SECOND)), 4, 2))


def test_work_may_be_late_until_the_recovery_from_a_fault() -> None:
    observed = during(move_start(CLEAN, 4, 5), fault(45, 52, recovery=2))
    assert kept(observed)
    assert "by 12:00:56.000" in complaints(during(move_start(CLEAN, 4, 6), fault(45, 52, recovery=2)), "P4")


def test_one_fault_may_follow_the_other() -> None:
    observed = move_start(CLEAN, 4, 6)
    assert "P4" in broken(during(observed, fault(45, 51, recovery=2)))
    assert kept(during(observed, fault(45, 51, recovery=2), fault(54, 57, recovery=2)))


def test_a_fault_that_is_over_excuses_nothing() -> None:
    assert "P4" in broken(during(move_start(CLEAN, 4, 2), fault(30, 40, recovery=5)))


def test_work_that_waits_for_its_turn_is_due_when_it_has_come() -> None:
    observed = play(every(10, overlap=Overlap.QUEUE_ALL, lasts=12 * SECOND))
    assert kept(observed)
    assert "P4" in broken(move_start(observed, 4, 3))


def test_work_without_a_witness_is_timed_by_the_ledger() -> None:
    observed = play(every(10, witnessed=False))
    row = observed.rows[4]
    late = replace(row, tries=[replace(row.tries[0], started=at(53))])
    assert "P4" in broken(replace(observed, rows=[*observed.rows[:4], late, *observed.rows[5:]]))


# -- P5


def test_a_fault_that_nobody_felt_took_no_time() -> None:
    assert [one.took for one in recoveries(during(CLEAN, fault(45, 55)))] == [0 * SECOND]


def test_a_recovery_lasts_until_the_last_late_tick() -> None:
    observed = during(move_start(move_start(CLEAN, 4, 5), 5, 3), fault(45, 58, recovery=4))
    (found,) = recoveries(observed)
    assert (found.took, found.task, found.tick) == (2 * SECOND, "a", at(60))
    assert kept(observed)


def test_a_recovery_that_takes_longer_than_its_r_is_told() -> None:
    observed = during(move_start(CLEAN, 6, 3), fault(45, 55, recovery=5))
    assert broken(observed) == {"P4", "P5"}
    assert complaints(observed, "P5") == (
        "15 s after kill of scheduler-1 was healed at 12:00:55.000 the tick 12:01:10.000 was still not on time; "
        "5 s are allowed"
    )


def test_a_tick_that_was_missed_after_the_heal_is_not_on_time() -> None:
    observed = during(unrun(CLEAN, 6, "skipped", "missed", created=at(81)), fault(45, 55, recovery=5))
    assert {"P1", "P5"} <= broken(observed)


def test_a_skipped_tick_is_no_sign_of_a_fault() -> None:
    observed = during(play(every(10, lasts=15 * SECOND)), fault(45, 55, recovery=5))
    assert kept(observed)


def test_a_tick_during_another_fault_is_not_the_first_ones() -> None:
    observed = during(move_start(CLEAN, 6, 3), fault(45, 55, recovery=5), fault(68, 72, recovery=5))
    assert [one.took for one in recoveries(observed)] == [0 * SECOND, 0 * SECOND]


# -- P6


def overlapped(**policies: object) -> Observed:
    """The run of 50 s lasts until 61 s."""
    return change_witness(play(every(10, lasts=3 * SECOND, **policies)), 4, ended=at(61))


@pytest.mark.parametrize("overlap", [Overlap.SKIP, Overlap.QUEUE_ONE, Overlap.QUEUE_ALL, Overlap.CANCEL_OTHER])
def test_work_of_a_task_does_not_run_twice_at_once(overlap: Overlap) -> None:
    observed = overlapped(overlap=overlap)
    assert complaints(observed, "P6") == (
        "run a-60 try 1 started at 12:01:00.100 on node-1, while run a-50 try 1 on node-1 lived until 12:01:01.000: "
        "0.9 s at once"
    )


def test_unless_it_is_allowed_to() -> None:
    assert "P6" not in broken(overlapped(overlap=Overlap.ALLOW))
    assert kept(play(every(10, overlap=Overlap.ALLOW, lasts=25 * SECOND)))


def test_a_fault_does_not_excuse_work_at_once_where_it_must_not_be() -> None:
    assert "P6" in broken(during(overlapped(), fault(52, 58)))


def test_a_fault_excuses_one_short_overlap_of_work_that_is_tried_elsewhere() -> None:
    observed = overlapped(at_most_once=False)
    assert "P6" in broken(observed)
    assert "P6" not in broken(during(observed, fault(52, 58)))


def test_but_not_two() -> None:
    observed = change_witness(overlapped(at_most_once=False), 6, ended=at(81))
    assert "P6" in broken(during(observed, fault(52, 78)))
    assert "P6" not in broken(during(observed, fault(52, 58), fault(72, 78)))


def test_and_not_a_long_one() -> None:
    observed = play(every(40, lasts=3 * SECOND, at_most_once=False), until=200)
    observed = change_witness(change_witness(observed, 1, ended=at(155)), 2, ended=at(160))
    assert "P6" in broken(during(observed, fault(82, 150)))


def test_work_without_an_end_lives_until_its_last_sign_of_life() -> None:
    observed = change_end(CLEAN, 4, "failed", "node_lost", exit_code=None, finished=at(55))
    observed = change_witness(during(observed, fault(51, 58)), 4, ended=None, code=None)
    assert "P6" not in broken(observed)
    assert "P6" in broken(change_witness(observed, 4, seen=at(62)))


def test_or_until_its_engine_says_that_it_died() -> None:
    observed = change_end(CLEAN, 4, "failed", "node_lost", exit_code=None, finished=at(55))
    observed = change_witness(during(observed, fault(51, 58)), 4, ended=None, code=None)
    died = EngineEvent(at(62), "node-1", "c", "die", "a-50", 1, 137)
    assert "P6" in broken(replace(observed, events=[died]))
    assert "P6" not in broken(replace(observed, events=[replace(died, at=at(57))]))


def test_a_fault_that_ends_work_ended_work_without_an_end() -> None:
    observed = play(every(10, lasts=12 * SECOND, overlap=Overlap.CANCEL_OTHER))
    observed = change_end(observed, 4, "failed", "node_lost", exit_code=None, finished=at(65))
    observed = during(observed, fault(55, 58, spares_work=False))
    assert "P6" not in broken(observed)


def test_a_wait_ends_when_the_ledger_has_the_end_somewhat_later() -> None:
    observed = play(every(10, overlap=Overlap.QUEUE_ALL, lasts=12 * SECOND))
    row = observed.rows[2]
    said = replace(row, finished=row.finished + 0.5 * SECOND)
    assert "P4" not in broken(replace(observed, rows=[*observed.rows[:2], said, *observed.rows[3:]]))


def test_what_started_after_the_ledger_was_read_is_not_judged() -> None:
    late = replace(CLEAN.witnesses[11], run_id="later", started=at(126), ended=None)
    assert kept(replace(CLEAN, witnesses=[*CLEAN.witnesses, late]))


def test_a_queue_lets_nobody_overtake() -> None:
    observed = play(every(10, overlap=Overlap.QUEUE_ALL, lasts=3 * SECOND))
    observed = move_start(observed, 4, 13.5)  # after the run of 60 s
    assert "later ticks overtook it: 12:01:00.000" in complaints(observed, "P4")
