"""What an explanation is made of, and the words that all of its parts use."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from dts.domain.durations import format_duration
from dts.domain.schedule import CompiledSchedule, Tick
from dts.pb.dts.v1 import ExplainStep, Node, Run, Task

MEANT = timedelta(minutes=1)
"""Who asks for an instant means the tick at it, or less than this before: people write 03:00 and leave out seconds."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about the question.

    at: the instant asked for; None for the latest tick.
    tick: the tick that is meant; None if there is none.
    run: the row that stands for it.
    deleted: whether the task is; then it was at its last change.
    before, before_run: where no tick is meant, the one before and the row that stands for it.
    following: the first tick after the instant.
    clock: what a change of the clock near the instant does, in a sentence; empty if there is none that matters.
    """

    task: Task
    schedule: CompiledSchedule | None
    now: datetime
    at: datetime | None
    tick: Tick | None
    run: Run | None
    nodes: list[Node]
    deleted: bool = False
    before: Tick | None = None
    before_run: Run | None = None
    following: Tick | None = None
    clock: str = ""

    @property
    def name(self) -> str:
        """The name of the task."""
        return self.task.spec.name if self.task.spec else self.task.id

    @property
    def born(self) -> datetime | None:
        """When the task was made."""
        return self.task.created_at

    @property
    def spent(self) -> bool:
        """Whether the task has run as often as it may."""
        schedule = self.task.spec.schedule if self.task.spec else None
        return schedule is not None and schedule.max_runs is not None and self.task.next_due_at is None

    @property
    def paused(self) -> bool:
        """Whether the task is paused, and was at the instant in question."""
        if self.task.enabled or self.deleted:
            return False
        instant = self.tick.at if self.tick else self.at
        return instant is None or self.task.paused_at is None or instant >= self.task.paused_at


def when(facts: Facts, instant: datetime) -> str:
    """An instant in the zone of the schedule and in UTC."""
    utc = f"{instant:%Y-%m-%d %H:%M:%S} UTC"
    zone = facts.schedule.timezone if facts.schedule else "UTC"
    if zone == "UTC":
        return f"at {utc}"
    return f"at {instant.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M:%S} {zone} ({utc})"


def short_span(span: timedelta) -> str:
    """To the millisecond: nobody reads more."""
    return format_duration(timedelta(milliseconds=round(span / timedelta(milliseconds=1))))


def standing_step(facts: Facts) -> list[ExplainStep]:
    """What keeps the task from owing anything more: it is deleted or paused."""
    if facts.deleted:
        return [ExplainStep(step="deleted", ok=False, detail=deleted_words(facts.task))]
    if facts.task.enabled:
        return []
    return [ExplainStep(step="pause", ok=False, detail=f"the task is paused now{note(facts.task)}")]


def clock_step(facts: Facts) -> list[ExplainStep]:
    """What a change of the clock does near the instant."""
    return [ExplainStep(step="clock", ok=True, detail=facts.clock)] if facts.clock else []


def deleted_words(task: Task) -> str:
    """When a task was deleted."""
    return f"the task was deleted at {task.updated_at:%Y-%m-%d %H:%M:%S} UTC" if task.updated_at else "it is deleted"


def note(task: Task) -> str:
    """Who paused a task, and why."""
    who = f" by {task.paused_by}" if task.paused_by else ""
    return f"{who} ({task.pause_note})" if task.pause_note else who
