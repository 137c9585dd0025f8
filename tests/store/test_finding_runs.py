"""A run is found by its id, or by a beginning of it that no other run shares."""

from __future__ import annotations

from uuid import UUID

import pytest

from dts.domain.errors import InvalidArgument, NotFound
from support.ledger import Ledger

FIRST = UUID("aaaa1111-0000-4000-8000-000000000001")
SECOND = UUID("aaaa1122-0000-4000-8000-000000000002")


@pytest.fixture
async def ledger(database) -> Ledger:
    ledger = Ledger.on(database)
    task = await ledger.task("two")
    for new in (FIRST, SECOND):
        made = await ledger.trigger(task)
        await ledger.pool.execute("UPDATE run SET id = $2 WHERE id = $1", made, new)
    return ledger


@pytest.mark.parametrize("text", [str(FIRST), FIRST.hex, "aaaa1111", "AAAA-111"])
async def test_a_beginning_of_one_run_finds_it(ledger, text):
    assert (await ledger.store.runs.find(text)).id == str(FIRST)


async def test_a_beginning_that_two_runs_share_is_refused(ledger):
    with pytest.raises(InvalidArgument, match="more than one run begins with aaaa11: give more of it"):
        await ledger.store.runs.find("aaaa11")


async def test_a_beginning_of_no_run_is_not_found(ledger):
    with pytest.raises(NotFound, match="no run aaaa2"):
        await ledger.store.runs.find("aaaa2")
