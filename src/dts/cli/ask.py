"""Questions, on a terminal only. A script never waits for an answer that nobody gives."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import typer

from dts.cli.errors import Failed, say
from dts.domain.errors import InvalidArgument

YES = typer.Option(False, "--yes", "-y", help="Do not ask, as it does on a terminal.")


def on_terminal() -> bool:
    """Whether somebody is there to answer."""
    # A stream is None where the caller has closed it.
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


async def choose(question: str, choices: Sequence[str], *, field: str) -> str:
    """Lets a person pick one of them, by some of its letters or with the arrows.

    Raises:
        InvalidArgument: there is no terminal, or nothing to pick from.
    """
    if not on_terminal():
        raise missing(field)
    if not choices:
        raise InvalidArgument.of(field, "argument.missing", "is missing, and there is nothing to pick from")
    from dts.cli.picker import Picker

    place = await Picker(question, choices).pick()
    return _answered(None if place is None else choices[place])


async def text(
    question: str, *, field: str, default: str = "", check: Callable[[str], str | None] | None = None
) -> str:
    """Asks for a line. check: what is wrong with an answer, or None.

    Raises:
        InvalidArgument: there is no terminal.
    """
    if not on_terminal():
        raise missing(field)
    import questionary

    def valid(answer: str) -> bool | str:
        wrong = check(answer) if check else None
        return wrong or True

    return _answered(await questionary.text(question, default=default, validate=valid).ask_async())


async def agreed(question: str, *, yes: bool) -> None:
    """Asks before something is done that cannot be undone. yes: somebody said so already.

    Raises:
        Failed: they do not want it.
    """
    if not yes and not await confirmed(question):
        say("nothing was done")
        raise Failed


async def confirmed(question: str) -> bool:
    """Asks whether to go on; without a terminal nobody can object, so it goes on."""
    if not on_terminal():
        return True
    import questionary

    return bool(await questionary.confirm(question, default=False).ask_async())


def needed(value: str | None) -> str | None:
    """Callback of an argument that is asked for on a terminal, and must be given elsewhere.

    Raises:
        typer.BadParameter: it is not, and nobody is there to ask.
    """
    if value is None and not on_terminal():
        raise typer.BadParameter("it is missing, and it is asked for on a terminal only")
    return value


def missing(field: str) -> InvalidArgument:
    """What is told where nobody can be asked."""
    return InvalidArgument.of(field, "argument.missing", "is missing; give it, for it is asked for on a terminal only")


def _answered(answer: str | None) -> str:
    if answer is None:  # Ctrl-C
        raise typer.Abort
    return answer
