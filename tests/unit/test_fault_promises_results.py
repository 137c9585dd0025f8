"""P7 and P8: the last try says what happened."""

from __future__ import annotations

from dataclasses import replace

import pytest

from faults.checker.results import p08_true
from faults.model import EngineEvent, Observed
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
    play,
)

CLEAN = play(every(10, lasts=3 * SECOND))
FAILING = play(every(10, lasts=3 * SECOND, code=3))


def retried() -> Observed:
    """The run of 50 s was lost on node-1 and succeeded on node-2, as its task asks for."""
    row = CLEAN.rows[4]
    first = replace(row.tries[0], state="failed", reason="node_lost", exit_code=None, finished=at(52))
    second = replace(row.tries[0], number=2, node="node-2", assigned=at(53), started=at(54), finished=at(57))
    observed = change_row(CLEAN, 4, tries=[first, second], finished=at(57))
    observed = change_witness(observed, 4, ended=None, code=None)
    witness = replace(CLEAN.witnesses[4], number=2, node="node-2", started=at(54), ended=at(57))
    asked = replace(CLEAN.operations[0], definition=every(10, lasts=3 * SECOND, at_most_once=False))
    return replace(observed, operations=[asked], witnesses=[*observed.witnesses, witness], faults=[fault(51, 60)])


# -- P7


def test_a_run_that_was_lost_and_tried_again_keeps_every_promise() -> None:
    assert kept(retried())


def test_the_row_says_what_its_last_try_says() -> None:
    observed = change_row(retried(), 4, state="failed", reason="node_lost")
    assert complaints(observed, "P7") == "the row says failed node_lost, but its last try 2 succeeded ok"


def test_a_row_that_came_to_its_deadline_after_a_failed_try_says_that() -> None:
    observed = change_row(FAILING, 4, reason="start_deadline")
    assert "P7" not in broken(observed)


def test_an_earlier_try_does_not_decide() -> None:
    row = retried().rows[4]
    observed = change_row(retried(), 4, tries=[replace(row.tries[0], state="succeeded"), row.tries[1]])
    assert "try 1 succeeded, and yet there was a try 2" in complaints(observed, "P7")


def test_the_last_try_stands_last() -> None:
    observed = change_row(retried(), 4, tries=retried().rows[4].tries[::-1])
    assert "try 1 stands after try 2" in complaints(observed, "P7")


def test_no_try_is_higher_than_the_one_that_decided() -> None:
    observed = change_row(CLEAN, 4)
    higher = replace(CLEAN.witnesses[4], number=2, started=at(54), ended=at(57))
    observed = replace(observed, witnesses=[*observed.witnesses, higher])
    assert "try 2 started at 12:00:54.000, but try 1 decided the row" in complaints(observed, "P7")


def test_a_late_report_of_an_earlier_try_is_refused_and_counted() -> None:
    observed = change_witness(retried(), 4, ended=at(53.5), code=0)
    assert kept(replace(observed, stale_refused=1))
    assert kept(replace(observed, stale_refused=None))
    assert "1 tries ended after the next one was given out" in complaints(replace(observed, stale_refused=0), "P7")


# -- P8: success


def test_there_is_no_success_of_work_that_came_to_no_end() -> None:
    observed = change_witness(CLEAN, 4, ended=None, code=None)
    assert "the work of try 1 came to no end" in complaints(observed, "P8")


def test_there_is_no_success_of_work_that_never_started() -> None:
    observed = replace(CLEAN, witnesses=[*CLEAN.witnesses[:4], *CLEAN.witnesses[5:]])
    assert "the work of try 1 never started" in complaints(observed, "P8")


def test_a_fault_does_not_excuse_a_false_success() -> None:
    observed = replace(change_witness(CLEAN, 4, ended=None, code=None), faults=[fault(51, 52, spares_work=False)])
    assert "P8" in broken(observed)


def test_work_without_a_witness_may_succeed() -> None:
    assert kept(play(every(10, witnessed=False)))


def test_a_success_has_a_try() -> None:
    assert "the ledger has no try of it" in complaints(change_row(CLEAN, 4, tries=()), "P8")


def test_a_success_has_no_other_code_than_0() -> None:
    assert "it succeeded with exit code 3" in complaints(change_try(CLEAN, 4, exit_code=3), "P8")


def test_a_failure_is_not_a_success() -> None:
    observed = change_end(FAILING, 4, "succeeded", "ok", exit_code=0)
    assert "the ledger says exit code 0, but the work ended with 3" in complaints(observed, "P8")


# -- P8: failure


def test_exit_codes_are_those_of_the_work() -> None:
    assert kept(FAILING)
    assert "exit code 4, but the work ended with 3" in complaints(change_try(FAILING, 4, exit_code=4), "P8")


def test_a_success_is_not_a_failure() -> None:
    observed = change_end(CLEAN, 4, "failed", "exit_code", exit_code=None)
    assert "the ledger says that it failed, but the work ended with 0" in complaints(observed, "P8")


def test_work_that_came_to_no_end_has_no_exit_code_of_its_own() -> None:
    observed = change_witness(FAILING, 4, ended=None, code=None)
    assert "but the work came to no end, and nothing was broken" in complaints(observed, "P8")
    assert kept(replace(observed, faults=[fault(51, 52)]))


def test_work_that_a_signal_ended_was_ended_by_somebody() -> None:
    observed = change_witness(change_try(FAILING, 4, exit_code=137), 4, ended=None, code=None)
    assert "exit code 137, but the work came to no end, and nothing was broken" in complaints(observed, "P8")
    assert kept(replace(observed, faults=[fault(51, 52, spares_work=False)]))


def test_there_is_no_exit_code_of_work_that_never_started() -> None:
    observed = replace(FAILING, witnesses=[*FAILING.witnesses[:4], *FAILING.witnesses[5:]])
    assert "try 1 ended with exit code 3, but its work never started" in complaints(observed, "P8")


def test_a_time_is_not_over_before_it_is() -> None:
    clean = play(every(10, lasts=30 * SECOND, timeout=4 * SECOND))
    observed = change_try(clean, 4, finished=at(52))
    assert "its time of 4 s was over after 1.9 s" in complaints(observed, "P8")


# -- P8: memory


def test_work_that_is_killed_for_its_memory_is_said_to_be() -> None:
    clean = play(every(10, lasts=3 * SECOND, code=3, ooms=True))
    observed = change_witness(clean, 4, ended=None, code=None)
    assert "was killed for its memory, but the ledger says failed exit_code" in complaints(observed, "P8")
    told = change_end(observed, 4, "failed", "oom_killed", exit_code=137, oom_killed=True)
    assert "a-50" not in {violation.run_id for violation in p08_true(told)}


def test_other_work_is_not() -> None:
    observed = change_end(CLEAN, 4, "failed", "oom_killed", exit_code=137, oom_killed=True)
    said = complaints(observed, "P8")
    assert "of which it uses little" in said
    assert "killed for its memory, but the work came to its end" in said


# -- P8: where and when


def test_work_ran_where_the_ledger_says() -> None:
    assert "the ledger says that it ran on node-1, but it ran on node-2" in complaints(
        change_witness(CLEAN, 4, node="node-2"), "P8"
    )


@pytest.mark.parametrize(("field", "word"), [("started", "started"), ("finished", "ended")])
def test_starts_and_ends_are_exact_to_a_second(field: str, word: str) -> None:
    said = getattr(CLEAN.rows[4].tries[0], field)
    assert "P8" not in broken(change_try(CLEAN, 4, **{field: said + 0.9 * SECOND}))
    observed = change_try(CLEAN, 4, **{field: said - 1.1 * SECOND})
    assert f"the ledger says that it {word} at" in complaints(observed, "P8")
    assert "1.1 s away" in complaints(observed, "P8")


@pytest.mark.parametrize(("field", "action"), [("started", "start"), ("finished", "die")])
def test_or_as_the_engine_saw_them(field: str, action: str) -> None:
    row = CLEAN.rows[4]
    said = getattr(row.tries[0], field) + 3 * SECOND
    observed = change_try(CLEAN, 4, **{field: said})
    seen = EngineEvent(said, row.tries[0].node, "c", action, row.run_id, 1)
    assert "P8" in broken(observed)
    assert "P8" not in broken(replace(observed, events=[seen]))
    assert "P8" in broken(replace(observed, events=[replace(seen, at=said - 2 * SECOND)]))


def test_work_is_told_who_it_is() -> None:
    observed = change_witness(CLEAN, 4, scheduled_at=at(40))
    assert "was told that it is a at 12:00:40.000, but the ledger says a at 12:00:50.000" in complaints(observed, "P8")


def test_the_ledger_has_every_try_that_started() -> None:
    row = retried().rows[4]
    observed = change_row(retried(), 4, tries=row.tries[1:])
    assert complaints(observed, "P8") == "try 1 started at 12:00:50.100 on node-1; the ledger has no such try"


def test_an_end_that_nobody_could_know_of_may_be_told_when_the_fault_is_over() -> None:
    clean = play(every(10, lasts=3 * SECOND, end_is_kept=False))
    observed = change_try(change_row(clean, 4, finished=at(57)), 4, finished=at(57))
    assert "P8" in broken(observed)
    frozen = replace(observed, faults=[fault(51, 57)])
    assert "P8" not in broken(frozen)
    assert "P8" in broken(change_try(frozen, 4, finished=at(51.5)))
    assert "P8" in broken(replace(change_try(CLEAN, 4, finished=at(57)), faults=[fault(51, 57)]))
