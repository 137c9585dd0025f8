"""Writing pages of the ledger: the runs, the stretches, and nothing about cursors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from dts.domain.definition import Definition
from dts.domain.ids import tick_run_id
from dts.domain.ledger import Gap, Page, beside
from dts.domain.schedule import Tick
from dts.pb.dts.v1 import Overlap, Reason, RunState, Trigger
from dts.store.pool import Connection
from dts.store.queries import sql
from dts.store.rows import word
from dts.store.tallies import Ending

GAP_MESSAGE = {
    Reason.SKIPPED_PAUSED: "the task was paused",
    Reason.MISSED: "nothing could run at that time, and the catch-up policy does not ask for it",
    Reason.DROPPED_CAP: "more ticks were to be caught up than catchup_max allows",
    Reason.EXCLUDED: "the schedule excludes the date",
}


@dataclass(frozen=True, slots=True)
class NewRun:
    """A row for the hot table. `overlap` and `parameters` only for requests."""

    run_id: UUID
    definition: Definition
    trigger: Trigger
    scheduled_at: datetime
    not_before: datetime
    overlap: Overlap = Overlap.UNSPECIFIED
    parameters: str | None = None
    task_version: int = 0

    @property
    def serial(self) -> bool:
        """Whether it shares places with other runs of its task or group."""
        if self.overlap is Overlap.UNSPECIFIED:
            return self.definition.serial
        return self.overlap is not Overlap.ALLOW or bool(self.definition.policies.group)


async def write_pages(
    connection: Connection, pages: Sequence[tuple[Definition, Page]], now: datetime
) -> tuple[int, list[Ending]]:
    """Writes what the pages say; answers how many rows, and what of it is over. A tick that is there stays as it is."""
    runs = [_tick_run(definition, tick) for definition, page in pages for tick in page.due]
    gaps = [(definition, gap) for definition, page in pages for gap in page.gaps]
    ended = await write_gaps(connection, gaps, now)
    return len(await write_runs(connection, runs, now)) + len(gaps), ended


async def write_runs(connection: Connection, runs: Sequence[NewRun], now: datetime) -> list[UUID]:
    """Inserts runs; answers with the ids that were new."""
    if not runs:
        return []
    rows = await connection.fetch(
        sql("insert_runs"),
        [run.run_id for run in runs],
        [run.definition.task_id for run in runs],
        [run.task_version or run.definition.version for run in runs],
        [word(run.trigger) for run in runs],
        [run.scheduled_at for run in runs],
        [run.not_before for run in runs],
        [run.not_before for run in runs],
        # A tick that is caught up has its start deadline from now on, not from long ago.
        [max(run.not_before, now) + run.definition.policies.start_deadline for run in runs],
        [run.definition.policies.start_deadline for run in runs],
        [run.definition.need.weightless for run in runs],
        [run.serial for run in runs],
        [run.overlap.value or None for run in runs],
        [run.definition.policies.group or None for run in runs],
        [run.parameters for run in runs],
        now,
    )
    return [row["id"] for row in rows]


async def write_gaps(
    connection: Connection, gaps: Iterable[tuple[Definition, Gap]], now: datetime, *, message: str = ""
) -> list[Ending]:
    """Inserts stretches of ticks that did not run; answers with what is over.

    A tick of them that has its row, because a node began it before an edit or a pause took it back, keeps that.

    message: for people, instead of what their reason says.
    """
    rows = await _beside_known(connection, list(gaps))
    if not rows:
        return []
    ids = [tick_run_id(definition.task_id, gap.first) for definition, gap in rows]
    written = await connection.fetch(
        sql("insert_gaps"),
        ids,
        [definition.task_id for definition, _ in rows],
        [definition.version for definition, _ in rows],
        [gap.first for _, gap in rows],
        [gap.last for _, gap in rows],
        [gap.ticks for _, gap in rows],
        [word(gap.reason) for _, gap in rows],
        [message or GAP_MESSAGE[gap.reason] for _, gap in rows],
        now,
    )
    new = {row["id"] for row in written}
    return [
        (RunState.SKIPPED, gap.reason, gap.ticks) for run_id, (_, gap) in zip(ids, rows, strict=True) if run_id in new
    ]


async def _beside_known(connection: Connection, gaps: Sequence[tuple[Definition, Gap]]) -> list[tuple[Definition, Gap]]:
    """The gaps without what has its row; most have nothing of that."""
    if not gaps:
        return []
    rows = await connection.fetch(
        sql("rows_within"),
        [definition.task_id for definition, _ in gaps],
        [gap.first for _, gap in gaps],
        [gap.last for _, gap in gaps],
    )
    known: dict[int, list[tuple[datetime, datetime]]] = {}
    for row in rows:
        known.setdefault(row["number"], []).append((row["first"], row["last"]))
    return [
        (definition, piece)
        for number, (definition, gap) in enumerate(gaps, start=1)
        for piece in _beside(definition, gap, known.get(number))
    ]


def _beside(definition: Definition, gap: Gap, known: Sequence[tuple[datetime, datetime]] | None) -> list[Gap]:
    return beside(definition.schedule, gap, known) if known and definition.schedule else [gap]


def _tick_run(definition: Definition, tick: Tick) -> NewRun:
    run_id = tick_run_id(definition.task_id, tick.at)
    return NewRun(run_id, definition, Trigger.SCHEDULE, tick.at, tick.start)
