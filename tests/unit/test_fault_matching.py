from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations
from random import Random

from faults.checker.matching import Point, Window, match, repeats, window

ZERO = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)

UPSTREAM = [Point(3), Point(65), Point(127), Point(180), Point(0, complete=False)]


def windows(read: float) -> list[Window]:
    """Those of the job in the tests of Jepsen's checker."""
    return list(
        repeats(
            start=ZERO,
            count=3,
            interval=60 * SECOND,
            tolerance=10 * SECOND,
            lasts=0 * SECOND,
            read=ZERO + read * SECOND,
        )
    )


def test_a_job_that_is_read_late_has_all_its_windows() -> None:
    assert windows(1000) == [(0, 15), (60, 75), (120, 135)]


def test_a_job_that_is_read_early_has_only_those_whose_runs_must_be_over() -> None:
    assert windows(70) == [(0, 15)]


def test_the_runs_of_jepsens_test_fill_the_windows() -> None:
    found = match(windows(1000), UPSTREAM)
    assert found.valid
    assert found.pairs == [(Window(0, 15), Point(3)), (Window(60, 75), Point(65)), (Window(120, 135), Point(127))]
    assert found.extra == [Point(180)]
    assert found.incomplete == [Point(0, complete=False)]


def test_without_one_of_them_its_window_is_named() -> None:
    found = match(windows(1000), [run for run in UPSTREAM if run.start != 65])
    assert not found.valid
    assert found.unmatched == [Window(60, 75)]


def test_fractions_of_seconds_are_cut_from_windows_and_runs() -> None:
    only = window(ZERO + 0.9 * SECOND, ZERO + 1.9 * SECOND)
    assert only == (0, 6)
    assert match([only], [Point(6.99)]).valid
    assert not match([only], [Point(7.0)]).valid


def test_a_run_serves_one_window_only() -> None:
    assert match([Window(0, 5), Window(0, 9)], [Point(4)]).unmatched == [Window(0, 9)]


def test_no_windows_are_valid_whatever_ran() -> None:
    assert match([], UPSTREAM).valid


def most_by_trying(wanted: list[Window], points: list[Point]) -> int:
    """The greatest number of windows that can have a run of their own, found by trying every order of the runs."""
    some = [point.start for point in points if point.complete]
    padded = some + [-1.0] * max(0, len(wanted) - len(some))
    return max(
        sum(begin <= start // 1 <= end for (begin, end), start in zip(wanted, order, strict=False))
        for order in permutations(padded, len(wanted))
    )


def test_no_matching_of_overlapping_windows_is_greater() -> None:
    chance = Random(4)
    for _ in range(3000):
        begins = [chance.randrange(12) for _ in range(chance.randrange(5))]
        wanted = [Window(begin, begin + chance.randrange(7)) for begin in begins]
        points = [Point(chance.uniform(0, 18), complete=chance.random() > 0.2) for _ in range(chance.randrange(6))]
        found = match(wanted, points)
        assert len(found.pairs) == most_by_trying(wanted, points)
        assert len(found.pairs) + len(found.unmatched) == len(wanted)
        assert all(begin <= run.start // 1 <= end for (begin, end), run in found.pairs)
