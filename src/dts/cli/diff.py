"""`dts diff`."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from dts.cli.errors import Failed, Trouble
from dts.cli.output import FORMAT, Format
from dts.cli.typers import single

app = single()


@app.command()
def diff(
    files: list[Path] = typer.Option(..., "-f", "--file", metavar="FILE|DIR|-", help="Task files; repeatable."),
    prune: bool = typer.Option(False, "--prune", help="As if tasks that are not in the files were deleted."),
    since: str | None = typer.Option(None, "--from", metavar="TIME", help="The first instant. [default: now]"),
    until: str | None = typer.Option(None, "--to", metavar="TIME", help="Up to here. [default: 30 days later]"),
    limit: int = typer.Option(5, min=0, max=10_000, metavar="N", help="List so many differences of each task."),
    form: Format = FORMAT,
) -> None:
    """Which ticks appear, vanish and move in the coming month if files were applied. Nothing is stored.

    Exit code as of diff: 0 if every tick stays, 1 if some do not, 2 or more if it could not be found out.
    """
    try:
        differ = _told(files, since, until, prune=prune, limit=limit, form=form)
    except Exception as error:
        raise Trouble from error
    if differ:
        raise Failed


def _told(files: list[Path], since: str | None, until: str | None, *, prune: bool, limit: int, form: Format) -> bool:
    """Tells the differences; whether there are any."""
    from datetime import timedelta

    from dts.cli.client import Client, call
    from dts.cli.diffs import Difference, differences, show_differences
    from dts.cli.lookahead import pairs, span_of
    from dts.runtime.clock import now

    today = now()
    span = span_of(since, until, usual=timedelta(days=30), now=today)

    async def work(client: Client) -> list[Difference]:
        return list(differences(await pairs(client, files, prune=prune, now=today), span, listed=limit))

    found = call(work)
    show_differences(found, span, form)
    sys.stdout.flush()  # while a full disk is trouble, and not a difference
    return any(each.ticks.differ for each in found)
