"""P9 to P13: changes hold, nothing is left, nothing is rewritten, logs are whole, secrets are secret."""

from __future__ import annotations

from dataclasses import replace

import pytest

from faults.model import Leftover, Listed, Log, Observed, Operation, Outcome, Sighting, Text, Verb
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
    operation,
    play,
    unrun,
    without_row,
)

CLEAN = play(every(10, lasts=3 * SECOND, lines=9))


def asked(observed: Observed, *operations: Operation) -> Observed:
    return replace(observed, operations=[*observed.operations, *operations])


def seen(observed: Observed, *sightings: Sighting) -> Observed:
    return replace(observed, sightings=sightings)


# -- P9: acknowledged changes


PAUSED = asked(without_row(CLEAN, 4, 5, 6), operation(Verb.PAUSE, 45, 46), operation(Verb.RESUME, 75, 76))


def test_a_paused_task_has_no_rows() -> None:
    assert kept(PAUSED)


def test_or_one_row_of_all_that_passed() -> None:
    stretch = replace(CLEAN.rows[4], state="skipped", reason="skipped_paused", tries=(), finished=at(75.5))
    stretch = replace(stretch, last_scheduled_at=at(70), ticks=3)
    assert kept(replace(PAUSED, rows=[*PAUSED.rows, stretch]))


@pytest.mark.parametrize("verb", [Verb.PAUSE, Verb.DELETE])
def test_a_task_that_was_stopped_does_not_run(verb: Verb) -> None:
    observed = asked(CLEAN, operation(verb, 105, 106))
    assert broken(observed) == {"P9"}
    assert complaints(observed, "P9").startswith(
        f"the tick 12:01:50.000 is succeeded after {verb} was acknowledged at 12:01:46.000"
    )


def test_nothing_runs_before_a_task_was_asked_for() -> None:
    late = replace(CLEAN.operations[0], invoked=at(15), completed=at(16))
    assert "the tick 12:00:10.000 is succeeded before anybody asked" in complaints(
        replace(CLEAN, operations=[late]), "P9"
    )


def test_a_changed_task_runs_by_its_new_plan() -> None:
    observed = asked(CLEAN, operation(Verb.UPDATE, 45, 46, definition=every(20, lasts=3 * SECOND, lines=9)))
    assert complaints(observed, "P9").count("after update was acknowledged") == 4
    assert kept(without_row(observed, 4, 6, 8, 10))


def test_a_change_has_an_effect() -> None:
    observed = without_row(PAUSED, *range(4, 9))
    assert "resume was acknowledged at 12:01:16.000, but none of 4 ticks until 12:01:55.000 has a row" in complaints(
        observed, "P9"
    )


def test_a_refused_change_has_none() -> None:
    assert kept(asked(CLEAN, operation(Verb.DELETE, 45, 46, outcome=Outcome.FAIL)))


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        ([], "at the end the task is not there, but it must be enabled"),
        ([Listed("a", enabled=False)], "at the end the task is paused, but it must be enabled"),
        ([Listed("a", enabled=True)] * 2, "at the end the task is enabled and enabled, but it must be enabled"),
    ],
)
def test_what_was_acknowledged_is_listed_at_the_end(listed: list[Listed], said: str) -> None:
    assert complaints(replace(CLEAN, listed=listed), "P9") == said
    assert kept(replace(CLEAN, listed=[Listed("a", enabled=True)]))


# -- P9: changes of which nobody knows


UNKNOWN = operation(Verb.PAUSE, 45)


def test_an_unknown_change_may_have_happened_never() -> None:
    assert kept(asked(CLEAN, UNKNOWN))


def test_or_at_any_time() -> None:
    assert kept(asked(without_row(CLEAN, *range(7, 12)), UNKNOWN))


def test_but_not_now_and_then() -> None:
    observed = asked(without_row(CLEAN, 5, 6), UNKNOWN)
    assert complaints(observed, "P9") == (
        "pause of 12:00:45.000, of which nobody knows, had happened by 12:01:00.000, but not for 4 later ticks, the "
        "first at 12:01:20.000"
    )


def test_an_unknown_task_may_be_listed_or_not() -> None:
    unknown = replace(CLEAN.operations[0], completed=None, outcome=Outcome.INFO)
    for listed in ([], [Listed("a", enabled=True)]):
        assert kept(replace(CLEAN, operations=[unknown], listed=listed))


# -- P9: requests


def test_a_run_that_was_promised_is_there() -> None:
    observed = asked(CLEAN, operation(Verb.TRIGGER, 45, 46, run_id="m"))
    assert complaints(observed, "P9") == "run m was promised at 12:00:46.000, and has no row"


def test_a_run_that_was_cancelled_stops() -> None:
    observed = asked(CLEAN, operation(Verb.CANCEL, 51, 52, run_id="a-50"))
    assert kept(observed)
    assert "the work went on until 12:01:05.000, 13 s after" in complaints(
        change_witness(observed, 4, ended=at(65)), "P9"
    )


# -- P10


def leftover(run_id: str, number: int = 1, *, running: bool = True) -> Leftover:
    return Leftover("node-1", "dts-x", run_id, number, running)


def test_a_live_run_may_have_a_container() -> None:
    observed = play(every(10, lasts=30 * SECOND), until=115)
    live = next(row.run_id for row in observed.rows if row.state == "running")
    assert kept(replace(observed, leftovers=[leftover(live)]))


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (leftover("a-50"), "dts-x still runs on node-1, and its run has been succeeded since 12:00:53.100"),
        (leftover("a-50", running=False), "dts-x still lies about on node-1, and its run has been succeeded since"),
        (leftover("nobody"), "its run is not in the ledger"),
        (leftover(""), "does not say of which run it is"),
        (leftover("a-50", 0), "its try 0 was followed by try 1"),
    ],
)
def test_nothing_else_is_left_behind(left: Leftover, said: str) -> None:
    observed = replace(CLEAN, leftovers=[left])
    assert broken(observed) == {"P10"}
    assert said in complaints(observed, "P10")


# -- P11


def test_final_states_are_final() -> None:
    observed = seen(CLEAN, Sighting(at(54), "a-50", "failed", 1), Sighting(at(55), "a-50", "succeeded", 1))
    assert "it was failed and became succeeded between 12:00:54.000 and 12:00:55.000" in complaints(observed, "P11")


def test_also_at_the_end() -> None:
    observed = seen(CLEAN, Sighting(at(54), "a-50", "failed", 1))
    assert complaints(observed, "P11") == "it was failed at 12:00:54.000, and is succeeded at the end"


def test_tries_only_rise() -> None:
    observed = seen(CLEAN, Sighting(at(51), "a-50", "running", 2), Sighting(at(52), "a-50", "running", 1))
    assert "it went back from try 2 to try 1" in complaints(observed, "P11")


def test_what_has_started_is_not_skipped() -> None:
    observed = unrun(CLEAN, 4, "skipped", "skipped_overlap", blocked_by="a-40", finished=at(50.1))
    observed = seen(observed, Sighting(at(50), "a-50", "running", 1), Sighting(at(52), "a-50", "skipped", 1))
    assert "it was running and became skipped" in complaints(observed, "P11")


def test_a_run_may_wait_again_for_another_try() -> None:
    steps = ["assigned", "pending", "assigned", "running", "unknown", "running", "succeeded"]
    assert kept(seen(CLEAN, *(Sighting(at(50 + n), "a-50", state, 1) for n, state in enumerate(steps))))


def test_no_row_goes() -> None:
    observed = without_row(CLEAN, 11)
    observed = seen(observed, Sighting(at(120), "a-120", "running", 1, task="a", scheduled_at=at(120)))
    assert broken(observed) == {"P11"}
    assert "its row was running at 12:02:00.000 and is not there any more" in complaints(observed, "P11")


def test_a_row_that_was_gone_for_a_while_was_gone() -> None:
    observed = seen(CLEAN, Sighting(at(54), "a-50", "succeeded", 1), Sighting(at(55), "a-50", "", 0, gone=True))
    assert "P11" in broken(observed)


def test_a_row_that_is_not_due_goes_when_its_task_is_changed() -> None:
    coming = Sighting(at(42), "a-50", "pending", 0, task="a", scheduled_at=at(50))
    assert kept(seen(PAUSED, coming))
    assert "P11" in broken(seen(PAUSED, replace(coming, state="running")))


def test_but_not_without_a_change() -> None:
    coming = Sighting(at(100), "a-110", "pending", 0, task="a", scheduled_at=at(110))
    assert "P11" in broken(seen(without_row(CLEAN, 10), coming))


def test_and_may_be_written_anew() -> None:
    coming = Sighting(at(42), "a-50", "pending", 0, task="a", scheduled_at=at(50))
    gone = replace(coming, at=at(46), gone=True)
    again = replace(coming, at=at(47))
    observed = asked(CLEAN, operation(Verb.UPDATE, 45, 46, definition=every(10, lasts=3 * SECOND, lines=9)))
    assert kept(seen(observed, coming, gone, again))


# -- P12


def numbered(*numbers: int) -> list[str]:
    return [f"line {number}" for number in numbers]


def printed(*lines: str, truncated: bool = False, ended: bool = True) -> Observed:
    """The run of 50 s should have printed nine lines; these are stored of its stdout."""
    log = Log("a-50", 1, lines, numbered(*range(1, 10)), truncated)
    observed = replace(CLEAN, logs=[log], sightings=())
    if ended:
        return observed
    observed = change_end(observed, 4, "failed", "node_lost", exit_code=None)
    return replace(change_witness(observed, 4, ended=None, code=None), faults=[fault(51, 52)])


@pytest.mark.parametrize(
    ("observed", "said"),
    [
        (printed(*numbered(1, 2, 3, 4, 5, 6, 7, 8)), "it ends with line 8, but 9 were printed, and no cut is marked"),
        (printed(*numbered(1, 2, 3, 5, 6, 7, 8, 9)), "after line 3 comes 'line 5', and no cut is marked"),
        (printed(*numbered(1, 2, 3, 5, 4, 6, 7, 8, 9)), "after line 3 comes 'line 5'"),
        (printed(*numbered(1, 2, 3, 3, 4, 5, 6, 7, 8, 9)), "after line 3 comes 'line 3'"),
        (printed(*numbered(2, 3, 4, 5, 6, 7, 8, 9)), "after line 0 comes 'line 2'"),
        (printed(*numbered(*range(1, 11))), "it has 10 lines, and 9 were printed"),
        (printed(*numbered(1, 2, 7, 8), truncated=True), "'line 7', which is not the end of what was printed"),
        (printed(*numbered(1, 2, 4, 6, 8, 9), truncated=True), "behind line 2 and a cut comes 'line 4'"),
        (printed(*numbered(1, 2, 3, 4, 5, 4, 5, 6, 7, 8, 9), truncated=True), "before and behind the cut are the same"),
        (printed(*numbered(1, 2, 3, 5), ended=False), "after line 3 comes 'line 5'"),
    ],
)
def test_logs_are_whole_and_in_order(observed: Observed, said: str) -> None:
    assert said in complaints(observed, "P12")


@pytest.mark.parametrize(
    "observed",
    [
        printed(*numbered(*range(1, 10))),
        printed(*numbered(1, 2, 8, 9), truncated=True),
        printed("line 1", "lin", "ne 7", "line 8", "line 9", truncated=True),
        printed("line 1", "linne 7", "line 8", "line 9", truncated=True),
        printed(*numbered(1, 2, 3), ended=False),
        printed(ended=False),
    ],
)
def test_logs_may_be_cut_where_it_is_said_and_end_where_work_ended(observed: Observed) -> None:
    assert kept(observed)


# -- P13


def test_secrets_are_nowhere() -> None:
    observed = replace(CLEAN, canaries={"password": "hunter2", "token": ""})
    assert kept(replace(observed, texts=[Text("a page", "nothing")]))
    leaked = replace(observed, texts=[Text("scheduler.log", "hunter2 … hunter2")])
    assert complaints(leaked, "P13") == "the secret password is in scheduler.log, 2 times"


def test_nor_in_what_work_printed() -> None:
    observed = replace(CLEAN, canaries={"password": "line 7"})
    assert "the secret password is in the log of run a-50" in complaints(observed, "P13")
