"""Schedules: when a task is due.

`schedule_read` makes what somebody wrote ready for use; `schedule_ticks` says what is due; the sources of ticks are
in `rules`, and everything that is odd about clocks is in `localtime`. Whether a schedule may be stored is for
`schedule_check`.
"""

from __future__ import annotations

from dts.domain.errors import InvalidArgument
from dts.domain.localtime import find_zone
from dts.domain.schedule_read import read_schedule
from dts.domain.schedule_ticks import CompiledSchedule, Stretch, Tick
from dts.pb.dts.v1 import Schedule, TaskSpec
from dts.pb.dts.v1 import Tick as TickMessage


def compile_schedule(schedule: Schedule, *, key: str) -> CompiledSchedule:
    """Makes a schedule ready for use. key: the task's name; seeds `H` and jitter.

    Raises:
        InvalidArgument: it cannot be read; every field that is wrong is named.
    """
    compiled, violations = read_schedule(schedule, key=key, field="schedule")
    if compiled is None:
        raise InvalidArgument(violations)
    return compiled


def schedule_of(spec: TaskSpec | None) -> CompiledSchedule | None:
    """The schedule of a definition, ready for use; None if it has none.

    Raises:
        InvalidArgument: it cannot be read, such as when the zones of this machine do not know its zone.
    """
    if spec is None or spec.schedule is None:
        return None
    return compile_schedule(spec.schedule, key=spec.name)


def to_tick(tick: Tick, *, task: str, timezone: str) -> TickMessage:
    """A tick as a message, with its local time."""
    local = tick.at.astimezone(find_zone(timezone)).isoformat()
    return TickMessage(task=task, scheduled_at=tick.at, local_time=local, timezone=timezone, excluded=tick.excluded)


__all__ = ["CompiledSchedule", "Stretch", "Tick", "compile_schedule", "read_schedule", "schedule_of", "to_tick"]
