"""When a schedule is due, before or after it is stored."""

from __future__ import annotations

from datetime import datetime, timedelta

from dts.domain.errors import InvalidArgument, Violation
from dts.domain.schedule import compile_schedule, to_tick
from dts.domain.schedule_check import ClockEffect, check_schedule, clock_changes
from dts.pb.dts.v1 import ClockChange, PreviewScheduleRequest, PreviewScheduleResponse, Task, Tick
from dts.roles.definition.applying import warnings_of

COUNT = 10
COUNT_MAX = 1000
SECOND = timedelta(seconds=1)


def preview(message: PreviewScheduleRequest, task: Task | None, *, now: datetime) -> PreviewScheduleResponse:
    """The next ticks, the next changes of the clock, and what may surprise.

    Raises:
        InvalidArgument: there is no schedule, it is wrong, or the count is.
    """
    if not 0 <= message.count <= COUNT_MAX:
        raise InvalidArgument.of("count", "count.range", f"is between 1 and {COUNT_MAX}; 0 means {COUNT}")
    name = task.spec.name if task is not None and task.spec else ""
    schedule = task.spec.schedule if task is not None and task.spec else message.schedule
    if schedule is None:
        raise InvalidArgument.of("schedule", "schedule.empty", "is missing; give one, or a task that has one")
    violations, warnings = check_schedule(schedule, key=name, now=now, allow_past=task is not None)
    if violations and task is None:
        raise InvalidArgument(violations)
    compiled = compile_schedule(schedule, key=name)
    after = message.after or now
    ticks: list[Tick] = []
    while len(ticks) < (message.count or COUNT) and (tick := compiled.next_after(after)) is not None:
        ticks.append(to_tick(tick, task=name, timezone=compiled.timezone))
        after = tick.at
    return PreviewScheduleResponse(
        ticks=ticks,
        clock_changes=[_message(found) for found in clock_changes(schedule, key=name, after=message.after or now)],
        warnings=warnings_of([Violation("schedule", "schedule.surprising", text) for text in warnings]),
    )


def _message(found: ClockEffect) -> ClockChange:
    change = found.change
    return ClockChange(
        at=change.at,
        offset_before=change.before // SECOND,
        offset_after=change.after // SECOND,
        effect=found.effect,
    )
