"""A version of a task, made ready for use: parsed once, shared by everything that needs it."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from dts.domain.constraints import parse_attribute, parse_constraint, parse_preference
from dts.domain.kinds import kind_of, target_of
from dts.domain.placement import Need
from dts.domain.policies import Effective, effective
from dts.domain.schedule import CompiledSchedule, schedule_of
from dts.pb.dts.v1 import NodeChoice, Overlap, Resources, TaskSpec, WorkSpec


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
    return Definition(
        task_id=task_id,
        version=version,
        spec=spec,
        policies=policies,
        schedule=schedule_of(spec),
        need=need_of(spec),
        work=bytes(_work_spec(task_id, version, spec, policies)),
        serial=policies.overlap is not Overlap.ALLOW or bool(policies.group),
    )


def need_of(spec: TaskSpec) -> Need:
    """What runs of a task need of their nodes."""
    policies, kind = effective(spec.policies), kind_of(spec.kind)
    # A service runs where the Swarm puts it: any manager will do to ask for it, and nothing of that manager is taken.
    if kind == "service":
        return Need(kind=kind)
    return Need(
        kind=kind,
        constraints=tuple(parse_constraint(text) for text in policies.constraints),
        prefer=tuple(parse_preference(text) for text in policies.prefer),
        spread=tuple(parse_attribute(text) for text in policies.spread),
        cpus=policies.cpus,
        memory=policies.memory,
        weightless=kind == "noop",
        target=target_of(spec.kind),
        every=policies.node is NodeChoice.EVERY,
    )


def _work_spec(task_id: UUID, version: int, spec: TaskSpec, policies: Effective) -> WorkSpec:
    return WorkSpec(
        task_id=str(task_id),
        task=spec.name,
        version=version,
        kind=spec.kind,
        timeout=policies.timeout,
        stop_grace=policies.stop_grace,
        resources=Resources(cpus=policies.cpus, memory=policies.memory),
        constraints=list(policies.constraints) if kind_of(spec.kind) == "service" else [],
    )
