"""A task: how it went, when it is due, how it is run, and how it became what it is."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import quote

from aiohttp import web

from dts.domain.errors import InvalidArgument
from dts.domain.taskfile import dump_document
from dts.domain.taskfile_write import spec_document
from dts.pb.dts.v1 import (
    DeleteTaskRequest,
    ExplainTaskRequest,
    ExplainTaskResponse,
    GetTaskRequest,
    ListOutcomesRequest,
    ListRunCountsRequest,
    ListRunCountsResponse,
    ListRunsRequest,
    ListTaskVersionsRequest,
    PauseTaskRequest,
    PreviewScheduleRequest,
    PreviewScheduleResponse,
    ResumeTaskRequest,
    Run,
    RunState,
    Task,
    TaskOutcomes,
    TaskSpec,
    TaskVersion,
    TriggerTaskRequest,
)
from dts.roles.gateway.web.charts import calendar, spans
from dts.roles.gateway.web.door import Visit, see_other
from dts.roles.gateway.web.live import Parts, keep_up
from dts.roles.gateway.web.pages.fields import pairs
from dts.runtime import clock
from dts.runtime.clock import monotonic

RUNS = 12
BARS = 100
TICKS = 10
VERSIONS = 10
PAST_SECONDS = 5.0
"""So long a year of outcomes is not drawn anew, however fast runs end."""

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Change:
    """A version and what it changed, as lines with a sign before them."""

    version: TaskVersion
    lines: list[str]


@dataclass(frozen=True, slots=True)
class Picture:
    """Spans of the latest runs, and of each day if there are enough."""

    name: str
    latest: spans.Bars
    by_day: spans.Band | None


async def page(visit: Visit) -> web.StreamResponse:
    """The whole page."""
    facts = await _facts(visit)
    task = facts["task"]
    past, versions, coming, why = await asyncio.gather(
        _past(visit, task), _versions(visit, task), _coming(visit, task), _why(visit, task)
    )
    told: dict[str, Any] = {"asked_at": visit.argument("at"), "yaml": _yaml(task.spec or TaskSpec())}
    return visit.page("task.html", **facts, **past, changes=versions, coming=coming, why=why, **told)


async def live(visit: Visit) -> web.StreamResponse:
    """What of it changes: where it stands and its latest runs; and now and then, if they changed, its past and why."""
    drawn: list[tuple[str, RunState]] | None = None
    rested_at = monotonic()

    async def look() -> Parts:
        nonlocal drawn, rested_at
        facts = await _facts(visit)
        task, newest = facts["task"], [(run.id, run.state) for run in facts["runs"]]
        parts = {
            "head": visit.fragment("task_head.html", **facts),
            "runs": visit.fragment("task_runs.html", **facts),
            "ticks": visit.fragment("ticks.html", coming=await _coming(visit, task)),
        }
        if newest != drawn and monotonic() >= rested_at:
            rested_at = monotonic() + PAST_SECONDS
            parts["charts"] = visit.fragment("task_charts.html", **await _past(visit, task))
            parts["told"] = visit.fragment("task_why.html", why=await _why(visit, task))
            drawn = newest
        return parts

    return await keep_up(visit, look)


async def trigger(visit: Visit) -> web.StreamResponse:
    """Runs it now, and shows the run."""
    request = TriggerTaskRequest(
        task=visit.matched("task"), parameters=pairs(visit.form["parameters"], field="parameters")
    )
    run = (await visit.person.runs.trigger_task(request)).run or Run()
    return see_other(f"/runs/{run.id}")


async def pause(visit: Visit) -> web.StreamResponse:
    """Lets it owe nothing until it is resumed."""
    name = visit.matched("task")
    await visit.person.tasks.pause_task(PauseTaskRequest(task=name, note=visit.form.text("note")))
    return see_other(address(name))


async def resume(visit: Visit) -> web.StreamResponse:
    """Lets it go on."""
    name = visit.matched("task")
    await visit.person.tasks.resume_task(ResumeTaskRequest(task=name))
    return see_other(address(name))


async def delete(visit: Visit) -> web.StreamResponse:
    """Deletes it, as it was seen; asks first where no script has."""
    name = visit.matched("task")
    if visit.form["sure"] != "yes":
        return visit.page("delete.html", name=name, here=address(name), version=visit.form["version"])
    version = int(visit.form["version"]) if visit.form["version"].isdecimal() else 0
    await visit.person.tasks.delete_task(DeleteTaskRequest(task=name, expected_version=version))
    return see_other("/tasks")


def address(name: str) -> str:
    """Where a task is shown."""
    return f"/tasks/{quote(name, safe='')}"


def _instant(text: str) -> datetime | None:
    """As a browser's field for times gives it; UTC. None if nothing is asked."""
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError as error:
        raise InvalidArgument.of("at", "time.invalid", "is a time such as 2026-12-24T18:00") from error


async def _facts(visit: Visit) -> dict[str, Any]:
    name = visit.matched("task")
    found, runs = await asyncio.gather(
        visit.person.tasks.get_task(GetTaskRequest(task=name)),
        visit.person.runs.list_runs(ListRunsRequest(task=name, page_size=RUNS)),
    )
    return {"task": found.task or Task(), "effective": found.effective, "runs": runs.runs, "more": runs.next_page_token}


async def _why(visit: Visit, task: Task) -> ExplainTaskResponse:
    request = ExplainTaskRequest(task=task.id, at=_instant(visit.argument("at")))
    return await visit.person.runs.explain_task(request)


async def _versions(visit: Visit, task: Task) -> list[Change]:
    request = ListTaskVersionsRequest(task=task.id, limit=VERSIONS + 1)
    return _changes((await visit.person.tasks.list_task_versions(request)).versions)[:VERSIONS]


async def _past(visit: Visit, task: Task) -> dict[str, Any]:
    """How its runs went, as pictures."""
    now = clock.now()
    runs, since = visit.person.runs, calendar.begin_of(now)
    outcomes, counts = await asyncio.gather(
        runs.list_outcomes(ListOutcomesRequest(task_ids=[task.id], count=BARS)),
        runs.list_run_counts(ListRunCountsRequest(task=task.id, since=since, until=now, step=DAY)),
    )
    latest = outcomes.tasks[0] if outcomes.tasks else TaskOutcomes()
    return {
        "calendar": calendar.calendar(now, counts),
        "counted_since": counts.counted_since,
        "pictures": [
            Picture("Duration", spans.bars(latest.states, latest.took), _by_day(counts, "took")),
            Picture("Lateness", spans.bars(latest.states, latest.late), _by_day(counts, "late")),
        ],
    }


def _by_day(counts: ListRunCountsResponse, what: Literal["took", "late"]) -> spans.Band | None:
    median, p95 = getattr(counts, f"{what}_median"), getattr(counts, f"{what}_p95")
    return spans.band(counts.steps, median, p95)


async def _coming(visit: Visit, task: Task) -> PreviewScheduleResponse:
    if task.spec is None or task.spec.schedule is None:
        return PreviewScheduleResponse()
    return await visit.person.tasks.preview_schedule(PreviewScheduleRequest(task=task.id, count=TICKS))


def _changes(versions: Sequence[TaskVersion]) -> list[Change]:
    """Each version with what it changed of the one before; newest first, as they come."""
    texts = [_yaml(version.spec or TaskSpec()).splitlines() for version in versions]
    before = [*texts[1:], []]
    return [
        Change(version, _difference(old, new) if old else [])
        for version, old, new in zip(versions, before, texts, strict=True)
    ]


def _difference(old: list[str], new: list[str]) -> list[str]:
    return [
        line for line in difflib.unified_diff(old, new, n=1, lineterm="") if not line.startswith(("---", "+++", "@@"))
    ]


def _yaml(spec: TaskSpec) -> str:
    return dump_document(spec_document(spec))
