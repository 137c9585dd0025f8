"""What a replay finds, as figures: one set for each task and node, and the few worst of everything else."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from operator import itemgetter
from typing import Generic, TypeVar

from dts.domain.ids import EPOCH

WORST = 10
"""So many herds and shortages are kept; the others are counted."""

NAMED = 5
"""So many tasks are named where many may be meant."""

ZERO = timedelta(0)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


@dataclass(slots=True)
class TaskFigures:
    """What becomes of the ticks of a task.

    took: how long each of its runs was taken to take. seen: how many runs say so; 0 if it is an assumption.
    excluded: ticks on excluded dates. started: runs that started.
    skipped, queue_full: not started, because earlier runs were not over. queued: waited for them.
    replaced: stopped by a later run. beside: started while an earlier one ran.
    waited: started later than due for want of room on the nodes; the longest of these waits.
    no_place: never started for the same reason. waiting: neither yet at the end.
    nowhere: what the nodes say where none of them could have a run however idle it is.
    first_overlap: the first instant at which an earlier run was not over.
    """

    name: str
    took: timedelta
    seen: int
    ticks: int = 0
    excluded: int = 0
    started: int = 0
    skipped: int = 0
    queued: int = 0
    queue_full: int = 0
    replaced: int = 0
    beside: int = 0
    waited: int = 0
    longest_wait: timedelta = ZERO
    no_place: int = 0
    waiting: int = 0
    nowhere: str = ""
    first_overlap: datetime | None = None

    def overlapped(self, at: datetime) -> None:
        """Notes that an earlier run was not over."""
        if self.first_overlap is None:
            self.first_overlap = at

    def waited_for_room(self, wait: timedelta) -> None:
        """Notes how much later than due a run started."""
        self.waited += 1
        self.longest_wait = max(self.longest_wait, wait)


@dataclass(slots=True)
class NodeFigures:
    """The most that a node has at once, and when. Processors and bytes; reserved, not used."""

    name: str
    slots: int
    cpus: float
    memory: int
    peak_runs: int = 0
    peak_at: datetime | None = None
    peak_cpus: float = 0.0
    peak_memory: int = 0

    def has(self, at: datetime, *, runs: int, cpus: float, memory: int) -> None:
        """Notes what the node has."""
        if runs > self.peak_runs:
            self.peak_runs, self.peak_at = runs, at
        self.peak_cpus = max(self.peak_cpus, cpus)
        self.peak_memory = max(self.peak_memory, memory)


@dataclass(frozen=True, slots=True)
class Herd:
    """Many tasks that start within a second, or within a minute none of whose seconds is a herd by itself.

    tasks: how many; names: some of them. starts: how many runs of theirs.
    """

    at: datetime
    span: timedelta
    tasks: int
    starts: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shortage:
    """A time in which runs that were due found no room on any node.

    longest_wait: of those that started or gave up in it. waiting: the most at once. words: what the nodes said.
    """

    begins: datetime
    ends: datetime
    longest_wait: timedelta
    waiting: int
    names: tuple[str, ...]
    words: str


T = TypeVar("T")


class Worst(Generic[T]):
    """The greatest of many, the first of equals, in bounded memory; and how many there were."""

    def __init__(self) -> None:
        self.count = 0
        self._heap: list[tuple[float, int, T]] = []

    def add(self, size: float, item: T) -> None:
        """Takes it into account."""
        self.count += 1
        push = heapq.heappush if len(self._heap) < WORST else heapq.heappushpop
        push(self._heap, (size, -self.count, item))

    def listed(self) -> list[T]:
        """The greatest first."""
        return [item for _, _, item in sorted(self._heap, key=itemgetter(0, 1), reverse=True)]


class Herds:
    """Counts starts, which come in the order of time, by second and by minute."""

    def __init__(self, least: int) -> None:
        self._least = least
        self._second = _Bucket(EPOCH, SECOND)
        self._minute = _Bucket(EPOCH, MINUTE)
        self._herd_in_minute = False
        self.worst: Worst[Herd] = Worst()

    def add(self, at: datetime, task: str) -> None:
        """One more start."""
        if at >= self._second.end:
            self._close_second()
            self._second = _Bucket(at.replace(microsecond=0), SECOND)
        if at >= self._minute.end:
            self._close_minute()
            self._minute = _Bucket(at.replace(second=0, microsecond=0), MINUTE)
        self._second.add(task)
        self._minute.add(task)

    def close(self) -> None:
        """There are no more."""
        self._close_second()
        self._close_minute()

    def _close_second(self) -> None:
        self._herd_in_minute = self._told(self._second) or self._herd_in_minute

    def _close_minute(self) -> None:
        if not self._herd_in_minute:
            self._told(self._minute)
        self._herd_in_minute = False

    def _told(self, bucket: _Bucket) -> bool:
        """Whether it is a herd."""
        if len(bucket.tasks) < self._least:
            return False
        herd = bucket.herd()
        self.worst.add(herd.tasks, herd)
        return True


class _Bucket:
    """What starts within a second or a minute."""

    def __init__(self, at: datetime, span: timedelta) -> None:
        self.end = at + span
        self.tasks: dict[str, None] = {}
        self._at = at
        self._span = span
        self._starts = 0

    def add(self, task: str) -> None:
        self._starts += 1
        self.tasks[task] = None

    def herd(self) -> Herd:
        return Herd(self._at, self._span, len(self.tasks), self._starts, tuple(islice(self.tasks, NAMED)))


@dataclass(frozen=True, slots=True)
class Report:
    """All that a replay found. herds, shortages: the worst of them; all are counted."""

    tasks: Sequence[TaskFigures]
    nodes: Sequence[NodeFigures]
    herds: Sequence[Herd]
    herd_count: int
    shortages: Sequence[Shortage]
    shortage_count: int
