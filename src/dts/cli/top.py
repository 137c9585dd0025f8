"""`dts top`."""

from __future__ import annotations

import typer

from dts.cli.ask import on_terminal
from dts.cli.typers import single

app = single()


@app.command()
def top(
    every: str = typer.Option("1s", "--every", metavar="DURATION", help="Look anew so often, from 0.2s to 1m."),
) -> None:
    """What runs, what is next, what ran, and the nodes, over the whole terminal; keys cancel, retry and open logs."""
    from datetime import timedelta

    from dts.cli.client import address, call
    from dts.cli.times import duration
    from dts.cli.top_app import Top
    from dts.domain.errors import InvalidArgument

    if not on_terminal():
        raise InvalidArgument.of("top", "top.terminal", "needs a terminal; scripts use `dts run list` and others")
    pause = duration(every, field="--every")
    if not timedelta(seconds=0.2) <= pause <= timedelta(minutes=1):
        raise InvalidArgument.of("--every", "duration.range", "is between 0.2s and 1m")
    server, _ = address()
    call(lambda client: Top(client, server, every=pause.total_seconds()).show())
