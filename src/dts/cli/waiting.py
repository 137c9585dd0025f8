"""Waiting for what was asked for to be over."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dts.cli.client import Client
from dts.cli.errors import say
from dts.cli.patience import Patience, asked
from dts.cli.progress import progress
from dts.cli.runs import PAGE, copy_logs, end_of
from dts.domain.ids import MICROSECOND
from dts.pb.dts.v1 import ListRunsRequest, Run


async def followed(client: Client, run: str, patience: Patience, *, follow: bool) -> list[Run]:
    """How a run ended; where every node has a run of its own, how all of them did. follow: prints what they print."""
    first = await _over(client, run, patience, follow=follow)
    ended = [first]
    for other in await _elsewhere(client, first, patience):
        say(f"run {other.id}" + (f" on {other.node}" if other.node else ""))
        ended.append(await _over(client, other.id, patience, follow=follow))
    return ended


async def each_run(client: Client, query: ListRunsRequest, patience: Patience) -> AsyncIterator[Run]:
    """All runs that a query asks for, page by page."""
    query.page_size, query.page_token = PAGE, ""
    while True:
        page = await asked(lambda: client.scheduler.list_runs(query), patience)
        for run in page.runs:
            yield run
        query.page_token = page.next_page_token
        if not query.page_token:
            return


async def _over(client: Client, run: str, patience: Patience, *, follow: bool) -> Run:
    if follow:
        await copy_logs(client, run, patience, follow=True)
    with progress("waiting") as shown:
        return await end_of(client, run, patience, shown)


async def _elsewhere(client: Client, first: Run, patience: Patience) -> list[Run]:
    """The runs that other nodes have of the same request: they were made at one moment, before the first one began."""
    if first.scheduled_at is None:
        return []
    until = first.scheduled_at + MICROSECOND
    query = ListRunsRequest(task=first.task_id, since=first.scheduled_at, until=until)
    return [
        run
        async for run in each_run(client, query, patience)
        if run.id != first.id and run.trigger is first.trigger and run.created_at == first.created_at
    ]
