"""What applying changes, as people read it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from dts.cli.ask import agreed, on_terminal
from dts.cli.client import Client
from dts.cli.errors import say
from dts.domain.errors import InvalidArgument, Violation
from dts.domain.taskfile import dump_document
from dts.domain.taskfile_write import spec_document
from dts.pb.dts.v1 import AppliedChange, AppliedTask, ApplyTasksRequest, TaskSpec

NAMED = 5


def difference(task: AppliedTask, after: TaskSpec | None) -> str:
    """The difference between a definition as it is and as it would be; empty if it stays."""
    if task.change is AppliedChange.UNCHANGED:
        return ""
    before = _lines(task.before)
    now = _lines(None if task.change is AppliedChange.DELETED else after)
    return "".join(f"    {line}" for line in list(difflib.unified_diff(before, now, n=2))[2:])


@contextmanager
def places_told(placed: Iterable[tuple[TaskSpec, str]]) -> Iterator[None]:
    """Whatever the server refuses gets the place in the file beside the name of the task.

    Raises:
        InvalidArgument: the refusal, with `file:line` in it.
    """
    places = {f"tasks[{spec.name}]": place for spec, place in placed}
    try:
        yield
    except InvalidArgument as error:
        raise InvalidArgument(_placed(violation, places) for violation in error.violations) from error


async def agreed_to_prune(client: Client, specs: Sequence[TaskSpec], *, yes: bool) -> None:
    """Asks, on a terminal, before tasks are deleted that are not among those given.

    Raises:
        Failed: they are to stay.
    """
    if yes or not on_terminal():
        return
    request = ApplyTasksRequest(specs=list(specs), prune=True, dry_run=True)
    planned = await client.tasks.apply_tasks(request)
    gone = [task.name for task in planned.tasks if task.change is AppliedChange.DELETED]
    if gone:
        more = f" and {len(gone) - NAMED} more" if len(gone) > NAMED else ""
        await agreed(f"Delete {', '.join(gone[:NAMED])}{more}?", yes=False)


def _placed(violation: Violation, places: Mapping[str, str]) -> Violation:
    task, end, rest = violation.field.partition("]")
    place = places.get(task + end)
    return violation if place is None else replace(violation, field=f"{place}: {task[6:]}{rest}")


def warnings_told(tasks: Iterable[AppliedTask]) -> None:
    """Tells what is allowed but may surprise."""
    for task in tasks:
        for warning in task.warnings:
            say(f"warning: {task.name}: {warning.field}: {warning.message}")


def _lines(spec: TaskSpec | None) -> list[str]:
    return dump_document(spec_document(spec)).splitlines(keepends=True) if spec is not None else []
