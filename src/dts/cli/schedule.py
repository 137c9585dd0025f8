"""`dts schedule`."""

from __future__ import annotations

import typer

from dts.cli.completion import tasks
from dts.cli.output import FORMAT, Format, show
from dts.cli.typers import single

app = single()


@app.command()
def schedule(
    within: str = typer.Option("24h", metavar="DURATION", help="How far to look ahead."),
    task: str | None = typer.Option(None, "--task", metavar="NAME", help="Only this task.", autocompletion=tasks),
    limit: int = typer.Option(100, min=1, max=10_000, metavar="N", help="At most so many."),
    form: Format = FORMAT,
) -> None:
    """The coming ticks, oldest first."""
    from dts.cli.client import Client, call
    from dts.cli.errors import say
    from dts.cli.shapes import tick_shape
    from dts.cli.times import duration, local
    from dts.pb.dts.v1 import ListUpcomingRequest, ListUpcomingResponse

    async def work(client: Client) -> ListUpcomingResponse:
        span = duration(within, field="--within")
        return await client.scheduler.list_upcoming(ListUpcomingRequest(within=span, task=task or "", limit=limit))

    found = call(work)
    table = [
        (tick.task, local(tick.scheduled_at), tick.local_time, tick.timezone, "excluded" if tick.excluded else "")
        for tick in found.ticks
    ]
    shapes = [tick_shape(tick) for tick in found.ticks]
    show(shapes, table, ("TASK", "DUE", "IN ITS ZONE", "ZONE", ""), form, empty=f"nothing is due within {within}")
    if found.more:  # on standard error, so that scripts are told too
        say(f"… and more; --limit shows more than {limit}")
