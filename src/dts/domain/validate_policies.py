"""Whether the policies of a task are possible."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from enum import IntEnum

from dts.domain.constraints import parse_attribute, parse_constraint, parse_preference
from dts.domain.durations import format_duration
from dts.domain.kinds import WITHOUT_RESOURCES, kind_of
from dts.domain.validate_text import Findings, check_enum
from dts.pb.dts.v1 import Backoff, Catchup, NodeChoice, NodeLoss, Overlap, Policies, Resources, TaskSpec

CONSTRAINTS = 32
SPREAD = 4
EXIT_CODES = 64
FACTOR = 10
CPUS = 1024.0
LEAST_MEMORY = 6 * 1024 * 1024
MOST_MEMORY = 1 << 44
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
MILLISECOND = timedelta(milliseconds=1)

DURATIONS: dict[str, tuple[timedelta, timedelta]] = {
    "catchup_window": (SECOND, 3650 * DAY),
    "start_deadline": (SECOND, 7 * DAY),
    "timeout": (SECOND, 30 * DAY),
    "stop_grace": (timedelta(0), timedelta(hours=1)),
    "node_loss_wait": (timedelta(0), 7 * DAY),
}
NUMBERS: dict[str, tuple[int, int]] = {
    "max_parallel": (1, 1000),
    "group_limit": (1, 1000),
    "queue_limit": (1, 100_000),
    "catchup_max": (1, 100_000),
    "retries": (0, 100),
}
ENUMS: dict[str, type[IntEnum]] = {"overlap": Overlap, "catchup": Catchup, "on_node_loss": NodeLoss, "node": NodeChoice}
"""The range of each policy, both ends included."""

NEEDS = {
    "queue_limit": "unless overlap is queue_all",
    "catchup_max": "unless catchup is all",
    "catchup_window": "if catchup is none",
    "node_loss_wait": "unless on_node_loss is wait",
    "backoff": "without retries",
    "retry_exit_codes": "without retries",
}
"""When a policy means nothing."""

_WAITING = {NodeLoss.UNSPECIFIED, NodeLoss.WAIT}
_GROUP = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?", re.ASCII)


def check_policies(spec: TaskSpec, findings: Findings) -> None:
    """Every policy within its range, and none that means nothing."""
    policies = spec.policies
    if policies is None:
        return
    for name, bounds in DURATIONS.items():
        _check_duration(name, getattr(policies, name), *bounds, findings)
    for name, (low, high) in NUMBERS.items():
        value = getattr(policies, name)
        if value is not None and not low <= value <= high:
            findings.refuse(name, "policy.range", f"is a whole number from {low} to {high}")
    for name, kind in ENUMS.items():
        check_enum(name, getattr(policies, name), kind, findings)
    _check_group(policies, findings)
    _check_backoff(policies.backoff, findings)
    _check_placement(spec, policies, findings)
    _check_resources(policies.resources, kind_of(spec.kind), findings)
    if policies.catchup is Catchup.ALL and policies.catchup_window is None:
        findings.refuse("catchup_window", "catchup.window", "must be given with catchup all: how old a tick may be")
    codes = policies.retry_exit_codes
    if len(codes) > EXIT_CODES or not all(0 <= code <= 255 for code in codes):
        findings.refuse("retry_exit_codes", "policy.range", f"are at most {EXIT_CODES} numbers from 0 to 255")
    _warn_of_unused(policies, findings)


def _warn_of_unused(policies: Policies, findings: Findings) -> None:
    """What is said and has no effect, because something else is not."""
    unused = {
        "queue_limit": policies.queue_limit is not None and policies.overlap is not Overlap.QUEUE_ALL,
        "catchup_max": policies.catchup_max is not None and policies.catchup is not Catchup.ALL,
        "catchup_window": policies.catchup_window is not None and policies.catchup is Catchup.NONE,
        "node_loss_wait": policies.node_loss_wait is not None and policies.on_node_loss not in _WAITING,
        "backoff": policies.backoff is not None and not policies.retries,
        "retry_exit_codes": bool(policies.retry_exit_codes) and not policies.retries,
    }
    for name, needs in NEEDS.items():
        if unused[name]:
            findings.warn(name, "policy.unused", f"has no effect {needs}")


def _check_duration(name: str, value: timedelta | None, low: timedelta, high: timedelta, findings: Findings) -> None:
    if value is not None and not low <= value <= high:
        findings.refuse(name, "policy.range", f"is from {format_duration(low)} to {format_duration(high)}")


def _check_group(policies: Policies, findings: Findings) -> None:
    if policies.group and not _GROUP.fullmatch(policies.group):
        findings.refuse("group", "group.invalid", "is 1 to 63 of a-z, 0-9, '.', '_' and '-'")
    if policies.group_limit is not None and not policies.group:
        findings.refuse("group_limit", "group.missing", "means nothing without a group")


def _check_backoff(backoff: Backoff | None, findings: Findings) -> None:
    if backoff is None:
        return
    _check_duration("backoff.initial", backoff.initial, MILLISECOND, DAY, findings)
    _check_duration("backoff.max", backoff.max, MILLISECOND, 7 * DAY, findings)
    if backoff.factor is not None and not 1 <= backoff.factor <= FACTOR:
        findings.refuse("backoff.factor", "policy.range", f"is a number from 1 to {FACTOR}")
    if backoff.initial and backoff.max and backoff.max < backoff.initial:
        findings.refuse("backoff.max", "policy.range", "is at least as long as backoff.initial")


def _check_placement(spec: TaskSpec, policies: Policies, findings: Findings) -> None:
    _check_each("constraints", policies.constraints, CONSTRAINTS, parse_constraint, findings)
    _check_each("prefer", policies.prefer, CONSTRAINTS, parse_preference, findings)
    _check_each("spread", policies.spread, SPREAD, parse_attribute, findings)
    for name in ("prefer", "spread"):
        if getattr(policies, name) and spec.kind is not None and spec.kind.service is not None:
            findings.refuse(name, f"{name}.service", "means nothing for a service: the Swarm chooses its node")
    if policies.node is NodeChoice.EVERY:
        _check_every(spec, policies, findings)


def _check_every(spec: TaskSpec, policies: Policies, findings: Findings) -> None:
    if kind_of(spec.kind) == "service":
        findings.refuse("node", "node.service", "means nothing for a service: the Swarm chooses its node")
    for name in ("prefer", "spread"):
        if getattr(policies, name):
            findings.refuse(name, f"{name}.every", "means nothing where every node has a run")


def _check_each(name: str, texts: Sequence[str], most: int, parse: Callable[[str], object], findings: Findings) -> None:
    if len(texts) > most:
        findings.refuse(name, f"{name}.many", f"are {len(texts)}; at most {most}")
    for number, text in enumerate(texts[:most]):
        try:
            parse(text)
        except ValueError as error:
            findings.refuse(f"{name}[{number}]", f"{name}.invalid", str(error))


def _check_resources(resources: Resources | None, kind: str, findings: Findings) -> None:
    if resources is None:
        return
    if kind in WITHOUT_RESOURCES:
        findings.refuse("resources", "resources.kind", f"means nothing for {kind}: nothing would be limited to it")
    if not (math.isfinite(resources.cpus) and 0 <= resources.cpus <= CPUS):
        findings.refuse("resources.cpus", "resources.range", f"is a number of processors from 0 to {CPUS:g}")
    if resources.memory != 0 and not LEAST_MEMORY <= resources.memory <= MOST_MEMORY:
        findings.refuse("resources.memory", "resources.range", "is at least 6 MiB and at most 16 TiB, or 0 for none")
