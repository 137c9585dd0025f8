"""Typer apps as dts wants them: plain help, no traces of its own."""

from __future__ import annotations

import typer

SETTINGS = {"help_option_names": ["-h", "--help"]}


def single() -> typer.Typer:
    """For one command that is a word of its own."""
    return typer.Typer(
        rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False, context_settings=SETTINGS
    )


def group(help_text: str) -> typer.Typer:
    """For a word with commands below it."""
    app = single()
    app.info.help = help_text
    app.info.no_args_is_help = True

    @app.callback()
    def _group() -> None:
        pass

    return app
