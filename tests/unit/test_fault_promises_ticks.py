"""P1 and P2: every tick once, with a reason that may be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from faults.model import Catchup, EngineEvent, Observed, Overlap, Try, Verb
from support.fault_worlds import (
    SECOND,
    at,
    broken,
    change_end,
    change_row,
    change_try,
    change_witness,
    complaints,
    every,
    fault,
    kept,
    operation,
    play,
    together,
    unrun,
    without_row,
)

CLEAN = play(every(10, lasts=3 * SECOND))
"""Ticks at 10, 20 … 120 s, read at 125 s; the last is too young to be judged."""


def with_fault(observed: Observed, *faults: object) -> Observed:
    return replace(observed, faults=faults)


def missed(observed: Observed, first: int, last: int, **changes: object) -> Observed:
    """The rows from one to another become one stretch that was missed."""
    row = observed.rows[last]
    observed = unrun(
        observed,
        first,
        "skipped",
        "missed",
        last_scheduled_at=row.scheduled_at,
        ticks=last - first + 1,
        created=row.scheduled_at + 11 * SECOND,
        **changes,
    )
    return without_row(observed, *range(first + 1, last + 1))


# -- P1: no silence


def test_a_faultless_run_keeps_every_promise() -> None:
    assert kept(CLEAN)


@pytest.mark.parametrize("overlap", list(Overlap))
@pytest.mark.parametrize("lasts", [0, 25])
def test_so_it_does_under_every_overlap_policy(overlap: Overlap, lasts: float) -> None:
    assert kept(play(every(10, overlap=overlap, lasts=lasts * SECOND)))


def test_a_tick_without_a_row_is_lost() -> None:
    observed = without_row(CLEAN, 4)
    assert broken(observed) == {"P1"}
    assert complaints(observed, "P1") == "the tick 12:00:50.000 has no row"


def test_a_fault_excuses_no_silence() -> None:
    observed = with_fault(without_row(CLEAN, 4), fault(45, 55))
    assert complaints(observed, "P1") == "the tick 12:00:50.000 has no row (during kill of scheduler-1)"


def test_a_tick_that_is_younger_than_ten_seconds_is_not_judged() -> None:
    assert kept(without_row(CLEAN, 11))


def test_a_row_at_an_instant_that_no_plan_names_is_wrong() -> None:
    observed = change_witness(
        change_row(CLEAN, 11, scheduled_at=at(119.5)), 11, scheduled_at=at(119.5), started=at(120.1)
    )
    assert "which no plan names" in complaints(observed, "P1")


def test_work_without_a_row_is_wrong() -> None:
    observed = change_witness(CLEAN, 11, run_id="nobody")
    assert "has no row" in complaints(observed, "P1")


def test_a_manual_run_is_no_tick() -> None:
    manual = replace(CLEAN.rows[3], run_id="m", trigger="manual", scheduled_at=at(44), tries=())
    manual = replace(manual, state="cancelled", reason="cancelled", finished=at(46))
    cancelled = operation(Verb.CANCEL, 45, 46, run_id="m")
    assert kept(replace(CLEAN, rows=[*CLEAN.rows, manual], operations=[*CLEAN.operations, cancelled]))


def test_two_runs_whose_work_took_each_others_names_are_seen_by_the_blind_matching() -> None:
    observed = replace(CLEAN, witnesses=[*CLEAN.witnesses[:5], *[CLEAN.witnesses[4]], *CLEAN.witnesses[6:]])
    assert "none of the complete runs is left" in complaints(observed, "P1")


# -- P1: reasons


def test_ticks_may_be_missed_while_something_is_broken() -> None:
    observed = with_fault(missed(CLEAN, 3, 5), fault(38, 70))
    assert kept(observed)


def test_ticks_are_not_missed_while_nothing_is_broken() -> None:
    observed = missed(CLEAN, 3, 5)
    assert "nothing was broken at 12:00:40.000" in complaints(observed, "P1")


def test_a_fault_does_not_excuse_the_ticks_long_before_it() -> None:
    observed = with_fault(missed(CLEAN, 3, 5), fault(54, 70))
    assert "nothing was broken at 12:00:40.000" in complaints(observed, "P1")


def test_the_latest_tick_is_caught_up() -> None:
    observed = missed(CLEAN, 3, 5)
    observed = with_fault(change_row(observed, 3, created=at(66)), fault(38, 65))
    assert "the catch-up policy asked for the tick 12:01:00.000" in complaints(observed, "P1")


@pytest.mark.parametrize("changed", [True, False])
def test_a_tick_may_be_missed_that_a_node_gave_back_after_its_task_was_changed(changed: bool) -> None:
    given = Try(1, "n1", "skipped", "missed", assigned=at(38))
    observed = unrun(CLEAN, 3, "skipped", "missed", created=at(35), finished=at(64), tries=[given])
    operations = [*CLEAN.operations, *([operation(Verb.UPDATE, 55, 56)] if changed else [])]
    found = complaints(with_fault(replace(observed, operations=operations), fault(38, 65)), "P1")
    assert ("the catch-up policy asked for the tick" in str(found)) is not changed


def test_without_catch_up_the_latest_tick_may_be_missed() -> None:
    observed = missed(play(every(10, catchup=Catchup.NONE)), 3, 5)
    assert kept(with_fault(change_row(observed, 3, created=at(66)), fault(38, 65)))


def test_with_full_catch_up_nothing_within_its_window_is_missed() -> None:
    observed = with_fault(missed(play(every(10, catchup=Catchup.ALL)), 3, 5), fault(38, 70))
    assert "the catch-up policy asked for" in complaints(observed, "P1")


def test_with_full_catch_up_what_is_older_than_its_window_may_be_missed() -> None:
    definition = every(10, catchup=Catchup.ALL, catchup_window=5 * SECOND)
    assert kept(with_fault(missed(play(definition), 3, 5), fault(38, 70)))


def test_ticks_beyond_the_maximum_may_be_dropped() -> None:
    observed = play(every(10, catchup=Catchup.ALL, catchup_max=2))
    dropped = unrun(observed, 3, "skipped", "dropped_cap", created=at(66))
    assert kept(with_fault(dropped, fault(38, 65)))
    assert "only 1 later ticks were caught up" in complaints(
        with_fault(change_row(dropped, 3, created=at(55)), fault(38, 65)), "P1"
    )
    assert "nothing was broken" in complaints(dropped, "P1")


def test_a_stretch_counts_its_ticks() -> None:
    observed = with_fault(change_row(missed(CLEAN, 3, 5), 3, ticks=2), fault(38, 70))
    assert complaints(observed, "P1") == (
        "a row says 2 ticks (missed) from 12:00:40.000 to 12:01:00.000; the plan has 3"
    )


def test_a_skip_needs_a_run_in_the_way() -> None:
    observed = play(every(10, lasts=15 * SECOND))
    assert observed.rows[1].reason == "skipped_overlap"
    over = change_row(observed, 1, blocked_by="")
    assert "is not in the ledger" in complaints(over, "P1")


def test_a_skip_needs_a_run_that_was_live() -> None:
    observed = unrun(CLEAN, 4, "skipped", "skipped_overlap", blocked_by=CLEAN.rows[3].run_id, finished=at(50.1))
    assert complaints(observed, "P1") == (
        "the tick 12:00:50.000 is skipped skipped_overlap: the run a-40 that it says was in its way was over at "
        "12:00:43.100"
    )


def test_a_run_of_which_nothing_was_heard_may_have_been_in_the_way() -> None:
    observed = unrun(CLEAN, 4, "skipped", "skipped_overlap", blocked_by=CLEAN.rows[3].run_id, finished=at(50.1))
    assert kept(with_fault(observed, fault(42, 48)))


def test_a_skip_needs_a_run_that_had_begun() -> None:
    observed = unrun(CLEAN, 4, "skipped", "skipped_overlap", blocked_by=CLEAN.rows[6].run_id, finished=at(50.1))
    assert "began at 12:01:10.000 only" in complaints(observed, "P1")


@pytest.mark.parametrize("overlap", [Overlap.QUEUE_ALL, Overlap.ALLOW, Overlap.CANCEL_OTHER])
def test_policies_that_skip_nothing_skip_nothing(overlap: Overlap) -> None:
    clean = play(every(10, overlap=overlap))
    observed = unrun(clean, 4, "skipped", "skipped_overlap", blocked_by=clean.rows[3].run_id, finished=at(50.1))
    assert "its overlap policy skips nothing" in complaints(observed, "P1")


@pytest.mark.parametrize("reason", ["node_lost", "engine_error", "image_pull", "no_node", "start_deadline"])
def test_what_only_a_fault_can_cause_needs_one(reason: str) -> None:
    observed = unrun(CLEAN, 4, "failed", reason, finished=at(52))
    assert "nothing was broken" in complaints(observed, "P1")
    assert kept(with_fault(observed, fault(45, 55)))


def test_an_earlier_try_needs_a_fault_to_be_lost() -> None:
    row = CLEAN.rows[4]
    lost = Try(1, "node-2", "failed", "node_lost", at(50), None, at(50.05))
    observed = change_row(CLEAN, 4, tries=[lost, replace(row.tries[0], number=2)])
    observed = change_witness(observed, 4, number=2)
    assert "try 1 of the tick 12:00:50.000 is node_lost" in complaints(observed, "P1")
    assert kept(with_fault(observed, fault(45, 55)))


def test_a_run_that_waited_for_minutes_may_be_too_late() -> None:
    clean = play(every(10, overlap=Overlap.QUEUE_ALL))
    assert kept(unrun(clean, 4, "failed", "start_deadline", finished=at(350)))


def test_a_timeout_needs_long_work() -> None:
    assert kept(play(every(10, lasts=30 * SECOND, timeout=4 * SECOND)))
    observed = change_end(CLEAN, 4, "timed_out", "timeout")
    assert "its work is shorter than its timeout" in complaints(observed, "P1")


def test_nobody_is_cancelled_without_being_asked_to() -> None:
    observed = change_end(CLEAN, 4, "cancelled", "cancelled")
    assert "nobody asked for it" in complaints(observed, "P1")
    asked = operation(Verb.CANCEL, 51, 52, run_id=CLEAN.rows[4].run_id)
    assert "nobody asked" not in complaints(replace(observed, operations=[*CLEAN.operations, asked]), "P1")


def test_only_one_policy_replaces_runs() -> None:
    observed = change_end(CLEAN, 4, "cancelled", "replaced")
    assert "its overlap policy replaces nothing" in complaints(observed, "P1")


def test_the_last_run_has_no_replacement() -> None:
    observed = play(every(10, overlap=Overlap.CANCEL_OTHER))
    assert "there is no later run" in complaints(change_end(observed, 11, "cancelled", "replaced"), "P1")


def test_nothing_is_skipped_for_a_full_queue_that_was_short() -> None:
    observed = unrun(play(every(10, overlap=Overlap.QUEUE_ALL)), 4, "skipped", "queue_full", finished=at(51))
    assert "no more than 5 runs can have waited" in complaints(observed, "P1")


@pytest.mark.parametrize("reason", ["excluded", "dependency_failed", "policy_denied", "invalid", ""])
def test_other_reasons_are_never_right(reason: str) -> None:
    observed = with_fault(unrun(CLEAN, 4, "skipped", reason, finished=at(51)), fault(45, 55))
    assert "nothing in a fault run can lead to that" in complaints(observed, "P1")


def test_a_pause_needs_somebody_who_paused() -> None:
    observed = unrun(CLEAN, 4, "skipped", "skipped_paused", finished=at(50.5))
    assert "the task was not paused at 12:00:50.000" in complaints(observed, "P1")


def test_what_waited_when_the_task_was_paused_is_skipped() -> None:
    observed = unrun(CLEAN, 4, "skipped", "skipped_paused", finished=at(50.5))
    operations = [*CLEAN.operations, operation(Verb.PAUSE, 50.3, 50.6), operation(Verb.RESUME, 52, 53)]
    assert kept(replace(observed, operations=operations))


# -- P1: nothing stays undone


def test_a_run_that_is_young_may_be_at_work() -> None:
    assert kept(play(every(10, lasts=30 * SECOND)))


@pytest.mark.parametrize("state", ["pending", "assigned", "running", "unknown"])
def test_a_run_is_not_at_work_for_ever(state: str) -> None:
    observed = replace(change_end(CLEAN, 4, state, "", finished=None), sightings=())
    assert f"the tick 12:00:50.000 is still {state} at 12:02:05.000" in complaints(observed, "P1")


def test_a_fault_gives_a_run_as_long_again() -> None:
    observed = replace(change_end(CLEAN, 4, "running", "", finished=None), sightings=())
    assert not complaints(with_fault(observed, fault(45, 110)), "P1")


def test_a_run_that_waits_for_another_one_may_be_pending() -> None:
    assert kept(play(every(10, overlap=Overlap.QUEUE_ALL, lasts=30 * SECOND)))


def test_a_run_that_waits_for_nothing_may_not() -> None:
    observed = play(every(10, overlap=Overlap.QUEUE_ALL, lasts=30 * SECOND))
    waiting = [row for row in observed.rows if row.state == "pending"]
    observed = replace(observed, read=at(300), rows=[*observed.rows[:3], waiting[0]], witnesses=observed.witnesses[:3])
    assert "is still pending" in complaints(observed, "P1")


# -- P2


def test_two_tasks_may_have_the_same_tick() -> None:
    assert kept(together(CLEAN, play(every(10), task="b")))


def test_a_try_starts_once() -> None:
    twice = replace(CLEAN.witnesses[4], node="node-2", started=at(54), ended=at(57))
    observed = replace(CLEAN, witnesses=[*CLEAN.witnesses, twice])
    assert complaints(observed, "P2") == (
        "try 1 of the tick 12:00:50.000 started 2 times: 12:00:50.100 on node-1, 12:00:54.000 on node-2"
    )


def test_two_tries_of_a_run_are_two_starts() -> None:
    definition = every(10, code=3, retries=1)
    clean = play(definition)
    row = clean.rows[4]
    again = replace(row.tries[0], number=2, started=at(52), finished=at(52))
    observed = change_row(clean, 4, tries=[*row.tries, again], finished=at(52))
    witness = replace(clean.witnesses[4], number=2, started=at(52), ended=at(52))
    assert kept(replace(observed, witnesses=[*observed.witnesses, witness]))


def test_a_container_starts_once() -> None:
    started = EngineEvent(at(50), "node-1", "c", "start", "a-50", 1)
    assert kept(replace(CLEAN, events=[started, replace(started, action="die", at=at(53))]))
    assert broken(replace(CLEAN, events=[started, replace(started, at=at(53))])) == {"P2"}


def test_a_tick_has_one_row() -> None:
    double = replace(CLEAN.rows[4], run_id="x", state="skipped", reason="skipped_overlap", blocked_by="a-50", tries=())
    observed = replace(CLEAN, rows=[*CLEAN.rows, double])
    assert "the tick 12:00:50.000 has 2 rows: a-50 (succeeded ok), x (skipped skipped_overlap)" in complaints(
        observed, "P2"
    )


def test_a_tick_within_a_stretch_has_no_row_of_its_own() -> None:
    observed = with_fault(missed(CLEAN, 3, 5), fault(38, 70))
    observed = replace(observed, rows=[*observed.rows, CLEAN.rows[4]], witnesses=CLEAN.witnesses)
    assert "the tick 12:00:50.000 has 2 rows" in complaints(observed, "P2")


def test_a_run_has_one_row() -> None:
    assert "the ledger has 2 rows of run a-50" in complaints(replace(CLEAN, rows=[*CLEAN.rows, CLEAN.rows[4]]), "P2")


def test_one_try_counts() -> None:
    row = CLEAN.rows[4]
    both = [row.tries[0], replace(row.tries[0], number=2)]
    assert "tries [1, 2] of one run are both counted" in complaints(change_row(CLEAN, 4, tries=both), "P2")


def test_a_try_that_is_a_failure_in_between_is_not_counted() -> None:
    assert "both counted" not in complaints(change_try(CLEAN, 4, exit_code=0), "P2")


def test_work_that_may_have_been_done_is_not_started_again_unasked() -> None:
    witness = CLEAN.witnesses[4]
    again = replace(witness, number=2, node="node-2", started=at(75), ended=at(76))
    observed = replace(CLEAN, witnesses=[*CLEAN.witnesses, again])
    assert "the tick 12:00:50.000 was started 2 times, at most 1" in complaints(observed, "P2")
    for asked in (every(10, at_most_once=False), every(10, retries=1)):
        assert "P2" not in broken(replace(observed, operations=[replace(CLEAN.operations[0], definition=asked)]))
