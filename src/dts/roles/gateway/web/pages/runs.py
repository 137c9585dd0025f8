"""Runs: the ledger, newest first."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from dts.domain.durations import parse_duration
from dts.domain.errors import InvalidArgument, NotFound
from dts.domain.words import read_rfc3339, word
from dts.pb.dts.v1 import ListRunsRequest, ListRunsResponse, ListTasksRequest, RunState
from dts.roles.gateway.web.door import Visit
from dts.roles.gateway.web.live import Parts, keep_up
from dts.roles.gateway.web.pages.tasks import name_part
from dts.runtime import clock

PAGE = 30
SIMILAR = 10
WORDS = {word(state): state for state in RunState if state}
SINCE = {"": "whenever", "1h": "last hour", "24h": "last day", "7d": "last week"}


async def page(visit: Visit) -> web.StreamResponse:
    """The whole page."""
    return visit.page("runs.html", **await _facts(visit))


async def live(visit: Visit) -> web.StreamResponse:
    """The rows again."""

    async def look() -> Parts:
        return {"runs": visit.fragment("runs_rows.html", **await _facts(visit))}

    return await keep_up(visit, look)


async def _facts(visit: Visit) -> dict[str, Any]:
    asked = {name: visit.argument(name) for name in ("task", "state", "since", "until", "from")}
    found, similar = await _found(visit, asked)
    return {
        "asked": asked,
        "states": list(WORDS),
        "spans": SINCE,
        "runs": found.runs,
        "empty": "No run is like that." if any(asked.values()) else "No runs.",
        "similar": [(name, address({**asked, "task": name}, "")) for name in similar],
        "next_page": address(asked, found.next_page_token) if found.next_page_token else "",
        "live": "/live/runs" + address(asked, asked["from"]),
    }


async def _found(visit: Visit, asked: Mapping[str, str]) -> tuple[ListRunsResponse, list[str]]:
    """The runs; where no task has the name that is asked for, the names that have it in them."""
    try:
        return await visit.person.runs.list_runs(_query(asked)), []
    except NotFound:
        part = name_part(asked["task"])
    if not part:
        return ListRunsResponse(), []
    request = ListTasksRequest(name_part=part, page_size=SIMILAR)
    tasks = (await visit.person.tasks.list_tasks(request)).tasks
    return ListRunsResponse(), [task.spec.name for task in tasks if task.spec is not None]


def _query(asked: Mapping[str, str]) -> ListRunsRequest:
    return ListRunsRequest(
        task=asked["task"],
        states=[_state(name) for name in asked["state"].split(",") if name],
        since=_since(asked["since"]),
        until=_instant(asked["until"]) if asked["until"] else None,
        page_size=PAGE,
        page_token=asked["from"],
    )


def _state(name: str) -> RunState:
    if name not in WORDS:
        raise InvalidArgument.of("state", "enum.unknown", f"is one of {', '.join(WORDS)}, or several with commas")
    return WORDS[name]


def _since(text: str) -> datetime | None:
    if not text:
        return None
    try:
        span = parse_duration(text)
    except ValueError:
        return _instant(text)
    return clock.now() - min(span, timedelta(days=3660))


def _instant(text: str) -> datetime:
    try:
        return read_rfc3339(text)
    except ValueError as error:
        raise InvalidArgument.of("since, until", "time.invalid", str(error)) from error


def address(asked: Mapping[str, str], begin: str) -> str:
    """The same list from another place on."""
    given = {name: value for name, value in {**asked, "from": begin}.items() if value}
    return "?" + urlencode(given) if given else ""
