"""What `dts status` says of the database."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dts.pb.dts.v1 import (
    DescribeDatabaseRequest,
    DescribeDatabaseResponse,
    FindNodesRequest,
    FindNodesResponse,
    PartStatus,
)
from dts.roles.scheduler.status import parts


class Told:
    """A database role that describes itself as the test says."""

    def __init__(self, **described) -> None:
        self._described = DescribeDatabaseResponse(server_version="18.1", schema_version=7, **described)

    async def describe_database(self, _: DescribeDatabaseRequest) -> DescribeDatabaseResponse:
        return self._described

    async def find_nodes(self, _: FindNodesRequest) -> FindNodesResponse:
        return FindNodesResponse()


async def database(**described) -> PartStatus:
    return next(part for part in await parts(Told(**described)) if part.part == "database")


async def test_a_database_that_is_well_says_what_it_is():
    part = await database(live_runs=3, oldest_snapshot=timedelta(seconds=30), transaction_age=200_000_000)
    assert (part.well, part.detail) == (True, "PostgreSQL 18.1, schema 7, 3 live runs")


@pytest.mark.parametrize(
    ("described", "words"),
    [
        ({"oldest_snapshot": timedelta(minutes=5)}, "has had a snapshot open for 5m"),
        ({"transaction_age": 1_200_000_000}, "for 1,200,000,000 transactions"),
    ],
)
async def test_what_will_slow_it_down_or_stop_it_is_said_in_time(described, words):
    part = await database(**described)
    assert not part.well
    assert words in part.detail
