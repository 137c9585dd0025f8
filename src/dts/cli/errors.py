"""How errors are told: one line that says what and where, one that says what to do, and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from typing import TextIO

import typer

from dts.domain.errors import (
    AlreadyExists,
    Conflict,
    DeadlineExceeded,
    DtsError,
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)

FAILED = 1
USAGE = 2
TROUBLE = 2
NOT_FOUND = 3
UNREACHABLE = 4
NOT_ALLOWED = 5
INTERRUPTED = 130
BROKEN_PIPE = 141

_MEANING: tuple[tuple[type[DtsError], int, str], ...] = (
    (InvalidArgument, USAGE, ""),
    (NotFound, NOT_FOUND, ""),
    (Unavailable, UNREACHABLE, "try again; `dts status` says which part is not well"),
    (DeadlineExceeded, UNREACHABLE, "try again; `dts status` says which part is not well"),
    (Unauthenticated, NOT_ALLOWED, "set DTS_TOKEN or DTS_TOKEN_FILE; `dts dev` leaves its own in its data directory"),
    (PermissionDenied, NOT_ALLOWED, "ask whoever runs this dts"),
    (AlreadyExists, FAILED, ""),
    (Internal, FAILED, "the log of the server says more"),
    (Conflict, FAILED, "read it again and repeat the change"),
)


_LISTED = ("task", "run", "node", "token")
"""What `dts … list` lists, by the first word of an error's code."""

_HERE = "is it running? `dts dev` starts one here; DTS_SERVER names one elsewhere"
_THERE = "is it running there? DTS_SERVER says where"

_BY_CODE = {
    "unavailable": _HERE,
    "connection.lost": _HERE,
    "database.unreachable": "is it running? the role database and `dts db` find it by DTS_DSN",
    "database.refuses": "the role database and `dts db` have user and password from DTS_DSN and DTS_DSN_PASSWORD_FILE",
    "token.lookup": "the gateway does not reach the role database: while they start, try again in some seconds",
    "task.exists": "take another name, or change that one with `dts task set` or `dts apply`",
}
"""What to do, where the code of an error says more than its kind."""


class Failed(Exception):
    """What was asked for did not succeed, and was told already. code: the exit code."""

    def __init__(self, code: int = FAILED) -> None:
        super().__init__(code)
        self.code = code


class Trouble(Exception):
    """Something went wrong in a command whose exit code 1 is an answer: its cause says what, and 1 becomes 2."""


def exit_code_of(error: BaseException, *, debug: bool) -> int:
    """Tells an error on standard error; the exit code that belongs to it."""
    if isinstance(error, Failed):
        return error.code
    if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
        return error.code if isinstance(error.code, int) else FAILED
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return INTERRUPTED
    if isinstance(_cause(error), BrokenPipeError):
        discard(sys.stdout)
        return BROKEN_PIPE
    show = getattr(error, "show", None)
    if show is not None and hasattr(error, "exit_code"):  # a mistake in the use of the command line: Typer knows it
        show()
        return USAGE
    if debug:
        traceback.print_exception(error)
    return _tell(error)


def _tell(error: BaseException) -> int:
    if isinstance(error, Trouble) and error.__cause__ is not None:
        code = exit_code_of(error.__cause__, debug=False)
        return TROUBLE if code == FAILED else code
    if isinstance(error, InvalidArgument):
        for violation in error.violations:
            say(f"error: {violation}")
        return USAGE
    if isinstance(error, OSError):
        # Such as a disk that is full below our standard output: nobody's bug.
        discard(sys.stdout)
        say(f"error: {error.filename or 'standard output'}: {error.strerror or error}")
        say("  see that it exists, is yours, and has room")
        return FAILED
    if not isinstance(error, DtsError):
        say(f"error: {type(error).__name__}: {error}")
        say("  this is a bug of dts; repeat with --debug to see where")
        return FAILED
    code, advice = next(((code, advice) for kind, code, advice in _MEANING if isinstance(error, kind)), (FAILED, ""))
    thing = error.code.partition(".")[0]
    if isinstance(error, NotFound) and thing in _LISTED:
        advice = f"see `dts {thing} list`"
    advice = _BY_CODE.get(error.code, advice)
    if advice == _HERE and os.environ.get("DTS_SERVER"):
        advice = _THERE
    say(f"error: {error.message}")
    if advice:
        say(f"  {advice}")
    return code


def say(line: str) -> None:
    """Prints a line on standard error; what cannot be shown, or would act on a terminal, is escaped."""
    print(printable(line), file=sys.stderr)


def printable(text: str) -> str:
    """Text that cannot do anything to a terminal: control characters are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def discard(stream: TextIO | None) -> None:
    """Lets what is left for a stream that takes nothing more go nowhere, so that the end does not stumble over it."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno() if stream else 1)
    except (OSError, ValueError):
        return  # it is no file: nothing is left for it


def _cause(error: BaseException) -> BaseException | None:
    """What happened; Typer turns a broken pipe into an exit of its own."""
    return error.__context__ if isinstance(error, SystemExit) else error
