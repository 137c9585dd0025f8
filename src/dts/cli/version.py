"""`dts version`."""

from __future__ import annotations

from dts.cli.typers import single

app = single()


@app.command()
def version() -> None:
    """The version of this dts."""
    from importlib.metadata import version as version_of

    print(f"dts {version_of('dts')}")
