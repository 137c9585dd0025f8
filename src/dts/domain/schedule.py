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
from dts.pb.dts.v1 import Schedule
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


def to_tick(tick: Tick, *, task: str, timezone: str) -> TickMessage:
    """A tick as a message, with its local time."""
    local = tick.at.astimezone(find_zone(timezone)).isoformat()
    return TickMessage(task=task, scheduled_at=tick.at, local_time=local, timezone=timezone, excluded=tick.excluded)


__all__ = ["CompiledSchedule", "Stretch", "Tick", "compile_schedule", "read_schedule", "to_tick"]
