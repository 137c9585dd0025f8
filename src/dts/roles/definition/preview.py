"""When a schedule is due, before or after it is stored."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from dts.domain.errors import InvalidArgument
from dts.domain.schedule import CompiledSchedule, compile_schedule, to_tick
from dts.domain.schedule import Tick as Instant
from dts.domain.schedule_check import ClockEffect, clock_changes
from dts.domain.validate_schedule import LATEST, check_kept, check_one
from dts.domain.validate_text import Findings
from dts.pb.dts.v1 import ClockChange, PreviewScheduleRequest, PreviewScheduleResponse, Schedule, Task
from dts.roles.definition.applying import warnings_of
from dts.roles.definition.checks import check_start, name_of, refuse

COUNT = 10
COUNT_MAX = 1000
SECOND = timedelta(seconds=1)


def preview(message: PreviewScheduleRequest, task: Task | None, *, now: datetime) -> PreviewScheduleResponse:
    """The next ticks, the next changes of the clock, and what may surprise.

    Raises:
        InvalidArgument: there is no schedule or there are two, it is wrong, or the count or the instant is.
    """
    schedule = _schedule(message, task)
    after = check_start(message.after, now)
    name = name_of(task) if task is not None else ""
    findings = _judge(schedule, task, name, now=min(now, after))
    refuse(findings.violations)
    compiled = compile_schedule(schedule, key=name)
    ticks = _ticks(compiled, schedule, after, count=message.count or COUNT)
    return PreviewScheduleResponse(
        ticks=[to_tick(tick, task=name, timezone=compiled.timezone) for tick in ticks],
        clock_changes=[_message(found) for found in clock_changes(schedule, key=name, after=after)],
        warnings=warnings_of(findings.warnings),
    )


def _schedule(message: PreviewScheduleRequest, task: Task | None) -> Schedule:
    if not 0 <= message.count <= COUNT_MAX:
        raise InvalidArgument.of("count", "count.range", f"is between 1 and {COUNT_MAX}; 0 means {COUNT}")
    if task is not None and message.schedule is not None:
        raise InvalidArgument.of("schedule", "schedule.both", "is given beside a task; give one of the two")
    schedule = task.spec.schedule if task is not None and task.spec else message.schedule
    if schedule is None:
        raise InvalidArgument.of("schedule", "schedule.empty", "is missing; give one, or a task that has one")
    return schedule


def _judge(schedule: Schedule, task: Task | None, name: str, *, now: datetime) -> Findings:
    """What is wrong with it; a schedule that is stored may be over."""
    findings = Findings()
    if task is None:
        check_one(schedule, key=name, now=now, findings=findings)
        return findings
    check_kept(schedule, key=name, now=now, findings=findings)
    if not task.enabled:
        findings.warn("task", "task.paused", "is paused: nothing is due until it is resumed")
    if schedule.max_runs is not None:
        findings.warn(
            "schedule.max_runs", "schedule.max_runs", "counts from the beginning; past runs are not taken off"
        )
    return findings


def _ticks(compiled: CompiledSchedule, schedule: Schedule, after: datetime, *, count: int) -> Iterator[Instant]:
    """The ticks to come, so many of them that run as the schedule allows."""
    left = schedule.max_runs
    for tick in compiled.between(after, LATEST, limit=count):
        if left == 0:
            return
        yield tick
        if left is not None and not tick.excluded:
            left -= 1


def _message(found: ClockEffect) -> ClockChange:
    change = found.change
    return ClockChange(
        at=change.at,
        offset_before=change.before // SECOND,
        offset_after=change.after // SECOND,
        effect=found.effect,
    )
