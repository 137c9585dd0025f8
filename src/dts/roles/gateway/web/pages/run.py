"""A run: where it stands, why, its attempts, and what it prints."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from itertools import islice
from typing import Any, cast

from aiohttp import web

from dts.domain.runs import FINAL
from dts.pb.dts.v1 import (
    CancelRunRequest,
    ExplainTaskRequest,
    GetRunRequest,
    RetryRunRequest,
    Run,
    TailLogsRequest,
    TailLogsResponse,
)
from dts.roles.gateway.web.door import HEADERS, Visit, see_other
from dts.roles.gateway.web.live import Events, Parts, keep_up, write
from dts.roles.gateway.web.loglines import Line, LogLines

SHOWN_BYTES = 64 * 1024
SHOWN_LINES = 1000
"""So much of the log stands in the page itself; the script brings the rest, and one can save all of it."""

BATCH = 200


async def page(visit: Visit) -> web.StreamResponse:
    """The whole page."""
    facts = await _facts(visit)
    lines, more = await _beginning(visit, facts["run"])
    return visit.page("run.html", **facts, lines=lines, more_lines=more)


async def live(visit: Visit) -> web.StreamResponse:
    """What of it changes, until the run is over."""
    over = False

    async def look() -> Parts:
        nonlocal over
        facts = await _facts(visit)
        over = facts["run"].state in FINAL
        return {"run": visit.fragment("run_parts.html", **facts)}

    return await keep_up(visit, look, done=lambda: over)


async def log(visit: Visit) -> web.StreamResponse:
    """What the run prints, from the beginning, while it prints it."""
    events = Events(visit)
    await events.open()
    lines = LogLines()
    async with aclosing(_tail(visit, visit.matched("run"), follow=True)) as answers:
        async for answer in answers:
            await _send(events, list(lines.take(answer.chunks)))
            if visit.is_over:
                return events.response
    await _send(events, list(lines.rest()))
    await events.send("end", {})
    return events.response


async def save(visit: Visit) -> web.StreamResponse:
    """The log as it was printed, as a file."""
    run = (await visit.person.runs.get_run(GetRunRequest(run=visit.matched("run")))).run or Run()
    name = f'attachment; filename="{run.id}.log"'
    headers = {**HEADERS, "Content-Type": "text/plain; charset=utf-8", "Content-Disposition": name}
    response = visit.streaming = web.StreamResponse(headers=headers)
    await response.prepare(visit.request)
    async with aclosing(_tail(visit, run.id)) as answers:
        async for answer in answers:
            for chunk in answer.chunks:
                await write(visit.request, response, chunk.content)
    return response


async def cancel(visit: Visit) -> web.StreamResponse:
    """Asks that it be stopped."""
    run = (await visit.person.runs.cancel_run(CancelRunRequest(run=visit.matched("run")))).run or Run()
    return see_other(f"/runs/{run.id}")


async def retry(visit: Visit) -> web.StreamResponse:
    """Runs it again, and shows that."""
    run = (await visit.person.runs.retry_run(RetryRunRequest(run=visit.matched("run")))).run or Run()
    return see_other(f"/runs/{run.id}")


async def _facts(visit: Visit) -> dict[str, Any]:
    name = visit.matched("run")
    runs = visit.person.runs
    found, explained = await asyncio.gather(
        runs.get_run(GetRunRequest(run=name)), runs.explain_task(ExplainTaskRequest(run=name))
    )
    run = found.run or Run()
    return {"run": run, "why": explained, "waits": found.nodes, "over": run.state in FINAL}


async def _beginning(visit: Visit, run: Run) -> tuple[list[Line], bool]:
    lines, found, size = LogLines(), list[Line](), 0
    async with aclosing(_tail(visit, run.id)) as answers:
        async for answer in answers:
            size += sum(len(chunk.content) for chunk in answer.chunks)
            found += lines.take(answer.chunks)
            if size >= SHOWN_BYTES:
                return _within(found), True
    found += lines.rest()
    shown = _within(found)
    return shown, len(shown) < len(found)


def _tail(visit: Visit, run: str, *, follow: bool = False) -> AsyncGenerator[TailLogsResponse]:
    # What is generated says less than it is: a stream that can be closed.
    answers = visit.person.runs.tail_logs(TailLogsRequest(run=run, follow=follow))
    return cast("AsyncGenerator[TailLogsResponse]", answers)


def _within(lines: list[Line]) -> list[Line]:
    shown, left = list[Line](), SHOWN_BYTES
    for line in islice(lines, SHOWN_LINES):
        left -= len(line.text)
        if left < 0:
            break
        shown.append(line)
    return shown


async def _send(events: Events, lines: list[Line]) -> None:
    for begin in range(0, len(lines), BATCH):
        await events.send("lines", [[line.kind, line.text] for line in lines[begin : begin + BATCH]])
