"""From the options of `dts task create` to a stored task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import typer

from dts.cli import ask
from dts.cli.client import Client
from dts.cli.errors import say
from dts.cli.options import member, pairs, schedule_of
from dts.cli.previews import change_line, tick_line
from dts.cli.times import duration
from dts.domain.errors import DtsError, InvalidArgument
from dts.pb.dts.v1 import (
    Catchup,
    ContainerKind,
    CreateTaskRequest,
    Kind,
    NoopKind,
    Overlap,
    Policies,
    PreviewScheduleRequest,
    PreviewScheduleResponse,
    ProcessKind,
    Schedule,
    TaskSpec,
)

SHOWN = 3


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was said on the command line. schedules: cron, every, at."""

    name: str | None
    command: tuple[str, ...]
    schedules: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
    timezone: str
    dialect: str | None
    jitter: str | None
    image: str | None
    process: bool
    noop: bool
    env: tuple[str, ...]
    words: Mapping[str, str | None]
    durations: Mapping[str, str | None]
    retries: int | None
    constraints: tuple[str, ...]
    labels: tuple[str, ...]
    description: str
    dry_run: bool


async def make(client: Client, wanted: Wanted) -> None:
    """Checks, asks for what is missing, stores, and tells."""
    asked = wanted.name is None
    if asked:
        wanted = await _completed(client, wanted)
    spec = _spec(wanted)
    found = await client.tasks.create_task(CreateTaskRequest(spec=spec, dry_run=True))
    coming = await _preview(client, spec.schedule)
    if asked:
        _tell_ticks(coming)
        if not await ask.confirmed(f"Create {spec.name}?"):
            raise typer.Abort
    if not wanted.dry_run:
        found = await client.tasks.create_task(CreateTaskRequest(spec=spec))
    print(f"{spec.name} {'can be created' if wanted.dry_run else 'created'}")
    if not asked:
        _tell_ticks(coming)
    for warning in found.warnings:
        say(f"warning: {warning.field}: {warning.message}")


async def _completed(client: Client, wanted: Wanted) -> Wanted:
    """Asks for name, schedule and command."""
    name = await ask.text("Name:", field="NAME", check=lambda text: None if text else "a name is needed")
    schedules, command = wanted.schedules, wanted.command
    if not any(schedules):
        schedules = await _asked_schedule(client, wanted)
    if not command and not wanted.noop and wanted.image is None:
        line = await ask.text("Command, run by a shell:", field="CMD")
        command = ("sh", "-c", line)
    process = wanted.process or not (wanted.noop or wanted.image)
    return replace(wanted, name=name, schedules=schedules, command=command, process=process)


async def _asked_schedule(client: Client, wanted: Wanted) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """A schedule that the server accepts; its next ticks are shown, and it is asked for again until it is right."""
    while True:
        line = await ask.text("When? A cron expression, an interval such as 5m, or empty for by hand:", field="--cron")
        if not line:
            return (), (), ()
        schedules = ((line,), (), ()) if " " in line or line.startswith("@") else ((), (line,), ())
        try:
            schedule = schedule_of(*schedules, timezone=wanted.timezone, dialect=wanted.dialect)
            _tell_ticks(await _preview(client, schedule))
        except DtsError as error:
            say(str(error))
        else:
            return schedules


async def _preview(client: Client, schedule: Schedule | None) -> PreviewScheduleResponse:
    if schedule is None:
        return PreviewScheduleResponse()
    return await client.tasks.preview_schedule(PreviewScheduleRequest(schedule=schedule, count=SHOWN))


def _tell_ticks(coming: PreviewScheduleResponse) -> None:
    for tick in coming.ticks:
        print(f"  {tick_line(tick)}")
    for change in coming.clock_changes:
        print(f"  {change_line(change)}")


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
        kind=_kind(wanted),
        policies=_policies(wanted),
        labels=pairs(wanted.labels, field="--label"),
    )


def _kind(wanted: Wanted) -> Kind:
    given = [wanted.image is not None, wanted.process, wanted.noop]
    if sum(given) != 1:
        raise InvalidArgument.of("kind", "kind.missing", "give exactly one of --image, --process and --noop")
    command, env = list(wanted.command), pairs(wanted.env, field="--env")
    if wanted.image is not None:
        return Kind(container=ContainerKind(image=wanted.image, command=command, env=env))
    if wanted.process:
        return Kind(process=ProcessKind(command=command, env=env))
    if command or env:
        raise InvalidArgument.of("--noop", "kind.noop", "runs nothing, so it takes neither a command nor --env")
    return Kind(noop=NoopKind())


def _policies(wanted: Wanted) -> Policies | None:
    values: dict[str, Any] = {
        name: duration(text, field=f"--{name.replace('_', '-')}")
        for name, text in wanted.durations.items()
        if text is not None
    }
    if wanted.words["overlap"] is not None:
        values["overlap"] = member(Overlap, wanted.words["overlap"], field="--overlap")
    if wanted.words["catchup"] is not None:
        values["catchup"] = member(Catchup, wanted.words["catchup"], field="--catchup")
    if wanted.retries is not None:
        values["retries"] = wanted.retries
    if wanted.constraints:
        values["constraints"] = list(wanted.constraints)
    return Policies(**values) if values else None
