"""Define a task, or change one: a form or a task file, with what it would do beside it before it is saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import pairwise

from aiohttp import web

from dts.domain.durations import format_duration
from dts.domain.errors import DtsError, InvalidArgument, PermissionDenied, Unauthenticated
from dts.domain.ids import MICROSECOND
from dts.domain.kinds import KINDS
from dts.domain.policies import effective
from dts.domain.taskfile import dump_document, load_task
from dts.domain.taskfile_write import spec_document
from dts.domain.words import rounded, word
from dts.pb.dts.v1 import (
    Catchup,
    CreateTaskRequest,
    GetTaskRequest,
    ListOutcomesRequest,
    Notice,
    Overlap,
    PreviewScheduleRequest,
    PreviewScheduleResponse,
    Task,
    TaskSpec,
    Tick,
    UpdateTaskRequest,
)
from dts.roles.gateway.web.charts.outcomes import usual
from dts.roles.gateway.web.command_line import create_command
from dts.roles.gateway.web.definition_form import AS_IT_IS, can_show, document_of, fields_of
from dts.roles.gateway.web.door import HEADERS, Visit, see_other
from dts.roles.gateway.web.pages.task import address

TICKS = 10
EMPTY = fields_of({"schedule": {"cron": "0 3 * * *"}})
SOURCE = "the definition"
NEW = 'name: \nschedule: {cron: "0 3 * * *", timezone: UTC}\ncontainer:\n  image: \n  command: []\n'


@dataclass(frozen=True, slots=True)
class View:
    """A definition as it is typed: in fields, or as a task file.

    base: the task file that the fields were made of; empty: of what is stored, if anything is.
    """

    as_yaml: bool
    fields: Mapping[str, str]
    text: str = ""
    base: str = ""


@dataclass(slots=True)
class Preview:
    """What would come of a definition. trouble: why nothing would, one sentence each, with the field before it."""

    spec: TaskSpec = field(default_factory=TaskSpec)
    yaml: str = ""
    command: str | None = None
    coming: PreviewScheduleResponse = field(default_factory=PreviewScheduleResponse)
    warnings: list[Notice] = field(default_factory=list)
    trouble: list[tuple[str, str]] = field(default_factory=list)


async def new(visit: Visit) -> web.StreamResponse:
    """The empty form."""
    view = View(visit.argument("as") == "yaml", EMPTY, NEW)
    return _page(visit, Task(), view, Preview())


async def edit(visit: Visit) -> web.StreamResponse:
    """The form with what is stored."""
    task = await _task(visit)
    document = spec_document(task.spec or TaskSpec())
    preview = await _previewed(visit, task, task.spec or TaskSpec())
    as_yaml = visit.argument("as") == "yaml" or not can_show(document)
    text = dump_document(document)
    return _page(visit, task, View(as_yaml, fields_of(document), text, base=text), preview)


async def create(visit: Visit) -> web.StreamResponse:
    """Stores a new task, or shows what would be stored."""
    return await _take(visit, Task())


async def update(visit: Visit) -> web.StreamResponse:
    """Changes a task, or shows what would change."""
    return await _take(visit, await _task(visit))


async def _take(visit: Visit, task: Task) -> web.StreamResponse:
    typed = visit.form
    view, preview = View(typed["as"] == "yaml", typed, typed["yaml"], typed["base"]), Preview()
    try:
        if typed["do"] == "turn":
            view = _turned(view, task)
        spec = _spec(view, task)
        preview = await _previewed(visit, task, spec)
        if typed["do"] == "save" and not preview.trouble:
            await _save(visit, task, spec)
            return see_other(address(spec.name))
    except (PermissionDenied, Unauthenticated):
        raise
    except DtsError as error:
        preview.trouble = _told(error)
    if typed["do"] == "part":
        return web.Response(text=_part(visit, preview), content_type="text/html", headers=HEADERS)
    return _page(visit, task, view, preview, status=422 if preview.trouble else 200)


def _spec(view: View, task: Task) -> TaskSpec:
    """The definition that was sent, as a task file or as fields."""
    return load_task(view.text if view.as_yaml else _written(view, task), source=SOURCE)


def _written(view: View, task: Task) -> str:
    """The task file that fields ask for, right or not."""
    before = load_task(view.base, source=SOURCE) if view.base else task.spec
    return dump_document(document_of(view.fields, spec_document(before) if before is not None else {}))


def _turned(view: View, task: Task) -> View:
    """The same definition in the other view.

    Raises:
        InvalidArgument: it cannot be read, or fields cannot show it.
    """
    if not view.as_yaml:
        return replace(view, as_yaml=True, text=_written(view, task))
    if view.text.strip() == NEW.strip():
        return View(as_yaml=False, fields=EMPTY)
    document = spec_document(load_task(view.text, source=SOURCE))
    if not can_show(document):
        raise InvalidArgument.of(SOURCE, "form.fields", "has more than the form can show: change it here")
    return View(as_yaml=False, fields=fields_of(document), base=view.text)


async def _previewed(visit: Visit, task: Task, spec: TaskSpec) -> Preview:
    document = spec_document(spec)
    command = None if task.id else create_command(document)
    preview = Preview(spec=spec, yaml=dump_document(document), command=command)
    try:
        preview.warnings = list(await _checked(visit, task, spec))
        if spec.schedule is not None:
            request = PreviewScheduleRequest(schedule=spec.schedule, count=TICKS)
            preview.coming = await visit.person.tasks.preview_schedule(request)
            preview.warnings += await _too_slow(visit, task, spec, preview.coming.ticks)
    except (PermissionDenied, Unauthenticated):
        raise
    except DtsError as error:
        preview.trouble = _told(error)
    return preview


async def _checked(visit: Visit, task: Task, spec: TaskSpec) -> Sequence[Notice]:
    tasks = visit.person.tasks
    if task.id:
        return (await tasks.update_task(UpdateTaskRequest(task=task.id, spec=spec, dry_run=True))).warnings
    return (await tasks.create_task(CreateTaskRequest(spec=spec, dry_run=True))).warnings


async def _save(visit: Visit, task: Task, spec: TaskSpec) -> None:
    tasks = visit.person.tasks
    if not task.id:
        await tasks.create_task(CreateTaskRequest(spec=spec))
        return
    seen = visit.form["version"]
    version = int(seen) if seen.isascii() and seen.isdecimal() else 0
    await tasks.update_task(UpdateTaskRequest(task=task.id, spec=spec, expected_version=version))


async def _too_slow(visit: Visit, task: Task, spec: TaskSpec, ticks: Sequence[Tick]) -> list[Notice]:
    """A warning if runs usually take longer than from one tick to the next."""
    instants = [tick.scheduled_at for tick in ticks if tick.scheduled_at is not None]
    gap = min((later - earlier for earlier, later in pairwise(instants)), default=None)
    if not task.id or gap is None:
        return []
    found = await visit.person.runs.list_outcomes(ListOutcomesRequest(task_ids=[task.id]))
    micros = usual(found.tasks[0]) if found.tasks else None
    if micros is None or micros * MICROSECOND <= gap:
        return []
    policy = word(effective(spec.policies).overlap)
    span = rounded(timedelta(microseconds=micros))
    why = f"its runs usually take {span}, and its ticks are {format_duration(gap)} apart: overlap ({policy}) decides"
    return [Notice(field="schedule", code="schedule.overlaps", message=why)]


def _told(error: DtsError) -> list[tuple[str, str]]:
    if isinstance(error, InvalidArgument) and error.violations:
        return [(violation.field, violation.message) for violation in error.violations]
    return [("", error.message)]


async def _task(visit: Visit) -> Task:
    return (await visit.person.tasks.get_task(GetTaskRequest(task=visit.matched("task")))).task or Task()


def _page(visit: Visit, task: Task, view: View, preview: Preview, *, status: int = 200) -> web.StreamResponse:
    return visit.page(
        "edit.html",
        status=status,
        task=task,
        # As it was when somebody began to change it: what others changed meanwhile is not swallowed.
        seen=visit.form["version"] or task.version,
        fields=view.fields,
        text=view.text,
        base=view.base,
        as_yaml=view.as_yaml,
        preview=preview,
        kept=AS_IT_IS,
        kinds=KINDS,
        overlaps=[word(each) for each in Overlap if each],
        catchups=[word(each) for each in Catchup if each],
    )


def _part(visit: Visit, preview: Preview) -> str:
    return visit.fragment("edit_preview.html", preview=preview)
