"""`dts task edit` and `dts task set`: a definition as text, changed, and stored if nobody was faster."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dts.cli.ask import confirmed, on_terminal
from dts.cli.completion import tasks
from dts.cli.errors import USAGE, Failed, exit_code_of, say
from dts.domain.errors import InvalidArgument

if TYPE_CHECKING:
    from dts.cli.client import Client
    from dts.pb.dts.v1 import Task, TaskSpec


def edit(name: str = typer.Argument(None, metavar="[NAME]", help="Name or id.", autocompletion=tasks)) -> None:
    """Edit a definition in $VISUAL or $EDITOR. Stored only if nobody else changed the task meanwhile."""
    from dts.cli.client import call
    from dts.cli.tasks import named

    if not on_terminal():
        raise InvalidArgument.of("edit", "edit.terminal", "needs a terminal; scripts use `dts task set` or `dts apply`")

    async def work(client: Client) -> str:
        return await _edit(client, await _task(client, await named(client, name)))

    print(call(work))


def set_fields(
    name: str = typer.Argument(metavar="NAME", help="Name or id.", autocompletion=tasks),
    fields: list[str] = typer.Argument(
        metavar="FIELD=VALUE...",
        help="Such as timeout=30m or schedule.cron='0 4 * * *'; an empty value unsets, as schedule.every= does.",
    ),
) -> None:
    """Change fields of a definition, by the names that a task file has."""
    from dts.cli.client import call
    from dts.cli.options import pairs
    from dts.domain.taskfile import dump_document, load_task
    from dts.domain.taskfile_write import spec_document

    changes = pairs(fields, field="FIELD=VALUE")

    async def work(client: Client) -> str:
        task = await _task(client, name)
        document = spec_document(_spec_of(task))
        for field, text in changes.items():
            _set(document, _path(field), text)
        return await _store(client, task, load_task(dump_document(document), source="the changed definition"))

    print(call(work))


async def _edit(client: Client, task: Task) -> str:
    """Lets somebody edit until it is right, or until they give up."""
    import asyncio

    from dts.domain.taskfile import dump_document, load_task
    from dts.domain.taskfile_write import spec_document

    before = dump_document(spec_document(_spec_of(task)))
    with _kept_on_error(before) as file:
        while True:
            try:
                # Beside the loop: somebody may think longer than the server waits for an answer to its pings (40 s).
                after = await asyncio.to_thread(_edited, file)
                if after == before:
                    return f"{_spec_of(task).name} unchanged"
                return await _store(client, task, load_task(after, source="the edited text"))
            except InvalidArgument as error:
                exit_code_of(error, debug=False)
                if not await confirmed("Edit it again?"):
                    raise Failed(USAGE) from error


async def _task(client: Client, name: str) -> Task:
    from dts.pb.dts.v1 import GetTaskRequest, Task

    return (await client.tasks.get_task(GetTaskRequest(task=name))).task or Task()


def _spec_of(task: Task) -> TaskSpec:
    from dts.pb.dts.v1 import TaskSpec

    return task.spec or TaskSpec()


async def _store(client: Client, task: Task, spec: TaskSpec) -> str:
    from dts.cli.times import local
    from dts.domain.words import schedule_words
    from dts.pb.dts.v1 import Task, UpdateTaskRequest

    request = UpdateTaskRequest(task=task.id, spec=spec, expected_version=task.version)
    response = await client.tasks.update_task(request)
    for warning in response.warnings:
        say(f"warning: {warning.field}: {warning.message}")
    stored = response.task or Task()
    if stored.version == task.version:
        return f"{spec.name} unchanged"
    # Fields are set one by one, and schedules add up: whoever set one sees what stands beside it.
    schedule = f": {schedule_words(spec.schedule)}" if spec.schedule != _spec_of(task).schedule else ""
    due = f"; next due {local(stored.next_due_at)}" if stored.next_due_at else ""
    return f"{spec.name} updated to version {stored.version}{schedule}{due}"


def _path(field: str) -> list[str]:
    """Steps to a field. What follows `labels.` and `env.` is one key, whatever dots it has."""
    steps = field.split(".")
    names = next((n + 1 for n, step in enumerate(steps) if step in {"labels", "env"}), len(steps))
    return [*steps[:names], *([".".join(steps[names:])] if steps[names:] else [])]


def _set(document: dict[str, Any], path: list[str], text: str) -> None:
    """Sets a value inside a document; an empty text takes it away. Values are YAML, so lists can be written."""
    import yaml

    place = document
    for step in path[:-1]:
        inner = place.setdefault(step, {})
        if not isinstance(inner, dict):
            raise InvalidArgument.of(".".join(path), "field.unknown", f"{step} has no fields of its own")
        place = inner
    if not text:
        place.pop(path[-1], None)
        return
    try:
        value = yaml.load(text, Loader=yaml.BaseLoader) if text.startswith(("[", "{")) else text  # noqa: S506 - text only
    except yaml.YAMLError as error:
        raise InvalidArgument.of(".".join(path), "field.value", "is not a value as a task file has it") from error
    place[path[-1]] = value


@contextmanager
def _kept_on_error(text: str) -> Iterator[Path]:
    """A file to edit. It stays, and is named, if what somebody wrote could not be stored."""
    handle, name = tempfile.mkstemp(prefix="dts-", suffix=".yaml")
    file = Path(name)
    with os.fdopen(handle, "w", encoding="utf-8") as writing:
        writing.write(text)
    try:
        yield file
    except BaseException:
        if file.exists() and file.read_text("utf-8", "replace") != text:
            say(f"what you wrote is kept in {file}")
        else:
            file.unlink(missing_ok=True)
        raise
    file.unlink(missing_ok=True)


def _edited(file: Path) -> str:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        done = subprocess.run([*shlex.split(editor), str(file)], check=False)  # noqa: S603 - the user's own editor
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidArgument.of("EDITOR", "edit.editor", f"cannot be run: {reason}") from error
    if done.returncode != 0:
        raise typer.Abort
    try:
        return file.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidArgument.of("the edited text", "file.unreadable", "is not UTF-8 text") from error
