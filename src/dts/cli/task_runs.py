"""`dts task trigger`, `backfill` and `preview`: ticks and runs of a task."""

from __future__ import annotations

import typer

from dts.cli.errors import Failed, say
from dts.cli.output import FORMAT, Format

NAME = typer.Argument(None, metavar="[NAME]", help="Name or id; asked for on a terminal if missing.")


def trigger(
    name: str = NAME,
    wait: bool = typer.Option(False, "--wait", help="Wait until it is over; exit code 1 if it did not succeed."),
    follow: bool = typer.Option(False, "--follow", "-f", help="Print what it prints, and wait."),
    param: list[str] = typer.Option([], "--param", metavar="KEY=VALUE", help="Passed as DTS_PARAM_KEY; repeatable."),
    overlap: str | None = typer.Option(None, help="Instead of the task's own policy."),
) -> None:
    """Run a task now. Prints the id of the run. Never consumes a tick."""
    from uuid import UUID

    from dts.cli.client import Client, call
    from dts.cli.options import member, pairs
    from dts.cli.runs import copy_logs, end_of, told
    from dts.cli.tasks import named
    from dts.pb.dts.v1 import Overlap, Run, RunState, TriggerTaskRequest
    from dts.runtime.clock import random_bits

    async def work(client: Client) -> Run:
        request = TriggerTaskRequest(
            task=await named(client, name),
            overlap=member(Overlap, overlap, field="--overlap"),
            parameters=pairs(param, field="--param"),
            # Chosen here, so that asking again after a lost answer does not make a second run.
            request_id=str(UUID(int=random_bits(128), version=4)),
        )
        run = (await client.scheduler.trigger_task(request)).run or Run()
        if not (follow or wait):
            print(run.id)
            return run
        say(f"run {run.id}")
        if follow:
            await copy_logs(client, run.id, follow=True)
        return await end_of(client, run.id)

    run = call(work)
    if follow or wait:
        say(told(run))
        if run.state is not RunState.SUCCEEDED:
            raise Failed


def backfill(
    name: str = NAME,
    since: str = typer.Option(..., help="The first instant that counts: RFC 3339, or 7d for so long ago."),
    until: str = typer.Option("+0s", help="The first instant that no longer counts.", show_default="now"),
    overlap: str | None = typer.Option(None, help="Instead of queue_all."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Say how many; make none."),
) -> None:
    """Run the ticks of a past range, oldest first."""
    from dts.cli.client import Client, call
    from dts.cli.options import member
    from dts.cli.tasks import named
    from dts.cli.times import past
    from dts.pb.dts.v1 import BackfillTaskRequest, BackfillTaskResponse, Overlap

    async def work(client: Client) -> BackfillTaskResponse:
        request = BackfillTaskRequest(
            task=await named(client, name),
            since=past(since, field="--since"),
            until=past(until, field="--until"),
            overlap=member(Overlap, overlap, field="--overlap"),
            dry_run=dry_run,
        )
        return await client.scheduler.backfill_task(request)

    made = call(work)
    print(f"{made.ticks} ticks" + (", nothing was run" if dry_run else f", {len(made.runs)} runs made"))


def preview(
    name: str | None = typer.Argument(None, metavar="[NAME]", help="A task; or give a schedule."),
    cron: list[str] = typer.Option([], "--cron", metavar="EXPRESSION", help="A cron expression."),
    every: list[str] = typer.Option([], "--every", metavar="DURATION", help="An interval."),
    at: list[str] = typer.Option([], "--at", metavar="TIME", help="One instant."),
    timezone: str = typer.Option("", help="IANA zone, such as Europe/Zurich. [default: UTC]"),
    dialect: str | None = typer.Option(None, help="dts, cronie or robfig."),
    count: int = typer.Option(10, "-n", min=1, max=1000, help="How many ticks."),
    after: str | None = typer.Option(None, metavar="TIME", help="Ticks after this time. [default: now]"),
    form: Format = FORMAT,
) -> None:
    """The next ticks of a task or of a schedule that is not stored, and the clock changes that touch it."""
    from dts.cli.client import Client, call
    from dts.cli.options import schedule_of
    from dts.cli.previews import show_preview
    from dts.cli.times import instant
    from dts.domain.errors import InvalidArgument
    from dts.pb.dts.v1 import PreviewScheduleRequest, PreviewScheduleResponse

    schedule = schedule_of(cron, every, at, timezone=timezone, dialect=dialect)
    if (schedule is None) == (name is None):
        raise InvalidArgument.of("NAME", "preview.what", "give the name of a task, or one of --cron, --every and --at")
    request = PreviewScheduleRequest(
        task=name or "",
        schedule=schedule,
        count=count,
        after=instant(after, field="--after") if after else None,
    )

    async def work(client: Client) -> PreviewScheduleResponse:
        return await client.tasks.preview_schedule(request)

    show_preview(call(work), form)
