from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from faults.checker.picture import draw
from faults.checker.report import as_dict, as_text, summary
from faults.model import Observed, Overlap, Violation
from support.fault_worlds import (
    SECOND,
    change_end,
    change_witness,
    every,
    fault,
    move_start,
    play,
    together,
    without_row,
)

SVG = "{http://www.w3.org/2000/svg}"

CLEAN = replace(
    together(
        play(every(10, lasts=15 * SECOND), task="skips"),
        play(every(20, lasts=3 * SECOND, code=3), task="fails"),
        play(every(10, lasts=30 * SECOND, overlap=Overlap.QUEUE_ALL), task="waits"),
    ),
    faults=[fault(45, 58, name="kill <scheduler>")],
)


def bad() -> Observed:
    """One tick lost, one late, one success false."""
    observed = change_witness(play(every(10, lasts=3 * SECOND)), 4, ended=None, code=None)
    observed = without_row(move_start(observed, 7, 4), 1)
    return replace(observed, faults=[fault(45, 60, recovery=5)])


# -- figures


def test_a_run_that_kept_every_promise_says_so() -> None:
    run = summary(CLEAN)
    assert run.kept
    assert "every promise was kept" in as_text(run)


def test_ticks_and_rows_are_counted() -> None:
    run = summary(CLEAN)
    assert (run.expected, run.absent, run.doubled) == (11 + 5 + 11, 0, 0)
    assert run.ends == {"succeeded": 8, "skipped": 6, "failed": 6, "pending": 8, "running": 2}
    assert run.skipped == {"skipped_overlap": 6}
    assert run.lateness["max"] == 0.1 * SECOND


def test_what_is_missed_counts_its_ticks() -> None:
    row = replace(CLEAN.rows[0], state="skipped", reason="missed", ticks=7)
    assert summary(replace(CLEAN, rows=[row])).skipped == {"missed": 7}


def test_what_is_wrong_is_counted() -> None:
    run = summary(bad())
    assert (run.absent, run.doubled, run.false) == (1, 0, 1)
    assert not run.kept


def test_a_run_of_nothing_has_a_report() -> None:
    run = summary(Observed(seed=7, begun=CLEAN.begun, read=CLEAN.read))
    assert as_dict(run)["lateness_s"] == {}
    assert "nothing started" in as_text(run)


# -- text


def test_the_page_names_each_promise_and_what_broke_it() -> None:
    page = as_text(summary(bad()))
    assert "Fault run 1: " in page
    assert "P1  BROKEN 2 times: " in page
    assert "      a: the tick 12:00:20.000 has no row" in page
    assert "P2  kept: " in page
    assert "P13 kept: " in page


def test_the_page_says_how_long_a_fault_was_felt() -> None:
    page = as_text(summary(bad()))
    assert "! 12:00:45.000 – 12:01:00.000       20 s of 5 s    kill: scheduler-1" in page


def test_of_many_violations_of_one_promise_the_first_are_written_out() -> None:
    run = replace(summary(CLEAN), violations=[Violation("P1", "a", f"tick {number}") for number in range(30)])
    page = as_text(run)
    assert "tick 9" in page
    assert "tick 10" not in page
    assert "and 20 more" in page


# -- for a program


def test_the_figures_are_json() -> None:
    figures = json.loads(json.dumps(as_dict(summary(bad()))))
    assert figures["seed"] == 1
    assert figures["ticks"] == {"expected": 11, "absent": 1, "doubled": 0}
    assert figures["faults"][0]["recovered_after_s"] == 20
    assert {"P1", "P4", "P5", "P8"} == {violation["promise"] for violation in figures["violations"]}


# -- picture


def drawn(observed: Observed) -> ET.Element:
    return ET.fromstring(draw(observed, summary(observed).violations))


def kinds(picture: ET.Element, tag: str) -> list[str]:
    return [element.get("class", "") for element in picture.iter(f"{SVG}{tag}")]


def test_the_picture_is_one_svg_without_anything_from_elsewhere() -> None:
    text = draw(CLEAN, [])
    assert ET.fromstring(text).tag == f"{SVG}svg"
    assert text.count("http") == 1  # the namespace


def test_each_task_has_a_line_and_each_fault_a_band_with_its_name() -> None:
    picture = drawn(CLEAN)
    words = [element.text for element in picture.iter(f"{SVG}text")]
    assert {"skips", "fails", "waits", "kill <scheduler>: scheduler-1"} <= set(words)
    assert kinds(picture, "rect").count("fault") == 2  # and one in the legend


def test_what_became_of_ticks_has_a_kind_each() -> None:
    assert {"window", "good", "bad", "hollow", "open"} <= set(kinds(drawn(CLEAN), "path"))


def test_a_tick_without_a_row_is_shown() -> None:
    assert "lost" in kinds(drawn(bad()), "path")
    assert "lost" not in kinds(drawn(CLEAN), "path")


def test_a_violation_is_marked_with_its_sentence() -> None:
    titles = [element.text or "" for element in drawn(bad()).iter(f"{SVG}title")]
    assert any(title.startswith("P8 a: it succeeded") for title in titles)


def test_a_mark_is_where_its_run_is() -> None:
    observed = change_end(play(every(10)), 4, "cancelled", "cancelled")
    assert kinds(drawn(observed), "path").count("mark") > kinds(drawn(play(every(10))), "path").count("mark")


def test_faults_at_once_have_their_names_one_below_the_other() -> None:
    both = replace(CLEAN, faults=[fault(45, 58), fault(50, 70, name="partition")])
    lines = {element.get("y") for element in drawn(both).iter(f"{SVG}text") if element.get("class") == "name"}
    assert len(lines) == 2


@pytest.mark.parametrize(("count", "highest"), [(3, 250), (200, 1800)])
def test_many_tasks_have_thin_lines(count: int, highest: float) -> None:
    tasks = together(*(play(every(30), task=f"task-{number}") for number in range(count)))
    assert float(drawn(tasks).get("height", "0")) < highest


def test_a_long_name_is_cut() -> None:
    words = [element.text or "" for element in drawn(play(every(30), task="a" * 60)).iter(f"{SVG}text")]
    assert any(word.startswith("aaa") and word.endswith("…") for word in words)
