"""Times as people type them."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from dts.cli.times import instant
from dts.domain.errors import InvalidArgument


@pytest.fixture(autouse=True)
def zurich(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Zurich")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-12-24", datetime(2026, 12, 23, 23, tzinfo=UTC)),
        ("2026-12-24 18:00", datetime(2026, 12, 24, 17, tzinfo=UTC)),
        ("2026-12-24T18:00:30", datetime(2026, 12, 24, 17, 0, 30, tzinfo=UTC)),
        ("2026-07-24 18:00:00", datetime(2026, 7, 24, 16, tzinfo=UTC)),
        ("2026-12-24T18:00:00Z", datetime(2026, 12, 24, 18, tzinfo=UTC)),
        ("2026-12-24T18:00:00+05:00", datetime(2026, 12, 24, 13, tzinfo=UTC)),
    ],
)
def test_a_time_without_an_offset_is_one_of_the_clock_on_the_wall_as_in_tables(text, meant):
    assert instant(text, field="--at") == meant


@pytest.mark.parametrize(
    "text", ["2026-13-24", "2026-12-24 25:00", "24.12.2026", "2026-12", "noon", "", "9999-12-31 23:59:59", "0001-01-01"]
)
def test_what_is_no_time_is_refused_with_what_one_looks_like(text):
    with pytest.raises(InvalidArgument, match=r"--at: .*not a time.*2026-12-24.*\+10m from now"):
        instant(text, field="--at")
