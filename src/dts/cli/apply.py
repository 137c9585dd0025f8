"""`dts apply`."""

from __future__ import annotations

from pathlib import Path

import typer

from dts.cli.ask import YES
from dts.cli.output import FORMAT, Format, dump
from dts.cli.typers import single

app = single()


@app.command()
def apply(
    files: list[Path] = typer.Option(..., "-f", "--file", metavar="FILE|DIR|-", help="Task files; repeatable."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Show the difference; store nothing."),
    prune: bool = typer.Option(False, "--prune", help="Delete tasks that are not in the files."),
    yes: bool = YES,
    form: Format = FORMAT,
) -> None:
    """Make the tasks be as files say: all of them, or none if something is wrong."""
    from dts.cli.applying import agreed_to_prune, difference, places_told, warnings_told
    from dts.cli.client import Client, call
    from dts.cli.errors import say
    from dts.cli.files import read_placed
    from dts.cli.progress import progress
    from dts.domain.words import word
    from dts.pb.dts.v1 import ApplyTasksRequest, ApplyTasksResponse

    placed = read_placed(files)
    specs = [spec for spec, _ in placed]

    async def work(client: Client) -> ApplyTasksResponse:
        if prune and not dry_run:
            await agreed_to_prune(client, specs, yes=yes)
        request = ApplyTasksRequest(specs=specs, prune=prune, dry_run=dry_run)
        with progress(f"applying {len(specs)} tasks"):
            return await client.tasks.apply_tasks(request)

    with places_told(placed):
        applied = call(work)
    if form is not Format.TABLE:
        dump([{"name": task.name, "change": word(task.change)} for task in applied.tasks], form)
        return
    by_name = {spec.name: spec for spec in specs}
    for task in applied.tasks:
        print(f"{word(task.change):10} {task.name}")
        if dry_run:
            print(difference(task, by_name.get(task.name)), end="")
    warnings_told(applied.tasks)
    if dry_run:
        say("nothing was stored: this was a dry run")
