"""Typer apps as dts wants them: plain help, no traces of its own."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

SETTINGS = {"help_option_names": ["-h", "--help"]}


class WholeLines(TyperGroup):
    """Lists its commands with the whole first sentence of each, on as many lines as it takes."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Typer would cut sentences at the end of the line."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(1000)) for name, command in commands if command])


def single() -> typer.Typer:
    """For one command that is a word of its own."""
    return typer.Typer(
        rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False, context_settings=SETTINGS
    )


def group(help_text: str) -> typer.Typer:
    """For a word with commands below it."""
    app = single()
    app.info.cls = WholeLines
    app.info.help = help_text
    app.info.no_args_is_help = True

    @app.callback()
    def _group() -> None:
        pass

    return app
