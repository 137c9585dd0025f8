"""`dts task backfill`: asking before, and waiting until all of it is over."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from dts.cli.ask import agreed
from dts.cli.client import Client
from dts.cli.patience import ASK_SECONDS, Patience, request_id, requested
from dts.cli.progress import progress
from dts.cli.waiting import each_run
from dts.domain.runs import FINAL, LIVE
from dts.pb.dts.v1 import BackfillTaskRequest, ListRunsRequest, Overlap, RunState, Trigger

ASK_AGAIN_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Backfill:
    """What became of it. succeeded, unsuccessful: how the runs ended, of all nodes; known only to who waited."""

    ticks: int
    runs: int
    succeeded: int = 0
    unsuccessful: int = 0


async def backfilled(
    client: Client,
    *,
    task: str,
    since: datetime,
    until: datetime | None,
    overlap: Overlap,
    dry_run: bool,
    wait: bool,
    yes: bool,
) -> Backfill:
    """Runs the ticks of a past range; asks before, where somebody is there to answer. until: now if it is None.

    Raises:
        Failed: they do not want it.
    """
    request = BackfillTaskRequest(task=task, since=since, until=until, overlap=overlap, dry_run=True)
    planned = await client.scheduler.backfill_task(request)
    if dry_run:
        return Backfill(planned.ticks, 0)
    await agreed(f"Run {planned.ticks} ticks of {task}?", yes=yes)
    # What was looked at is what runs, though the question took its time.
    request.until = planned.until or until
    request.dry_run, request.request_id = False, request_id()
    patience = Patience() if wait else Patience(ASK_SECONDS)
    with progress("backfilling"):
        look = f"dts run list --task {task}"
        made = await requested(lambda: client.scheduler.backfill_task(request), patience, look=look)
    # All of them were written in one transaction, at one moment.
    made_at = made.runs[0].created_at if made.runs else None
    if not wait or made_at is None:
        return Backfill(made.ticks, made.ticks)
    query = ListRunsRequest(task=task, since=since, until=request.until)
    with progress("backfilling", total=made.ticks) as shown:
        while left := await _states(client, query, LIVE, made_at, patience):
            shown.reached(max(0, made.ticks - len(left)))
            await asyncio.sleep(ASK_AGAIN_SECONDS)
    ended = await _states(client, query, FINAL, made_at, patience)
    succeeded = ended.count(RunState.SUCCEEDED)
    return Backfill(made.ticks, made.ticks, succeeded, len(ended) - succeeded)


async def _states(
    client: Client, query: ListRunsRequest, states: Collection[RunState], made_at: datetime, patience: Patience
) -> list[RunState]:
    """The states of those runs of the backfill that are in one of these."""
    query.states = sorted(states)
    runs = [run async for run in each_run(client, query, patience) if run.trigger is Trigger.BACKFILL]
    return [run.state for run in runs if run.created_at == made_at]
