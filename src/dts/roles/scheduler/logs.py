"""Following what a run prints, and what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from dts.domain.errors import NotFound
from dts.domain.runs import FINAL
from dts.pb.dts.v1 import (
    FindRunRequest,
    ReadLogsRequest,
    Reason,
    Run,
    TailLogsRequest,
    TailLogsResponse,
    WatchRunResponse,
)
from dts.roles.scheduler.ports import Answers
from dts.roles.scheduler.wakes import Wakes

LOOK_AGAIN_SECONDS = 0.5
"""How long a follower waits for a hint before it looks by itself."""

WATCH_SECONDS = 0.2
"""How often a watched run is looked at: its moves send no hints, to keep hints off the hot path."""


async def tail(database: Answers, wakes: Wakes, request: TailLogsRequest) -> AsyncIterator[TailLogsResponse]:
    """What a run printed; with `follow` until it is final and everything was sent."""
    run = await find_run(database, request.run)
    after = 0
    while True:
        # Final before the last reading: what was printed up to the end is stored before the result is.
        final = run.state in FINAL
        hint = wakes.hint("logs", run.id) if request.follow and not final else None
        more = True
        while more:
            page = await database.read_logs(ReadLogsRequest(run_id=run.id, attempt=request.attempt, after=after))
            after, more = page.next, page.more
            if page.chunks:
                yield TailLogsResponse(chunks=page.chunks)
        if hint is None:
            break
        await wakes.wait(hint, LOOK_AGAIN_SECONDS)
        run = await find_run(database, run.id)
    lost = [attempt.number for attempt in run.attempts if attempt.reason is Reason.NODE_LOST]
    if incomplete := [number for number in lost if request.attempt in {0, number}]:
        yield TailLogsResponse(incomplete=incomplete)


async def watch(database: Answers, run_text: str) -> AsyncIterator[WatchRunResponse]:
    """A run whenever it changed, until it is final."""
    seen: Run | None = None
    while True:
        run = await find_run(database, seen.id if seen else run_text)
        if run != seen:
            yield WatchRunResponse(run=run)
        if run.state in FINAL:
            return
        seen = run
        await asyncio.sleep(WATCH_SECONDS)


async def find_run(database: Answers, text: str) -> Run:
    """The run with this id or beginning of one.

    Raises:
        NotFound: there is none.
        InvalidArgument: it is not an id, or there are several.
    """
    found = await database.find_run(FindRunRequest(run=text))
    if found.run is None:
        raise NotFound(f"no run {text}", code="run.unknown")
    return found.run
