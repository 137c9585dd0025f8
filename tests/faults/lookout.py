"""Looks at the ledger all the time, past every part of dts, and remembers in which states rows were seen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

import asyncpg

from faults.model import Sighting

EVERY = 0.5

Connect = Callable[[], Awaitable[asyncpg.Connection]]
"""A way to the server; raises what asyncpg does, or OSError."""

SEEN = """
SELECT r.id, t.name, r.scheduled_at, r.state::text, r.attempt
FROM run r JOIN task t ON t.id = r.task_id WHERE r.scheduled_at <= now() + interval '1 second'
UNION ALL
SELECT h.id, t.name, h.scheduled_at, h.state::text, h.attempt
FROM run_history h JOIN task t ON t.id = h.task_id WHERE h.finished_at > $1::timestamptz - interval '5 seconds'
"""
THERE = "SELECT id FROM run WHERE id = ANY($1) UNION ALL SELECT id FROM run_history WHERE id = ANY($1)"
"""Of rows that were seen and are not among the latest."""


@dataclass
class Lookout:
    """Changes only; a row that has gone from the ledger is one, too."""

    connect: Connect
    sightings: list[Sighting] = field(default_factory=list)
    _open: dict[str, Sighting] = field(default_factory=dict)
    _closed: dict[str, Sighting] = field(default_factory=dict)
    _since: datetime | None = None

    async def watch(self) -> None:
        """Until cancelled. While the server is away nobody sees anything."""
        while True:
            with suppress(
                OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError
            ):
                await self._look_on()
            await asyncio.sleep(EVERY)

    async def _look_on(self) -> None:
        connection = await self.connect()
        try:
            while True:
                await self._look(connection)
                await asyncio.sleep(EVERY)
        finally:
            connection.terminate()

    async def _look(self, connection: asyncpg.Connection) -> None:
        before = await connection.fetchval("SELECT now()")
        rows = await connection.fetch(SEEN, self._since or before)
        self._since = before
        seen = {str(row["id"]): _sighting(before, row) for row in rows}
        missing = [run_id for run_id in self._open if run_id not in seen]
        kept = {str(row["id"]) for row in await connection.fetch(THERE, missing)} if missing else set()
        for run_id in missing:
            last = self._open.pop(run_id)
            if run_id not in kept:
                self.sightings.append(replace(last, at=before, gone=True))
        for sighting in seen.values():
            self._note(sighting)

    def _note(self, sighting: Sighting) -> None:
        run_id = sighting.run_id
        before = self._open.pop(run_id, None) or self._closed.get(run_id)
        if before is None or (before.state, before.attempt) != (sighting.state, sighting.attempt):
            self.sightings.append(sighting)
        (self._closed if sighting.state in FINAL else self._open)[run_id] = sighting


def _sighting(at: datetime, row: asyncpg.Record) -> Sighting:
    return Sighting(
        at, str(row["id"]), row["state"], row["attempt"], task=row["name"], scheduled_at=row["scheduled_at"]
    )


FINAL = frozenset({"succeeded", "failed", "timed_out", "cancelled", "skipped"})
