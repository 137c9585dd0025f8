"""Following what a run prints, and what becomes of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta

from dts.domain.errors import NotFound
from dts.domain.runs import FINAL
from dts.pb.dts.v1 import (
    FindRunRequest,
    LogChunk,
    MissingLog,
    ReadLogsRequest,
    Reason,
    Run,
    TailLogsRequest,
    TailLogsResponse,
    WatchRunResponse,
)
from dts.roles.scheduler.ports import Answers
from dts.roles.scheduler.upcoming import time_of
from dts.roles.scheduler.wakes import Wakes

LOOK_AGAIN_SECONDS = 0.5
"""How long a follower waits for a hint before it looks by itself."""

WATCH_SECONDS = 0.2
"""How often a watched run is looked at: its moves send no hints, to keep hints off the hot path."""


QUIET_LOOKS = 60
"""So often a follower looks in vain for the end of a log that its node could not send before the result."""

LATE = timedelta(days=1)
"""What is missing of an older log does not come any more."""


async def tail(database: Answers, wakes: Wakes, request: TailLogsRequest) -> AsyncIterator[TailLogsResponse]:
    """What a run printed; with `follow` until it is final and everything was sent, or does not come."""
    run = await find_run(database, request.run)
    log, looks = _Log(database, run.id, request.attempt), 0
    while True:
        # Final before the last reading: what was printed up to the end is stored before the result is, as a rule.
        final = run.state in FINAL
        hint = wakes.hint("logs", run.id) if request.follow and not final else None
        looks = looks + 1 if final else 0
        async for chunks in log.rest():
            looks = 0
            yield TailLogsResponse(chunks=chunks)
        if not request.follow or (final and (looks > QUIET_LOOKS or not await _end_may_come(database, run, log))):
            break
        await wakes.wait(hint or wakes.hint("logs", run.id), LOOK_AGAIN_SECONDS)
        run = await find_run(database, run.id)
    lost = [attempt.number for attempt in run.attempts if attempt.reason is Reason.NODE_LOST]
    incomplete = [number for number in lost if request.attempt in {0, number}]
    missing = log.missing(run) if final else []
    if incomplete or missing:
        yield TailLogsResponse(incomplete=incomplete, missing=missing)


class _Log:
    """What is stored of a log, each piece read once. attempt: only of this one; 0 means all."""

    def __init__(self, database: Answers, run_id: str, attempt: int) -> None:
        self._database = database
        self._run_id = run_id
        self._attempt = attempt
        self._after = 0
        self._known = Counter[int]()

    async def rest(self) -> AsyncIterator[list[LogChunk]]:
        """What was not read yet."""
        more = True
        while more:
            request = ReadLogsRequest(run_id=self._run_id, attempt=self._attempt, after=self._after)
            page = await self._database.read_logs(request)
            self._after, more = page.next, page.more
            for chunk in page.chunks:
                self._known[chunk.attempt] += chunk.cut_before + len(chunk.content)
            if page.chunks:
                yield page.chunks

    def missing(self, run: Run) -> list[MissingLog]:
        """What attempts that are over have printed and is not among what was read."""
        asked = [attempt for attempt in run.attempts if self._attempt in {0, attempt.number}]
        short = {attempt.number: attempt.log_bytes - self._known[attempt.number] for attempt in asked}
        return [MissingLog(attempt=number, bytes=size) for number, size in short.items() if size > 0]


async def _end_may_come(database: Answers, run: Run, log: _Log) -> bool:
    """Whether there is something missing that its node may still send."""
    if not log.missing(run) or run.finished_at is None:
        return False
    return await time_of(database) - run.finished_at < LATE


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
