"""`dts task backfill`: asking before, and waiting until all of it is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from datetime import datetime

from dts.cli.ask import agreed, on_terminal
from dts.cli.client import Client
from dts.cli.patience import ASK_SECONDS, Patience, asked, request_id, requested
from dts.cli.progress import progress
from dts.domain.runs import FINAL, LIVE
from dts.pb.dts.v1 import BackfillTaskRequest, ListRunsRequest, Overlap, Run, RunState, Trigger

PAGE = 1000
ASK_AGAIN_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Backfill:
    """What became of it. unsuccessful: runs that did not succeed; known only to who waited."""

    ticks: int
    runs: int
    unsuccessful: int = 0


async def backfilled(
    client: Client,
    *,
    task: str,
    since: datetime,
    until: datetime,
    overlap: Overlap,
    dry_run: bool,
    wait: bool,
    yes: bool,
) -> Backfill:
    """Runs the ticks of a past range; asks before, where somebody is there to answer.

    Raises:
        Failed: they do not want it.
    """
    request = BackfillTaskRequest(task=task, since=since, until=until, overlap=overlap, dry_run=True)
    if dry_run:
        return Backfill((await client.scheduler.backfill_task(request)).ticks, 0)
    if not yes and on_terminal():
        planned = await client.scheduler.backfill_task(request)
        await agreed(f"Run {planned.ticks} ticks of {task}?", yes=False)
    request.dry_run, request.request_id = False, request_id()
    patience = Patience() if wait else Patience(ASK_SECONDS)
    with progress("backfilling"):
        look = f"dts run list --task {task}"
        made = await requested(lambda: client.scheduler.backfill_task(request), patience, look=look)
    # All of them were written in one transaction, at one moment.
    made_at = made.runs[0].created_at if made.runs else None
    if not wait or made_at is None:
        return Backfill(made.ticks, made.ticks)
    query = ListRunsRequest(task=task, since=since, until=until, page_size=PAGE)
    with progress("backfilling", total=made.ticks) as shown:
        while left := await _count(client, query, LIVE, made_at, patience):
            shown.reached(made.ticks - left)
            await asyncio.sleep(ASK_AGAIN_SECONDS)
    failed = await _count(client, query, FINAL - {RunState.SUCCEEDED}, made_at, patience)
    return Backfill(made.ticks, made.ticks, failed)


async def _count(
    client: Client, query: ListRunsRequest, states: Collection[RunState], made_at: datetime, patience: Patience
) -> int:
    """How many runs of the backfill are in one of the states."""
    query.states, query.page_token = sorted(states), ""
    return len([run async for run in _all(client, query, patience) if run.created_at == made_at])


async def _all(client: Client, query: ListRunsRequest, patience: Patience) -> AsyncIterator[Run]:
    while True:
        page = await asked(lambda: client.scheduler.list_runs(query), patience)
        for run in page.runs:
            if run.trigger is Trigger.BACKFILL:
                yield run
        query.page_token = page.next_page_token
        if not query.page_token:
            return
