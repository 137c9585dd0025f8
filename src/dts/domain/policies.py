"""How a task is run once its defaults are filled in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Any

from dts.domain.durations import format_duration
from dts.pb.dts.v1 import Backoff, Catchup, EffectiveValue, NodeChoice, NodeLoss, Overlap, Policies, Resources


@dataclass(frozen=True, slots=True)
class Effective:
    """Every policy of a task, with its default where the task says nothing.

    group_limit: means nothing without a group.
    catchup_window: None means the default that depends on the interval; see dts.domain.ledger.
    cpus: processors. memory: bytes. 0 reserves nothing.
    """

    overlap: Overlap = Overlap.SKIP
    max_parallel: int = 1
    group: str = ""
    group_limit: int = 1
    queue_limit: int = 1000
    catchup: Catchup = Catchup.LATEST
    catchup_window: timedelta | None = None
    catchup_max: int = 100
    start_deadline: timedelta = timedelta(minutes=5)
    timeout: timedelta = timedelta(hours=1)
    stop_grace: timedelta = timedelta(seconds=10)
    retries: int = 0
    backoff_initial: timedelta = timedelta(seconds=10)
    backoff_factor: float = 2.0
    backoff_max: timedelta = timedelta(minutes=10)
    retry_exit_codes: frozenset[int] = frozenset()
    on_node_loss: NodeLoss = NodeLoss.WAIT
    node_loss_wait: timedelta = timedelta(minutes=2)
    constraints: tuple[str, ...] = ()
    prefer: tuple[str, ...] = ()
    spread: tuple[str, ...] = ()
    node: NodeChoice = NodeChoice.ONE
    cpus: float = 0.0
    memory: int = 0


DEFAULTS = Effective()


def effective(policies: Policies | None) -> Effective:
    """Fills in the defaults."""
    return Effective(**_given(policies or Policies()))


def describe(policies: Policies | None) -> list[EffectiveValue]:
    """Each policy as people write it, with where it comes from: the task or the default."""
    given = _given(policies or Policies())
    values = Effective(**given)
    return [
        EffectiveValue(
            name=name, value=_text(name, getattr(values, name)), source="task" if name in given else "default"
        )
        for name in Effective.__dataclass_fields__
    ]


def _given(policies: Policies) -> dict[str, Any]:
    """What the task itself says, by the names of Effective."""
    backoff = policies.backoff or Backoff()
    resources = policies.resources or Resources()
    said = {
        "overlap": policies.overlap or None,
        "max_parallel": policies.max_parallel,
        "group": policies.group or None,
        "group_limit": policies.group_limit,
        "queue_limit": policies.queue_limit,
        "catchup": policies.catchup or None,
        "catchup_window": policies.catchup_window,
        "catchup_max": policies.catchup_max,
        "start_deadline": policies.start_deadline,
        "timeout": policies.timeout,
        "stop_grace": policies.stop_grace,
        "retries": policies.retries,
        "backoff_initial": backoff.initial,
        "backoff_factor": backoff.factor,
        "backoff_max": backoff.max,
        "retry_exit_codes": frozenset(policies.retry_exit_codes) or None,
        "on_node_loss": policies.on_node_loss or None,
        "node_loss_wait": policies.node_loss_wait,
        "constraints": tuple(policies.constraints) or None,
        "prefer": tuple(policies.prefer) or None,
        "spread": tuple(policies.spread) or None,
        "node": policies.node or None,
        "cpus": resources.cpus or None,
        "memory": resources.memory or None,
    }
    return {name: value for name, value in said.items() if value is not None}


def _text(name: str, value: object) -> str:
    match value:
        case None:
            return "the smaller of the interval and 1h" if name == "catchup_window" else ""
        case timedelta():
            return format_duration(value)
        case Enum():
            return (value.name or "").lower()
        case frozenset() | tuple():
            return ", ".join(str(item) for item in (sorted(value) if isinstance(value, frozenset) else value))
        case float():
            return f"{value:g}"
        case _:
            return str(value)
