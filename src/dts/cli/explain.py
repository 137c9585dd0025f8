"""`dts explain`."""

from __future__ import annotations

import typer

from dts.cli.ask import needed
from dts.cli.completion import tasks
from dts.cli.errors import printable
from dts.cli.output import FORMAT, Format, dump
from dts.cli.typers import single

app = single()


@app.command()
def explain(
    task: str = typer.Argument(
        None,
        metavar="[TASK]",
        callback=needed,
        autocompletion=tasks,
        help="Name or id; picked on a terminal if missing.",
    ),
    at: str | None = typer.Option(
        None,
        metavar="TIME",
        help="The instant in question, as tables show it, RFC 3339, or -10m. [default: the latest tick]",
    ),
    form: Format = FORMAT,
) -> None:
    """Why a task ran, did not run, or has not yet."""
    from dts.cli.client import Client, call
    from dts.cli.shapes import explain_shape
    from dts.cli.tasks import named
    from dts.cli.times import instant, local
    from dts.pb.dts.v1 import ExplainTaskRequest, ExplainTaskResponse

    async def work(client: Client) -> ExplainTaskResponse:
        when = instant(at, field="--at") if at else None
        return await client.scheduler.explain_task(ExplainTaskRequest(task=await named(client, task), at=when))

    found = call(work)
    if form is not Format.TABLE:
        dump(explain_shape(found), form)
        return
    when = f" at {local(found.at)}" if found.at else ""
    print(f"{found.task}{when}: {found.verdict}")
    print(f"  {printable(found.message)}")
    width = max((len(step.step) for step in found.steps), default=0)
    for step in found.steps:
        print(f"  {'✓' if step.ok else '✗'} {step.step:<{width}}  {printable(step.detail)}")
    if found.advice:
        print(f"  → {printable(found.advice)}")
