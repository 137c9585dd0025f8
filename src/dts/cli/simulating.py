"""From what the server knows, and files say, to a replay."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from dts.cli.client import Client
from dts.cli.lookahead import Pair, Span, pairs, span_of
from dts.cli.progress import progress
from dts.domain.definition import need_of
from dts.domain.policies import effective
from dts.domain.replay import HOUR, Replayed, replay
from dts.domain.replay_figures import NAMED, Report
from dts.domain.replay_rooms import simplified
from dts.domain.schedule import schedule_of
from dts.domain.schedule_clocks import clock_changes
from dts.pb.dts.v1 import ListDurationsRequest, ListNodesRequest, Node, TaskDuration, TaskSpec

WEEK = timedelta(days=7)
BATCH = 1000
CHANGES = 4
"""So many changes of its clock are looked for in each schedule: a year has two, Morocco's four."""


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked.

    now: the clock of this machine. since, until: as they were written.
    files, prune: what would be applied. slow: runs take long.
    assumed: how long tasks take that never ran. herd: so many tasks that start at once are told.
    """

    now: datetime
    since: str | None
    until: str | None
    files: tuple[Path, ...]
    prune: bool
    slow: bool
    assumed: timedelta
    herd: int


@dataclass(frozen=True, slots=True)
class ClockChange:
    """A change of the clock and what it does. tasks: how many it touches; names: some of them."""

    at: datetime
    effect: str
    tasks: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Simulation:
    """A replay and what stands beside it."""

    span: Span
    report: Report
    changes: Sequence[ClockChange]


async def simulated(client: Client, question: Question) -> Simulation:
    """Replays every task that is not paused.

    Raises:
        InvalidArgument: the time or the files are wrong.
    """
    span = span_of(question.since, question.until, usual=WEEK, now=question.now)
    found = await pairs(client, question.files, prune=question.prune, now=question.now)
    owed = [pair for pair in found if pair.owes and pair.after is not None and pair.after.schedule is not None]
    durations = await _durations(client, owed)
    nodes = (await client.scheduler.list_nodes(ListNodesRequest())).nodes
    tasks = [task for pair in owed if (task := _replayed(pair, durations, question)) is not None]
    report = await _replay(tasks, nodes, span, question.herd)
    specs = [pair.after for pair in owed if pair.after is not None]
    return Simulation(span, report, _clock_changes(specs, span))


async def _replay(tasks: Sequence[Replayed], nodes: Sequence[Node], span: Span, herd: int) -> Report:
    """Beside the loop, which answers the server's pings meanwhile."""
    with progress("hours looked ahead", total=(span.until - span.since) // HOUR) as shown:

        def reached(past: timedelta) -> None:
            shown.reached(past // HOUR)

        return await asyncio.to_thread(
            replay, tasks, nodes, since=span.since, until=span.until, herd=herd, reached=reached
        )


async def _durations(client: Client, owed: Iterable[Pair]) -> dict[str, TaskDuration]:
    """How long runs of stored tasks took, by the ids of the tasks."""
    ids = [pair.before.id for pair in owed if pair.before is not None]
    found: dict[str, TaskDuration] = {}
    for first in range(0, len(ids), BATCH):
        answer = await client.scheduler.list_durations(ListDurationsRequest(task_ids=ids[first : first + BATCH]))
        found |= {each.task_id: each for each in answer.tasks}
    return found


def _replayed(pair: Pair, durations: Mapping[str, TaskDuration], question: Question) -> Replayed | None:
    spec, schedule = pair.after, schedule_of(pair.after)
    if spec is None or schedule is None or spec.schedule is None:
        return None
    known = durations.get(pair.before.id) if pair.before is not None else None
    usual = (known.p95 if question.slow else known.median) if known else None
    return Replayed(
        name=pair.name,
        schedule=schedule,
        policies=effective(spec.policies),
        need=simplified(need_of(spec)),
        took=question.assumed if usual is None else usual,
        seen=known.runs if known and usual is not None else 0,
        max_runs=spec.schedule.max_runs,
    )


def _clock_changes(specs: Iterable[TaskSpec], span: Span) -> list[ClockChange]:
    """The changes of clocks within the time that touch tasks, those alike together."""
    alike: dict[tuple[datetime, str], list[str]] = {}
    for spec in specs:
        if spec.schedule is None:
            continue
        for found in clock_changes(spec.schedule, key=spec.name, after=span.since, count=CHANGES):
            if found.change.at < span.until:
                alike.setdefault((found.change.at, found.effect), []).append(spec.name)
    return [ClockChange(at, effect, len(names), tuple(names[:NAMED])) for (at, effect), names in sorted(alike.items())]
