"""Tasks on the command line: finding them, telling them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from dts.cli.ask import choose, missing, on_terminal
from dts.cli.client import Client
from dts.cli.shapes import kind_of
from dts.cli.times import local
from dts.domain.taskfile_write import spec_document
from dts.domain.words import schedule_words, timezone, word
from dts.pb.dts.v1 import EffectiveValue, ListTasksRequest, Task, TaskSpec

PAGE = 1000
SCHEDULE_WIDTH = 40


async def all_tasks(client: Client, *, labels: Mapping[str, str] | None = None, prefix: str = "") -> list[Task]:
    """Every task, by name, as many pages as it takes."""
    query = ListTasksRequest(page_size=PAGE, labels=dict(labels or {}), name_prefix=prefix)
    found: list[Task] = []
    while True:
        page = await client.tasks.list_tasks(query)
        found += page.tasks
        query.page_token = page.next_page_token
        if not page.next_page_token:
            return found


async def named(client: Client, name: str | None) -> str:
    """The name that was given, or the one that is picked on a terminal.

    Raises:
        InvalidArgument: none was given, and there is no terminal to ask on.
    """
    if name is not None:
        return name
    if not on_terminal():
        raise missing("NAME")  # before the server is asked what there is to pick from
    return await choose("Which task?", [task.spec.name for task in await all_tasks(client) if task.spec], field="NAME")


def task_row(task: Task) -> tuple[str, ...]:
    """A task as a row of a table."""
    spec = task.spec or TaskSpec()
    words = schedule_words(spec.schedule) or "by hand"
    last = task.last_run
    return (
        spec.name,
        words if len(words) <= SCHEDULE_WIDTH else words[: SCHEDULE_WIDTH - 1] + "…",
        timezone(spec.schedule) or "",
        kind_of(spec),
        "on" if task.enabled else "paused",
        local(task.next_due_at) if task.enabled else "",
        word(last.state) if last else "",
    )


def task_lines(task: Task, effective: Sequence[EffectiveValue]) -> list[tuple[str, str]]:
    """A task as named lines."""
    spec = task.spec or TaskSpec()
    who = f" by {task.paused_by} at {local(task.paused_at)}" if task.paused_at else ""
    note = f": {task.pause_note}" if task.pause_note else ""
    lines = [
        ("task", spec.name),
        ("id", task.id),
        ("description", spec.description),
        ("state", "on" if task.enabled else f"paused{who}{note}"),
        ("version", f"{task.version}, made {local(task.updated_at)}"),
        ("schedule", f"{schedule_words(spec.schedule) or 'by hand'} {timezone(spec.schedule) or ''}".strip()),
        *_schedule_lines(spec_document(spec).get("schedule", {})),
        ("next", local(task.next_due_at)),
        ("last run", f"{word(task.last_run.state)} {local(task.last_run.scheduled_at)}" if task.last_run else ""),
        ("labels", " ".join(f"{key}={value}" for key, value in sorted(spec.labels.items()))),
    ]
    said = [(name, text) for name, text in lines if text]
    return said + _kind_lines(spec) + [(value.name, f"{value.value or '-'}  ({value.source})") for value in effective]


def _schedule_lines(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a schedule says beside its rules, such as `jitter` and `exclude`."""
    shown = {name: value for name, value in document.items() if name not in {"cron", "every", "at", "timezone"}}
    return [(name, ", ".join(value) if isinstance(value, list) else str(value)) for name, value in shown.items()]


def _kind_lines(spec: TaskSpec) -> list[tuple[str, str]]:
    """What a task runs, its command as a shell takes it."""
    kind = kind_of(spec)
    lines = [("runs", kind)]
    for name, value in spec_document(spec).get(kind, {}).items():
        first, *more = _texts(value)
        lines += [(name, first), *(("", text) for text in more)]
    return lines


def _texts(value: Any) -> list[str]:
    """A value of a task file as lines; a script has as many as it is written in."""
    if isinstance(value, dict):
        return [f"{key}={shlex.quote(text)}" for key, text in sorted(value.items())]
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return [_file(item) for item in value]
    if isinstance(value, list):
        return shlex.join(str(item) for item in value).split("\n")
    return ["yes" if value is True else str(value)]


def _file(item: Any) -> str:
    """A volume, secret or config and where it is; one without a place stands for itself."""
    if not isinstance(item, dict):
        return str(item)
    name = item.get("volume") or item.get("name")
    return f"{name} at {item['target']}{', read-only' if item.get('read_only') else ''}"
