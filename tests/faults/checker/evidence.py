"""All of one fault run, arranged for the questions that the promises ask."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from faults.checker.oracle import Course, course_of
from faults.model import Definition, Fault, Observed, Overlap, Row, Try, Witness

SETTLE = timedelta(seconds=10)
"""What is younger than this when the ledger is read is not judged, unless all is known to be settled."""

FINAL = frozenset({"succeeded", "failed", "timed_out", "cancelled", "skipped"})
WAITING = frozenset({Overlap.QUEUE_ONE, Overlap.QUEUE_ALL, Overlap.CANCEL_OTHER})
"""Under these a tick may wait for the run before it."""

COURSELESS = course_of(())

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen, by task and by run.

    Attributes:
        courses: by task.
        rows: by run.
        rows_of: by task, in the order of their ticks.
        witnesses: by run, in the order of their starts; without those of starts after the ledger was read.
        ends_of: when runs of a task were over, when they had begun, and of which ticks they were; in that order.
    """

    observed: Observed
    courses: Mapping[str, Course]
    rows: Mapping[str, Row]
    rows_of: Mapping[str, Sequence[Row]]
    witnesses: Mapping[str, Sequence[Witness]]
    ends_of: Mapping[str, Sequence[tuple[datetime, datetime, datetime]]]

    @property
    def all_witnesses(self) -> Sequence[Witness]:
        """Those of all runs."""
        return [one for some in self.witnesses.values() for one in some]

    @property
    def tasks(self) -> Sequence[str]:
        """All tasks that were asked for or that the ledger has, by name."""
        return sorted({*self.courses, *self.rows_of})

    def course(self, task: str) -> Course:
        """What may be true of a task."""
        return self.courses.get(task, COURSELESS)

    def definitions(self, row: Row) -> frozenset[Definition]:
        """The definitions of which one applies to a row: those of its tick, and of when it was given to a node."""
        course = self.course(row.task)
        given = max((one.assigned for one in row.tries if one.assigned), default=row.scheduled_at)
        return course.definitions(row.scheduled_at) | course.definitions(max(given, row.scheduled_at))

    def owed(self, task: str) -> Iterator[datetime]:
        """The ticks that are judged and must be in the ledger."""
        observed = self.observed
        return self.course(task).surely_due(observed.begun, observed.settled or observed.read - SETTLE)

    def excuse(self, since: datetime, until: datetime | None) -> Fault | None:
        """A fault that was there, or from which dts still recovered, at some instant between these."""
        end = until or self.observed.read
        near = (one for one in self.observed.faults if one.begun <= end and over(one) >= since)
        return next(near, None)

    def began(self, row: Row) -> datetime | None:
        """When the first try of a run started: by its witness, else by what the ledger says."""
        witnesses = self.witnesses.get(row.run_id)
        if witnesses:
            return witnesses[0].started
        return min((one.started for one in row.tries if one.started), default=None)

    def ended(self, row: Row) -> datetime | None:
        """When a run was over: the later of what its witnesses and the ledger say; None while it is not."""
        if row.state not in FINAL:
            return None
        ends = [one.ended for one in self.witnesses.get(row.run_id, ()) if one.ended]
        return max([*ends, *([row.finished] if row.finished else [])], default=None)


def gather(observed: Observed) -> Evidence:
    """Arranges what was observed."""
    operations = group(observed.operations, lambda operation: operation.task)
    evidence = Evidence(
        observed,
        {task: course_of(some) for task, some in operations.items()},
        {row.run_id: row for row in observed.rows},
        group(sorted(observed.rows, key=lambda row: row.scheduled_at), lambda row: row.task),
        group(_judged(observed), lambda one: one.run_id),
        ends_of={},
    )
    return replace(evidence, ends_of={task: _ends(evidence, rows) for task, rows in evidence.rows_of.items()})


def _judged(observed: Observed) -> Sequence[Witness]:
    begun = (one for one in observed.witnesses if one.started <= observed.read)
    return sorted(begun, key=lambda one: one.started)


def _ends(evidence: Evidence, rows: Iterable[Row]) -> Sequence[tuple[datetime, datetime, datetime]]:
    lives = ((row, evidence.began(row), evidence.ended(row)) for row in rows)
    return sorted((end, began, row.scheduled_at) for row, began, end in lives if began and end)


def group(items: Iterable[Item], key: Callable[[Item], str]) -> Mapping[str, Sequence[Item]]:
    """Items by a key, each in the order in which they came."""
    groups = defaultdict[str, list[Item]](list)
    for item in items:
        groups[key(item)].append(item)
    return dict(groups)


def over(fault: Fault) -> datetime:
    """From when on everything must be on time again."""
    return fault.healed + fault.recovery


def rows_by_tick(rows: Sequence[Row], wanted: Iterable[datetime]) -> Mapping[datetime, Sequence[Row]]:
    """The rows of the schedule that stand for each tick: its own, and stretches with it in the middle."""
    scheduled = [row for row in rows if row.trigger == "schedule"]
    stretches = [(row, row.last_scheduled_at) for row in scheduled if row.last_scheduled_at]
    found = defaultdict[datetime, list[Row]](list)
    for row in scheduled:
        found[row.scheduled_at].append(row)
    for tick in wanted:
        found[tick].extend(row for row, last in stretches if row.scheduled_at < tick <= last)
    return found


def highest(row: Row) -> Try | None:
    """The try that decides what a row says."""
    return max(row.tries, key=lambda one: one.number, default=None)
