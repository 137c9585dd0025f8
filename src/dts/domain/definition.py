"""A version of a task, made ready for use: parsed once, shared by everything that needs it."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from dts.domain.constraints import parse_constraint
from dts.domain.placement import Need
from dts.domain.policies import Effective, effective
from dts.domain.schedule import CompiledSchedule, compile_schedule
from dts.pb.dts.v1 import Kind, Overlap, Resources, TaskSpec, WorkSpec

KINDS = ("container", "process", "noop")
"""The kinds of work, by the names of their fields in Kind."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A version of a task.

    schedule: None if the task runs only when it is triggered.
    work: the encoded WorkSpec that executors get.
    serial: its runs share places, by overlap policy or group.
    """

    task_id: UUID
    version: int
    spec: TaskSpec
    policies: Effective
    schedule: CompiledSchedule | None
    need: Need
    work: bytes
    serial: bool


def compile_definition(task_id: UUID, version: int, spec: TaskSpec) -> Definition:
    """Makes a version ready for use.

    Raises:
        InvalidArgument: its schedule cannot be read (any more): the zone database may have changed.
    """
    policies = effective(spec.policies)
    kind = kind_of(spec.kind)
    return Definition(
        task_id=task_id,
        version=version,
        spec=spec,
        policies=policies,
        schedule=compile_schedule(spec.schedule, key=spec.name) if spec.schedule else None,
        need=Need(
            kind=kind,
            constraints=tuple(parse_constraint(text) for text in policies.constraints),
            cpus=policies.cpus,
            memory=policies.memory,
            weightless=kind == "noop",
        ),
        work=bytes(_work_spec(task_id, version, spec, policies)),
        serial=policies.overlap is not Overlap.ALLOW or bool(policies.group),
    )


def kind_of(kind: Kind | None) -> str:
    """The name of the kind that is set; empty if none is."""
    return next((name for name in KINDS if kind is not None and getattr(kind, name) is not None), "")


def _work_spec(task_id: UUID, version: int, spec: TaskSpec, policies: Effective) -> WorkSpec:
    return WorkSpec(
        task_id=str(task_id),
        task=spec.name,
        version=version,
        kind=spec.kind,
        timeout=policies.timeout,
        stop_grace=policies.stop_grace,
        resources=Resources(cpus=policies.cpus, memory=policies.memory),
    )
