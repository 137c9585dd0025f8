"""What `dts simulate` and `dts diff` look at: the stored tasks, those of files over them, and a stretch of time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from dts.cli.applying import places_told
from dts.cli.client import Client
from dts.cli.files import read_placed
from dts.cli.tasks import all_tasks
from dts.cli.times import instant
from dts.domain.errors import InvalidArgument, Violation
from dts.domain.validate import check_task
from dts.pb.dts.v1 import Task, TaskSpec

LONGEST = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time; `until` no longer counts."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Pair:
    """A task as it is stored and as it would be; None where it is not there.

    owes: whether it has ticks to come: it is not paused.
    """

    name: str
    before: Task | None
    after: TaskSpec | None

    @property
    def owes(self) -> bool:
        """Whether what it is due for would run."""
        return self.before is None or self.before.enabled


def span_of(since: str | None, until: str | None, *, usual: timedelta, now: datetime) -> Span:
    """The time that was asked for; so long from its beginning if nothing says where it ends.

    Raises:
        InvalidArgument: it ends before it begins, or is longer than a year.
    """
    begin = instant(since, field="--from") if since else now
    end = instant(until, field="--to") if until else begin + usual
    if not timedelta(0) < end - begin <= LONGEST:
        raise InvalidArgument.of("--to", "span.range", f"lies after --from, and at most {LONGEST.days} days after it")
    return Span(begin, end)


async def pairs(client: Client, files: Sequence[Path], *, prune: bool, now: datetime) -> list[Pair]:
    """Every task, stored or in files, by name. What files hold is checked as the server would.

    Raises:
        InvalidArgument: files cannot be read, or what they hold could not be applied.
    """
    if prune and not files:
        raise InvalidArgument.of("--prune", "prune.files", "means nothing without -f")
    placed = read_placed(files)
    stored = {task.spec.name: task for task in await all_tasks(client) if task.spec}
    with places_told(placed):
        changed = {spec.name: spec for spec in _checked([spec for spec, _ in placed], stored, now)}
    names = sorted(stored.keys() | changed.keys())
    return [Pair(name, task := stored.get(name), _after(name, task, changed, prune=prune)) for name in names]


def _after(name: str, task: Task | None, changed: dict[str, TaskSpec], *, prune: bool) -> TaskSpec | None:
    if name in changed:
        return changed[name]
    return None if prune or task is None else task.spec


def _checked(specs: Sequence[TaskSpec], stored: dict[str, Task], now: datetime) -> Iterator[TaskSpec]:
    """The definitions in their normal form."""
    wrong: list[Violation] = []
    for given in specs:
        before = stored[given.name].spec if given.name in stored else None
        spec, violations, _ = check_task(given, now=now, before=before)
        wrong += [Violation(f"tasks[{given.name}].{each.field}", each.code, each.message) for each in violations]
        yield spec
    if wrong:
        raise InvalidArgument(wrong)
