"""From the options of `dts task create` to a stored task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import typer

from dts.cli import ask
from dts.cli.client import Client
from dts.cli.create_asking import asked_name, asked_schedule, asked_work, preview, tell_ticks
from dts.cli.create_kind import Work, kind_from
from dts.cli.errors import say
from dts.cli.options import member, pairs, schedule_of
from dts.cli.times import duration
from dts.domain.errors import InvalidArgument
from dts.pb.dts.v1 import (
    Catchup,
    CreateTaskRequest,
    NodeChoice,
    Overlap,
    Policies,
    TaskSpec,
)

WORDS: dict[str, type[IntEnum]] = {"overlap": Overlap, "catchup": Catchup, "node": NodeChoice}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was said on the command line. schedules: cron, every, at."""

    name: str | None
    work: Work
    schedules: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
    timezone: str
    dialect: str | None
    jitter: str | None
    words: Mapping[str, str | None]
    durations: Mapping[str, str | None]
    retries: int | None
    placement: Mapping[str, Sequence[str]]
    labels: tuple[str, ...]
    description: str
    dry_run: bool


async def make(client: Client, wanted: Wanted) -> None:
    """Checks, asks for what is missing, stores, and tells."""
    asked = ask.on_terminal() and (wanted.name is None or wanted.work.is_open)
    if asked:
        wanted = await _completed(client, wanted)
    elif wanted.name is None:
        raise ask.missing("NAME")
    spec = _spec(wanted)
    found = await client.tasks.create_task(CreateTaskRequest(spec=spec, dry_run=True))
    coming = await preview(client, spec.schedule)
    if asked:
        tell_ticks(coming)
        if not await ask.confirmed(f"Create {spec.name}?"):
            say(f"{spec.name} was not created")
            raise typer.Abort
    if not wanted.dry_run:
        found = await client.tasks.create_task(CreateTaskRequest(spec=spec))
    print(f"{spec.name} {'can be created' if wanted.dry_run else 'created'}")
    if not asked:
        tell_ticks(coming)
    if spec.schedule is None:
        print(f"  it has no schedule: it runs when `dts task trigger {spec.name}` says so")
    for warning in found.warnings:
        say(f"warning: {warning.field}: {warning.message}")


async def _completed(client: Client, wanted: Wanted) -> Wanted:
    """Asks for what is missing of name, schedule and what to run."""
    name = wanted.name or await asked_name(client)
    schedules, timezone = wanted.schedules, wanted.timezone
    if not any(schedules):
        schedules, timezone = await asked_schedule(client, timezone, wanted.dialect)
    return replace(
        wanted, name=name, schedules=schedules, timezone=timezone, work=await asked_work(client, wanted.work)
    )


def _spec(wanted: Wanted) -> TaskSpec:
    schedule = schedule_of(*wanted.schedules, timezone=wanted.timezone, dialect=wanted.dialect)
    if schedule is None and (wanted.timezone or wanted.dialect or wanted.jitter):
        why = "means nothing without one of --cron, --every and --at"
        raise InvalidArgument.of("--timezone, --dialect, --jitter", "schedule.empty", why)
    if schedule is not None and wanted.jitter is not None:
        schedule.jitter = duration(wanted.jitter, field="--jitter")
    return TaskSpec(
        name=wanted.name or "",
        description=wanted.description,
        schedule=schedule,
        kind=kind_from(wanted.work),
        policies=_policies(wanted),
        labels=pairs(wanted.labels, field="--label"),
    )


def _policies(wanted: Wanted) -> Policies | None:
    values: dict[str, Any] = {
        name: duration(text, field=f"--{name.replace('_', '-')}")
        for name, text in wanted.durations.items()
        if text is not None
    }
    for name, kind in WORDS.items():
        if (text := wanted.words[name]) is not None:
            values[name] = member(kind, text, field=f"--{name}")
    if wanted.retries is not None:
        values["retries"] = wanted.retries
    values |= {name: list(texts) for name, texts in wanted.placement.items() if texts}
    return Policies(**values) if values else None
