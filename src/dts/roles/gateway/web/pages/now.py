"""Now: whether every part is well, what runs, the last hour and the next, and what wants attention."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from aiohttp import web

from dts.domain.ids import MICROSECOND
from dts.domain.runs import ON_NODE
from dts.pb.dts.v1 import (
    GetStatusRequest,
    ListNodesRequest,
    ListOutcomesRequest,
    ListRunCountsRequest,
    ListRunsRequest,
    ListRunsResponse,
    ListTickCountsRequest,
    ListUpcomingRequest,
    Run,
    RunState,
    TaskOutcomes,
)
from dts.roles.gateway.web.charts.outcomes import usual
from dts.roles.gateway.web.charts.timeline import MINUTE, PAST, begin_of, timeline
from dts.roles.gateway.web.door import Visit
from dts.roles.gateway.web.live import Parts, keep_up
from dts.roles.gateway.web.pages.attention import FAILED, attention, unwanted
from dts.runtime import clock

RUNNING = 40
WAITING = 10
OVERDUE = timedelta(seconds=5)
"""From here on a run that is due and has no node is told of."""

ATTENTION = 12
FAILURES_LOOKED_THROUGH = 60
SKIPS_LOOKED_THROUGH = 100
TASKS = 100
"""Of so many tasks it is asked how they went."""

NEXT = 8
SOON = timedelta(hours=1)
ATTENTION_SINCE = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Progress:
    """A run that goes on. usual: how long its task usually takes. share: how much of that is over, in hundredths."""

    run: Run
    elapsed: timedelta | None
    usual: timedelta | None
    share: int | None


async def page(visit: Visit) -> web.StreamResponse:
    """The whole page."""
    return visit.page("now.html", **await _facts(visit))


async def live(visit: Visit) -> web.StreamResponse:
    """What of it changes."""

    async def look() -> Parts:
        return {"now": visit.fragment("now_parts.html", **await _facts(visit))}

    return await keep_up(visit, look)


async def _facts(visit: Visit) -> dict[str, Any]:
    runs = visit.person.runs
    now = clock.now()
    begin = begin_of(now)
    until = begin + PAST * MINUTE + MINUTE
    (status, nodes), (running, waiting), (failures, skips), (counts, ahead, coming) = await asyncio.gather(
        asyncio.gather(runs.get_status(GetStatusRequest()), runs.list_nodes(ListNodesRequest())),
        asyncio.gather(
            runs.list_runs(ListRunsRequest(states=sorted(ON_NODE), page_size=RUNNING)),
            runs.list_runs(ListRunsRequest(states=[RunState.PENDING], until=now - OVERDUE, page_size=WAITING)),
        ),
        _ended(visit, now),
        asyncio.gather(
            runs.list_run_counts(ListRunCountsRequest(since=begin, until=until, step=MINUTE, by_node=True)),
            runs.list_tick_counts(ListTickCountsRequest(within=SOON)),
            runs.list_upcoming(ListUpcomingRequest(within=SOON, limit=NEXT, first_of_each=True)),
        ),
    )
    wrong = [*failures.runs, *unwanted(skips.runs)]
    outcomes = await _outcomes(visit, [*running.runs, *wrong])
    names = [node.hostname for node in nodes.nodes]
    found = attention(wrong, outcomes)
    return {
        "parts": status.parts,
        "well": all(part.well for part in status.parts),
        "running": [_progress(run, outcomes.get(run.task_id), now) for run in running.runs],
        "more_running": bool(running.next_page_token),
        "waiting": waiting.runs,
        "more_waiting": bool(waiting.next_page_token),
        "present": now,
        "attention": found[:ATTENTION],
        "more_attention": len(found) > ATTENTION,
        "more_failures": bool(failures.next_page_token),
        "more_skips": bool(skips.next_page_token),
        "timeline": timeline(now, names, counts, running.runs, ahead.ticks),
        "next": [tick for tick in coming.ticks if not tick.excluded],
    }


async def _ended(visit: Visit, now: datetime) -> tuple[ListRunsResponse, ListRunsResponse]:
    """What failed and what was skipped of late, each for itself: skips can be so many that failures would drown."""
    list_runs, since = visit.person.runs.list_runs, now - ATTENTION_SINCE
    return await asyncio.gather(
        list_runs(ListRunsRequest(states=FAILED, since=since, page_size=FAILURES_LOOKED_THROUGH)),
        list_runs(ListRunsRequest(states=[RunState.SKIPPED], since=since, page_size=SKIPS_LOOKED_THROUGH)),
    )


async def _outcomes(visit: Visit, runs: Sequence[Run]) -> dict[str, TaskOutcomes]:
    ids = list(dict.fromkeys(run.task_id for run in runs))[:TASKS]
    found = await visit.person.runs.list_outcomes(ListOutcomesRequest(task_ids=ids, count=20))
    return {each.task_id: each for each in found.tasks}


def _progress(run: Run, outcomes: TaskOutcomes | None, now: datetime) -> Progress:
    elapsed = now - run.started_at if run.started_at else None
    micros = usual(outcomes) if outcomes is not None else None
    span = micros * MICROSECOND if micros is not None else None
    share = min(int(100 * (elapsed / span)), 100) if elapsed is not None and span else None
    return Progress(run, elapsed, span, share)
