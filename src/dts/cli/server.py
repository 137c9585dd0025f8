"""`dts dev`."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from dts.cli.typers import single

app = single()


@app.command()
def dev(
    data: Path | None = typer.Option(
        None, metavar="DIR", help="Data directory. [default: DTS_DATA, or the usual place]"
    ),
    grpc: str | None = typer.Option(None, metavar="HOST:PORT", help="Serve gRPC here. [default: 127.0.0.1:7461]"),
    http: str | None = typer.Option(
        None,
        metavar="HOST:PORT",
        help="Serve the dashboard, health, metrics and the API as JSON here. [default: 127.0.0.1:7462]",
    ),
    apply: list[Path] = typer.Option([], metavar="FILE", help="Apply this task file at the start; may be repeated."),
) -> None:
    """All roles and an embedded PostgreSQL, in the foreground.

    Prints one line that begins with "ready" when it can take calls. Ctrl-C stops it; work that runs goes on and is
    found again at the next start.
    """
    from dts.app.dev import run_dev
    from dts.cli.files import read_files
    from dts.settings import Settings

    specs = read_files(apply)
    run_dev(Settings.from_env(os.environ), data=data, grpc=grpc, http=http, apply=specs, say=_say)


def _say(line: str) -> None:
    print(line, flush=True)
