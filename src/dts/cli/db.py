"""`dts db`."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from dts.cli.errors import Failed
from dts.cli.typers import group

app = group(
    "The database: migrate it, look at it, dump it, settle it after a restore. "
    "Uses DTS_DSN, or the database of `dts dev` on this machine."
)


@app.command()
def migrate() -> None:
    """Bring the schema to the version of this dts."""
    from dts.app.database import db_migrate
    from dts.settings import Settings

    ran = db_migrate(Settings.from_env(os.environ))
    for file in ran:
        print(f"ran {file}")
    if not ran:
        print("nothing to do: the schema is as it should be")


@app.command()
def status() -> None:
    """Compare the schema with what this dts needs. Exit code 1 if they differ."""
    from dts.app.database import db_status
    from dts.settings import Settings

    found = db_status(Settings.from_env(os.environ))
    print(f"schema {found.version}, this dts needs {found.known}")
    if found.version != found.known:
        raise Failed


@app.command()
def dump(output: Path = typer.Option(..., "--output", "-o", metavar="FILE", help="Write it to this file.")) -> None:
    """Write a consistent dump as SQL, whole or not at all, while everything goes on."""
    from dts.app.database import db_dump
    from dts.settings import Settings

    size = db_dump(Settings.from_env(os.environ), output)
    print(f"wrote {output} ({size:,} bytes)")


@app.command()
def restored() -> None:
    """After a restore, before dts starts: what may have run since the backup does not run again, and is recorded."""
    from dts.app.database import db_restored
    from dts.settings import Settings

    found = db_restored(Settings.from_env(os.environ))
    print(f"closed {found.ticks} ticks since the backup, and {found.runs} runs that it held as not over")
