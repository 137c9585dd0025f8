"""Whether a process could do its work now: what its roles need of others, asked when somebody wants to know."""

from __future__ import annotations

from dts.app.house import House
from dts.domain.errors import DtsError
from dts.pb.dts.v1 import DescribeDatabaseRequest, GetStatusRequest, PartStatus

NEED_DATABASE = frozenset({"definition", "scheduler", "database"})
"""Roles that ask the database for everything they say."""


async def parts(house: House, roles: frozenset[str]) -> list[PartStatus]:
    """How the parts are that this process needs; the gateway, which people ask, tells of the whole installation.

    Raises:
        DtsError: the scheduler cannot be asked.
    """
    if "gateway" in roles:
        assert house.scheduler is not None
        return (await house.scheduler.get_status(GetStatusRequest())).parts
    found = []
    if roles & NEED_DATABASE:
        found.append(await _database(house))
    if house.executor is not None:
        found.append(_attached(attached=house.executor.attached))
    return found


async def _database(house: House) -> PartStatus:
    assert house.database is not None
    try:
        described = await house.database.describe_database(DescribeDatabaseRequest())
    except DtsError as error:
        return PartStatus(part="database", well=False, detail=error.message)
    return PartStatus(part="database", well=True, detail=f"schema {described.schema_version}")


def _attached(*, attached: bool) -> PartStatus:
    return PartStatus(part="scheduler", well=attached, detail="attached" if attached else "not attached to any")
