"""The coming day or week: how many ticks are due when, against what the nodes can take."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from aiohttp import web

from dts.pb.dts.v1 import Capacity, ListNodesRequest, ListTickCountsRequest, ListUpcomingRequest, NodeState
from dts.roles.gateway.web.charts import density
from dts.roles.gateway.web.door import Visit
from dts.roles.gateway.web.live import Parts, keep_up
from dts.runtime import clock

SPANS = {"day": (timedelta(days=1), density.DAY, 1), "week": (timedelta(days=7), density.WEEK, 4)}
"""How far, what a cell is, and how many quarters of an hour are one in the row of a node."""

LANES = 24
NEXT = 15


async def page(visit: Visit) -> web.StreamResponse:
    """The whole page."""
    return visit.page("schedule.html", **await _facts(visit))


async def live(visit: Visit) -> web.StreamResponse:
    """All of it again."""

    async def look() -> Parts:
        return {"schedule": visit.fragment("schedule_parts.html", **await _facts(visit))}

    return await keep_up(visit, look)


async def _facts(visit: Visit) -> dict[str, Any]:
    span = "week" if visit.argument("span") == "week" else "day"
    within, shape, together = SPANS[span]
    runs = visit.person.runs
    counts, nodes, coming = await asyncio.gather(
        runs.list_tick_counts(ListTickCountsRequest(within=within, step=shape.step)),
        runs.list_nodes(ListNodesRequest()),
        runs.list_upcoming(ListUpcomingRequest(within=within, limit=NEXT, first_of_each=True)),
    )
    ready = [node for node in nodes.nodes if node.state is NodeState.READY]
    slots = sum((node.capacity or Capacity()).slots for node in ready)
    since = counts.since or clock.now()
    tasks = counts.task_peaks or counts.ticks  # of a scheduler that was not yet renewed
    return {
        "span": span,
        # Of a quarter of an hour it is not known how many of its runs are side by side.
        "field": density.field(since, counts.ticks, shape, tasks=tasks, slots=slots if span == "day" else 0),
        "lanes": density.lanes(counts.nodes[:LANES], together=together),
        "counts": counts,
        "nodes": len(ready),
        "slots": slots,
        "next": coming.ticks,
    }
