"""The command line: what there is, loaded only when it is called."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from dts.cli.errors import exit_code_of

COMMANDS = {
    "dev": ("dts.cli.server", "All roles and an embedded PostgreSQL, in the foreground."),
    "serve": ("dts.cli.serve", "Some of the roles, in the foreground."),
    "task": ("dts.cli.task", "Define tasks, look at them, run them by hand."),
    "apply": ("dts.cli.apply", "Make the tasks be as files say."),
    "export": ("dts.cli.export", "Print tasks as a file that `dts apply` takes."),
    "schedule": ("dts.cli.schedule", "The coming ticks, oldest first."),
    "simulate": ("dts.cli.simulate", "What the coming week will do: overlaps, room on nodes, herds."),
    "diff": ("dts.cli.diff", "Which ticks change if files were applied."),
    "run": ("dts.cli.run", "What ran, what it printed; stop it, run it again."),
    "node": ("dts.cli.node", "Where work runs."),
    "explain": ("dts.cli.explain", "Why a task ran, did not run, or has not yet."),
    "top": ("dts.cli.top", "What runs, what is next, what ran: over the whole terminal."),
    "status": ("dts.cli.status", "Is every part well? Exit code 1 if not."),
    "probe": ("dts.cli.probe", "Does a process answer? For health checks of containers."),
    "channel": ("dts.cli.channel", "Whom to tell when a task fails, is late, or has recovered."),
    "token": ("dts.cli.token", "Who may call: access tokens of people and programs."),
    "pki": ("dts.cli.pki", "Certificates with which the roles know each other."),
    "db": ("dts.cli.db", "The database: migrate it, look at it, dump it."),
    "version": ("dts.cli.version", "The version of this dts."),
}


class LazyGroup(TyperGroup):
    """Knows its commands by name and one line, and imports a command only to run it or to print its help."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - Typer's signature
        """In the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command itself; a stand-in with its one line while they are listed."""
        if cmd_name not in COMMANDS:
            return None
        module, line = COMMANDS[cmd_name]
        if ctx.meta.get("listing"):
            return TyperCommand(cmd_name, help=line)
        command = typer.main.get_command(importlib.import_module(module).app)
        command.name = cmd_name
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Says which command was meant: Typer itself looks among those that are loaded, of which there are none."""
        near = difflib.get_close_matches(args[0], COMMANDS, n=1) if args and args[0] not in COMMANDS else []
        if near:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Offers the commands without importing them."""
        ctx.meta["listing"] = True
        return super().shell_complete(ctx, incomplete)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Prints the help without importing the commands."""
        ctx.meta["listing"] = True
        super().format_help(ctx, formatter)


app = typer.Typer(
    cls=LazyGroup,
    name="dts",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with `dts dev`, then in another terminal `dts task create`. Each command has --help.",
)


def _version(asked: bool) -> None:
    if asked:
        importlib.import_module("dts.cli.version").version()
        raise typer.Exit


@app.callback()
def root(
    debug: bool = typer.Option(False, "--debug", help="Show where an error came from."),
    version: bool = typer.Option(False, "--version", is_eager=True, callback=_version, help="The same as `version`."),
) -> None:
    """dts: a distributed task scheduler. Runs each task on time, exactly once, and can say why."""
    del debug, version  # read by `run`, which sees errors when the command is over, and by `_version`


def run(arguments: Sequence[str]) -> int:
    """Runs a command; the exit code. Errors are told on standard error."""
    given, debug = _split_debug(arguments)
    try:
        code = app(given, prog_name="dts", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()  # while what goes wrong can still be told
    except BaseException as error:  # noqa: BLE001 - the one place where errors become words and an exit code
        return exit_code_of(error, debug=debug)
    return code if isinstance(code, int) else 0


def _split_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """Takes `--debug` away wherever it stands: whoever repeats a command with it adds it at the end.

    What follows `--` belongs to the command of a task.
    """
    given = list(arguments)
    end = given.index("--") if "--" in given else len(given)
    own = [argument for argument in given[:end] if argument != "--debug"]
    return own + given[end:], len(own) < end
