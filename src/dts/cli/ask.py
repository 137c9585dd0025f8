"""Questions, on a terminal only. A script never waits for an answer that nobody gives."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import typer

from dts.domain.errors import InvalidArgument


def on_terminal() -> bool:
    """Whether somebody is there to answer."""
    # A stream is None where the caller has closed it.
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


async def choose(question: str, choices: Sequence[str], *, field: str) -> str:
    """Lets a person pick one.

    Raises:
        InvalidArgument: there is no terminal, or nothing to pick from.
    """
    if not on_terminal():
        raise missing(field)
    if not choices:
        raise InvalidArgument.of(field, "argument.missing", "is missing, and there is nothing to pick from")
    import questionary

    return _answered(await questionary.select(question, choices=list(choices)).ask_async())


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


async def confirmed(question: str) -> bool:
    """Asks whether to go on; without a terminal nobody can object, so it goes on."""
    if not on_terminal():
        return True
    import questionary

    return bool(await questionary.confirm(question, default=False).ask_async())


def missing(field: str) -> InvalidArgument:
    """What is told where nobody can be asked."""
    return InvalidArgument.of(field, "argument.missing", "is missing; give it, for it is asked for on a terminal only")


def _answered(answer: str | None) -> str:
    if answer is None:  # Ctrl-C
        raise typer.Abort
    return answer
