from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dts.domain.sizes import format_size, parse_size


@pytest.mark.parametrize(
    ("text", "size"), [("512m", 512 << 20), ("2g", 2 << 30), ("8GiB", 8 << 30), ("1.5k", 1536), ("10", 10), ("0", 0)]
)
def test_amounts_are_read_as_people_write_them(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "1x", "m", "1e9", "nan", "٣m", "9" * 30, "99999999999999999t"])
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(ValueError, match="amount of memory"):
        parse_size(text)


@given(st.integers(0, (1 << 63) - 1))
def test_a_written_amount_reads_the_same(size):
    assert parse_size(format_size(size)) == size
