"""`dts simulate`."""

from __future__ import annotations

from pathlib import Path

import typer

from dts.cli.output import FORMAT, Format
from dts.cli.typers import single

app = single()


@app.command()
def simulate(
    week: bool = typer.Option(False, "--week", help="The coming seven days. This is the default."),
    since: str | None = typer.Option(None, "--from", metavar="TIME", help="The first instant. [default: now]"),
    until: str | None = typer.Option(None, "--to", metavar="TIME", help="Up to here. [default: 7 days later]"),
    files: list[Path] = typer.Option(
        [], "-f", "--file", metavar="FILE|DIR|-", help="As if these task files were applied; repeatable."
    ),
    prune: bool = typer.Option(False, "--prune", help="As if tasks that are not in the files were deleted."),
    slow: bool = typer.Option(
        False, "--slow", help="Let runs take as long as the slowest of twenty, not as half of them."
    ),
    assume: str = typer.Option("1m", metavar="DURATION", help="How long tasks take that never ran."),
    herd: int = typer.Option(20, min=2, max=1_000_000, metavar="N", help="So many tasks that start at once are told."),
    form: Format = FORMAT,
) -> None:
    """Replay the coming week on a virtual clock: what overlaps, what finds no room, what comes all at once.

    Runs take as long as they took of late and never fail. They start on the nodes that take work now, which are empty
    at the beginning.
    """
    from dts.cli.client import call
    from dts.cli.simulating import Question, simulated
    from dts.cli.simulations import show_report
    from dts.cli.times import duration
    from dts.domain.errors import InvalidArgument
    from dts.runtime.clock import now

    if week and (since or until):
        raise InvalidArgument.of("--week", "span.twice", "is given beside --from or --to; give one of the two")
    question = Question(
        now=now(),
        since=since,
        until=until,
        files=tuple(files),
        prune=prune,
        slow=slow,
        assumed=duration(assume, field="--assume"),
        herd=herd,
    )
    show_report(call(lambda client: simulated(client, question)), form)
