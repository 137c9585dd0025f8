"""A PostgreSQL that is lost for good, and the one that followed it takes its place."""

from __future__ import annotations

import pytest

from dts.domain.errors import DeadlineExceeded, Unavailable
from dts.pb.dts.v1 import RunState
from dts.store.pool import open_pool
from support.ledger import NOOP, Ledger, every
from support.own_postgres import own_postgres
from support.polling import eventually
from support.postgres import open_directory
from support.standby import standby


async def test_what_was_stored_is_there_after_a_failover_and_nothing_is_given_out_twice():
    """An address with both hosts: whoever takes writes is used, without a restart of anything."""
    with open_directory() as data:
        async with own_postgres(data) as first, standby(first, data) as second:
            both = f"{first.dsn},{second.sockets}"
            pool = await open_pool(both, size=4)
            ledger = Ledger.on(pool)
            task = await ledger.task("pulse", every(1), kind=NOOP)
            await ledger.node()
            await ledger.materialise()
            now = await ledger.now()
            ran = await ledger.claim(now=now)
            await ledger.report(ran)
            await first.kill()
            with pytest.raises((Unavailable, DeadlineExceeded)):
                await ledger.claim(now=now)
            await second.promote()
            again = await eventually(lambda: claimed(ledger, now))
            assert ran
            assert not {key for key in again if key in ran}
            stored = [run for run in await ledger.runs(task) if run.state is RunState.SUCCEEDED]
            assert {run.id for run in stored} == {str(run_id) for run_id, _ in ran}
            pool.terminate()


async def claimed(ledger: Ledger, now) -> list | None:
    """What a claim gives; None while nobody answers."""
    try:
        return [*await ledger.claim(now=now), None]
    except (Unavailable, DeadlineExceeded):
        return None
