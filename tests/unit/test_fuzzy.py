"""Picking by some letters."""

from __future__ import annotations

import pytest

from dts.cli.fuzzy import matches

NAMES = ["nightly-backup", "nightly-report", "report", "rotate-log", "Pre-Report"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("", NAMES),
        ("nrep", ["nightly-report"]),
        ("rep", ["report", "Pre-Report", "nightly-report"]),
        ("REPORT", ["report", "Pre-Report", "nightly-report"]),
        ("night back", ["nightly-backup"]),
        ("xyz", []),
        ("troper", []),
    ],
)
def test_the_letters_come_in_their_order_and_the_closest_first(pattern, found):
    assert [NAMES[place] for place in matches(pattern, NAMES)] == found


def test_the_tightest_way_counts_and_not_the_first():
    assert matches("log", ["l-o-g", "lorem log"]) == [1, 0]
