"""`dts task trigger`, `backfill` and `preview`: ticks and runs of a task."""

from __future__ import annotations

import typer

from dts.cli.ask import YES, on_terminal
from dts.cli.completion import tasks
from dts.cli.errors import Failed, say
from dts.cli.output import FORMAT, Format

NAME = typer.Argument(
    None, metavar="[NAME]", help="Name or id; asked for on a terminal if missing.", autocompletion=tasks
)


def trigger(
    name: str = NAME,
    wait: bool = typer.Option(False, "--wait", help="Wait until it is over; exit code 1 if it did not succeed."),
    follow: bool = typer.Option(False, "--follow", "-f", help="Print what it prints, and wait."),
    param: list[str] = typer.Option([], "--param", metavar="KEY=VALUE", help="Passed as DTS_PARAM_KEY; repeatable."),
    overlap: str | None = typer.Option(None, metavar="POLICY", help="Instead of the task's own policy."),
) -> None:
    """Run a task now. Prints the id of the run. Never consumes a tick.

    If every node runs the task, it is over when all of them are done.
    """
    from dts.cli.client import Client, call
    from dts.cli.options import member, pairs
    from dts.cli.patience import ASK_SECONDS, Patience, request_id, requested
    from dts.cli.runs import told
    from dts.cli.tasks import named
    from dts.cli.waiting import followed
    from dts.pb.dts.v1 import Overlap, Run, RunState, TriggerTaskRequest

    async def work(client: Client) -> list[Run]:
        patience = Patience() if follow or wait else Patience(ASK_SECONDS)
        request = TriggerTaskRequest(
            task=await named(client, name),
            overlap=member(Overlap, overlap, field="--overlap"),
            parameters=pairs(param, field="--param"),
            request_id=request_id(),
        )
        look = f"dts run show {request.request_id}"
        made = await requested(lambda: client.scheduler.trigger_task(request), patience, look=look)
        run = made.run or Run()
        if not (follow or wait):
            print(run.id)
            return []
        say(f"run {run.id}")
        return await followed(client, run.id, patience, follow=follow)

    ended = call(work)
    for run in ended:
        say(told(run))
    if any(run.state is not RunState.SUCCEEDED for run in ended):
        raise Failed


def backfill(
    name: str = NAME,
    since: str = typer.Option(
        ..., metavar="TIME", help="The first instant that counts: RFC 3339, or 7d for so long ago."
    ),
    until: str | None = typer.Option(
        None, metavar="TIME", help="The first instant that no longer counts. [default: now]"
    ),
    overlap: str | None = typer.Option(None, metavar="POLICY", help="Instead of queue_all."),
    wait: bool = typer.Option(False, "--wait", help="Wait until all are over; exit code 1 if one did not succeed."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Say how many; make none."),
    yes: bool = YES,
) -> None:
    """Run the ticks of a past range, oldest first. On a terminal it asks before."""
    from dts.cli.backfilling import Backfill, backfilled
    from dts.cli.client import Client, call
    from dts.cli.options import member
    from dts.cli.tasks import named
    from dts.cli.times import past
    from dts.pb.dts.v1 import Overlap

    async def work(client: Client) -> Backfill:
        return await backfilled(
            client,
            task=await named(client, name),
            since=past(since, field="--since"),
            # Now by the clock of the database: this machine's may be ahead of it.
            until=past(until, field="--until") if until else None,
            overlap=member(Overlap, overlap, field="--overlap"),
            dry_run=dry_run,
            wait=wait,
            yes=yes,
        )

    made = call(work)
    print(f"{made.ticks} ticks" + (", nothing was run" if dry_run else f", {made.runs} runs made"))
    if wait and not dry_run:
        print(f"{made.succeeded} succeeded, {made.unsuccessful} did not")
        if made.unsuccessful:
            raise Failed


def preview(
    name: str | None = typer.Argument(None, metavar="[NAME]", help="A task; or give a schedule.", autocompletion=tasks),
    cron: list[str] = typer.Option([], "--cron", metavar="EXPRESSION", help="A cron expression."),
    every: list[str] = typer.Option([], "--every", metavar="DURATION", help="An interval."),
    at: list[str] = typer.Option([], "--at", metavar="TIME", help="One instant."),
    timezone: str = typer.Option("", metavar="ZONE", help="IANA zone, such as Europe/Zurich. [default: UTC]"),
    dialect: str | None = typer.Option(None, metavar="DIALECT", help="dts, cronie or robfig."),
    count: int = typer.Option(10, "-n", min=1, max=1000, metavar="N", help="How many ticks."),
    after: str | None = typer.Option(None, metavar="TIME", help="Ticks after this time. [default: now]"),
    form: Format = FORMAT,
) -> None:
    """The next ticks of a task or of a schedule that is not stored, and the clock changes that touch it."""
    from dts.cli.client import Client, call
    from dts.cli.options import schedule_of
    from dts.cli.previews import show_preview
    from dts.cli.tasks import named
    from dts.cli.times import instant
    from dts.domain.errors import InvalidArgument
    from dts.pb.dts.v1 import PreviewScheduleRequest, PreviewScheduleResponse

    schedule = schedule_of(cron, every, at, timezone=timezone, dialect=dialect)
    if (schedule and name) or not (schedule or name or on_terminal()):
        raise InvalidArgument.of("NAME", "preview.what", "give the name of a task, or one of --cron, --every and --at")
    start = instant(after, field="--after") if after else None

    async def work(client: Client) -> PreviewScheduleResponse:
        task = "" if schedule else await named(client, name)
        return await client.tasks.preview_schedule(
            PreviewScheduleRequest(task=task, schedule=schedule, count=count, after=start)
        )

    show_preview(call(work), form)
