"""What applying changes, as people read it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from dts.cli.errors import say
from dts.cli.taskfile import dump_document
from dts.cli.taskfile_write import spec_document
from dts.pb.dts.v1 import AppliedChange, AppliedTask, TaskSpec


def difference(task: AppliedTask, after: TaskSpec | None) -> str:
    """The difference between a definition as it is and as it would be; empty if it stays."""
    if task.change is AppliedChange.UNCHANGED:
        return ""
    before = _lines(task.before)
    now = _lines(None if task.change is AppliedChange.DELETED else after)
    return "".join(f"    {line}" for line in list(difflib.unified_diff(before, now, n=2))[2:])


def warnings_told(tasks: Iterable[AppliedTask]) -> None:
    """Tells what is allowed but may surprise."""
    for task in tasks:
        for warning in task.warnings:
            say(f"warning: {task.name}: {warning.field}: {warning.message}")


def _lines(spec: TaskSpec | None) -> list[str]:
    return dump_document(spec_document(spec)).splitlines(keepends=True) if spec is not None else []
