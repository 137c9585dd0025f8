"""Tasks: a list that can be searched, with the latest runs of each as a picture."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from dts.pb.dts.v1 import ListOutcomesRequest, ListTasksRequest, TaskOutcomes
from dts.roles.gateway.web.charts.outcomes import spark
from dts.roles.gateway.web.door import Visit
from dts.roles.gateway.web.live import Parts, keep_up

PAGE = 30
BARS = 30
STATES = {"on": True, "paused": False}
_NOT_IN_NAMES = re.compile(r"[^a-z0-9._-]")


async def page(visit: Visit) -> web.StreamResponse:
    """The whole page."""
    return visit.page("tasks.html", **await _facts(visit))


async def live(visit: Visit) -> web.StreamResponse:
    """The rows again."""

    async def look() -> Parts:
        return {"tasks": visit.fragment("tasks_rows.html", **await _facts(visit))}

    return await keep_up(visit, look)


async def _facts(visit: Visit) -> dict[str, Any]:
    asked = {name: visit.argument(name) for name in ("q", "label", "state", "from")}
    found = await visit.person.tasks.list_tasks(_query(asked))
    ids = [task.id for task in found.tasks]
    outcomes = await visit.person.runs.list_outcomes(ListOutcomesRequest(task_ids=ids, count=BARS))
    sparks = {each.task_id: spark(each, slots=BARS) for each in outcomes.tasks}
    none = spark(TaskOutcomes(), slots=BARS)
    return {
        "asked": asked,
        "tasks": [(task, sparks.get(task.id, none)) for task in found.tasks],
        "next_page": _address(asked, found.next_page_token) if found.next_page_token else "",
        "live": "/live/tasks" + _address(asked, asked["from"]),
    }


def name_part(text: str) -> str:
    """What of a text could be part of a name."""
    return _NOT_IN_NAMES.sub("", text.lower())[:63]


def _query(asked: dict[str, str]) -> ListTasksRequest:
    key, _, value = asked["label"].partition("=")
    return ListTasksRequest(
        page_size=PAGE,
        page_token=asked["from"],
        name_part=name_part(asked["q"]),
        labels={key: value} if key else {},
        enabled=STATES.get(asked["state"]),
    )


def _address(asked: dict[str, str], begin: str) -> str:
    given = {name: value for name, value in {**asked, "from": begin}.items() if value}
    return "?" + urlencode(given) if given else ""
