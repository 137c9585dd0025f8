"""What an explanation needs to know, asked of the database."""

from __future__ import annotations

from datetime import datetime, timedelta

from dts.domain.explain_facts import MEANT, Facts
from dts.domain.schedule import CompiledSchedule, Tick, schedule_of
from dts.domain.schedule_clocks import clock_changes
from dts.pb.dts.v1 import FindNodesRequest, FindTickRequest, Run, Task, Trigger
from dts.roles.scheduler.ports import Answers

LOOK_BACK = timedelta(days=366 * 5)
"""How far back the tick before an instant is looked for: a leap day comes every four years, rarely eight."""

CLOCK_NEAR = timedelta(hours=3)
"""A change of the clock that is no further away may be what somebody wonders about."""


async def gathered(database: Answers, task: Task, *, at: datetime | None, now: datetime, deleted: bool) -> Facts:
    """The facts of a question. at: the instant in question; None for the latest tick."""
    schedule = schedule_of(task.spec)
    nodes = (await database.find_nodes(FindNodesRequest())).nodes
    if at is None:
        run = await _row(database, task, None)
        tick = _tick_of(schedule, run) if run else _latest(schedule, now, born=task.created_at or now)
        following = schedule.next_after(now) if schedule else None
        return Facts(task, schedule, now, at, tick, run, nodes, deleted, following=following)
    before = schedule.last_before(at, after=at - LOOK_BACK) if schedule else None
    meant = before if before and at - before.at < MEANT else None
    run = await _row(database, task, meant.at if meant else at)
    if run is not None and meant is None and run.scheduled_at != at:
        run = None  # a stretch of ticks around the instant, none of which is at it
    missing = meant is None and run is None and before is not None
    return Facts(
        task=task,
        schedule=schedule,
        now=now,
        at=at,
        tick=meant,
        run=run,
        nodes=nodes,
        deleted=deleted,
        before=before,
        before_run=await _row(database, task, before.at) if before and missing else None,
        following=schedule.next_after(at) if schedule else None,
        clock=_clock(task, meant.at if meant else at),
    )


async def gathered_of(database: Answers, task: Task, run: Run, *, now: datetime, deleted: bool) -> Facts:
    """The facts of a question about one run, whatever it was that asked for it."""
    schedule = schedule_of(task.spec)
    nodes = (await database.find_nodes(FindNodesRequest())).nodes
    following = schedule.next_after(now) if schedule else None
    return Facts(task, schedule, now, None, _tick_of(schedule, run), run, nodes, deleted, following=following)


async def _row(database: Answers, task: Task, at: datetime | None) -> Run | None:
    return (await database.find_tick(FindTickRequest(task_id=task.id, at=at))).run


def _latest(schedule: CompiledSchedule | None, now: datetime, *, born: datetime) -> Tick | None:
    """The latest tick since the task was made, else the next one."""
    if schedule is None:
        return None
    return schedule.last_before(now, after=max(now - LOOK_BACK, born)) or schedule.next_after(now)


def _tick_of(schedule: CompiledSchedule | None, run: Run) -> Tick | None:
    """The tick that a run is for; None if somebody asked for the run, or the schedule is another one by now."""
    if schedule is None or run.scheduled_at is None or run.trigger is not Trigger.SCHEDULE:
        return None
    tick = schedule.last_before(run.scheduled_at, after=run.scheduled_at - LOOK_BACK)
    return tick if tick and tick.at == run.scheduled_at else None


def _clock(task: Task, at: datetime) -> str:
    """What a change of the clock near an instant does to the task."""
    if task.spec is None or task.spec.schedule is None:
        return ""
    found = clock_changes(task.spec.schedule, key=task.spec.name, after=at - CLOCK_NEAR, count=1)
    near = [change.effect for change in found if change.change.at <= at + CLOCK_NEAR]
    return near[0] if near else ""
