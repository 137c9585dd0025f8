"""Applying a whole set of definitions: what is new, what differs, what is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from dts.domain.definition import need_of
from dts.domain.errors import Violation
from dts.domain.placement import Need, nowhere
from dts.pb.dts.v1 import AppliedChange, AppliedTask, Node, Notice, Task, TaskAction, TaskChange, TaskSpec
from dts.roles.definition.checks import name_of


@dataclass(frozen=True, slots=True)
class Wanted:
    """A definition that was checked. warnings: what is allowed but may surprise."""

    spec: TaskSpec
    warnings: Sequence[Violation]


async def placed(wanted: Sequence[Wanted], nodes: Sequence[Node]) -> list[Wanted]:
    """The same, each with a warning if no node that takes work now could have it."""
    known: dict[Need, str] = {}
    found: list[Wanted] = []
    for item in wanted:
        need = need_of(item.spec)
        if need not in known:
            known[need] = nowhere(need, nodes)
            await asyncio.sleep(0)  # each asks every node; a thousand must not keep everybody else waiting
        found.append(_warned(item, known[need]))
    return found


def _warned(item: Wanted, why: str) -> Wanted:
    if not why:
        return item
    found = Violation("policies", "placement.nowhere", f"no node could take it now: {why}")
    return Wanted(item.spec, [*item.warnings, found])


def plan(
    wanted: Sequence[Wanted], present: Mapping[str, Task], *, prune: bool, new_id: Callable[[], UUID]
) -> tuple[list[TaskChange], list[AppliedTask]]:
    """The changes to save, and what to tell. present: every task that matters, by name."""
    changes: list[TaskChange] = []
    told: list[AppliedTask] = []
    for item in wanted:
        change, said = _plan_one(item, present.get(item.spec.name), new_id)
        changes += [change] if change else []
        told.append(said)
    if prune:
        names = {item.spec.name for item in wanted}
        gone = [task for name, task in sorted(present.items()) if name not in names]
        changes += [_change(TaskAction.DELETE, task) for task in gone]
        told += [_said(name_of(task), AppliedChange.DELETED, task, ()) for task in gone]
    return changes, told


def _plan_one(item: Wanted, before: Task | None, new_id: Callable[[], UUID]) -> tuple[TaskChange | None, AppliedTask]:
    name = item.spec.name
    if before is None:
        change = TaskChange(action=TaskAction.CREATE, task_id=str(new_id()), spec=item.spec)
        return change, _said(name, AppliedChange.CREATED, None, item.warnings)
    if same(before, item.spec):
        return None, _said(name, AppliedChange.UNCHANGED, before, item.warnings)
    change = _change(TaskAction.UPDATE, before, item.spec)
    return change, _said(name, AppliedChange.UPDATED, before, item.warnings)


def same(task: Task, spec: TaskSpec) -> bool:
    """Whether a task is defined so already; both are in their normal form."""
    return task.spec == spec


def warnings_of(violations: Sequence[Violation]) -> list[Notice]:
    """Findings as they travel."""
    return [Notice(field=found.field, code=found.code, message=found.message) for found in violations]


def _change(action: TaskAction, task: Task, spec: TaskSpec | None = None) -> TaskChange:
    return TaskChange(action=action, task_id=task.id, spec=spec, expected_version=task.version)


def _said(name: str, change: AppliedChange, before: Task | None, warnings: Sequence[Violation]) -> AppliedTask:
    spec = before.spec if before is not None else None
    return AppliedTask(name=name, change=change, before=spec, warnings=warnings_of(warnings))
