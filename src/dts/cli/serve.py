"""`dts serve`."""

from __future__ import annotations

import os

import typer

from dts.cli.typers import single

app = single()


@app.command()
def serve(
    role: list[str] = typer.Option(
        ..., metavar="ROLE[,ROLE]", help="definition, scheduler, executor, database, gateway; may be repeated."
    ),
    grpc: str | None = typer.Option(None, metavar="HOST:PORT", help="Serve gRPC here. [default: 127.0.0.1:7461]"),
    http: str | None = typer.Option(
        None,
        metavar="HOST:PORT",
        help="Serve health, metrics and, as gateway, dashboard and JSON here. [default: none; gateway: 127.0.0.1:7462]",
    ),
    migrate: bool = typer.Option(False, "--migrate", help="Bring the database up to date first."),
) -> None:
    """Some of the roles, in the foreground.

    The others are found by DTS_DATABASE_ADDR, DTS_DEFINITION_ADDR and DTS_SCHEDULER_ADDR; the role database needs
    DTS_DSN, and DTS_DSN_PASSWORD_FILE if the password stands in a file of its own; DTS_DSN_POOLING=transaction says
    that a PgBouncer in that mode stands before it. Every process needs the same DTS_TOKEN (or DTS_TOKEN_FILE).
    DTS_ADMIN_TOKEN_FILE makes the role database store a first access token, once.
    """
    from dts.app.serve import run_serve
    from dts.settings import Settings

    run_serve(Settings.from_env(os.environ), roles=role, grpc=grpc, http=http, migrate=migrate, say=_say)


def _say(line: str) -> None:
    print(line, flush=True)
