"""What the engine says went wrong, in the family of dts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
from aiodocker.exceptions import DockerError

from dts.domain.errors import (
    Conflict,
    DeadlineExceeded,
    DtsError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unavailable,
)

LONGEST = 400
"""Engines quote whole command lines; so many characters of a message are kept."""

_FAMILY: Mapping[int, type[DtsError]] = {
    0: Unavailable,  # in the midst of a pull
    401: PermissionDenied,
    403: PermissionDenied,
    404: NotFound,
    409: Conflict,
    503: Unavailable,
}
_NOT_REACHED = 900  # aiodocker's own


@asynccontextmanager
async def asked(what: str, *, within: float | None) -> AsyncIterator[asyncio.Timeout]:
    """Around a call of the engine: its errors become ours.

    Args:
        what: completes "the engine did not …".
        within: seconds; None if the caller sets the limit.

    Raises:
        DeadlineExceeded: no answer in time; whether the call took effect is unknown.
        Unavailable: the engine is not there, or went away; whether the call took effect is unknown.
        NotFound, Conflict, InvalidArgument, PermissionDenied, FailedPrecondition: the engine refused.
    """
    try:
        async with asyncio.timeout(within) as limit:
            yield limit
    except TimeoutError as error:
        raise DeadlineExceeded(f"the engine did not {what} in time") from error
    except DockerError as error:
        raise translated(error) from error
    except (aiohttp.ClientError, OSError) as error:
        raise Unavailable(f"the engine went away before it did {what}: {type(error).__name__}") from error
    except ValueError as error:
        raise Unavailable(f"the engine's answer to {what} could not be read") from error


def translated(error: DockerError) -> DtsError:
    """The engine's refusal as an error of ours, with its own words."""
    words = sentence(error.message)
    if error.status == _NOT_REACHED:
        return Unavailable(f"the engine cannot be reached: {_cause(error)}")
    if error.status == 400:
        return InvalidArgument.of("container", "engine.refused", words)
    family = _FAMILY.get(error.status)
    return family(words) if family else FailedPrecondition(words, code="engine_error")


def _cause(error: DockerError) -> str:
    """What the operating system said; aiodocker names an address that is not ours."""
    cause = error.__context__
    words = getattr(cause, "strerror", None) or (type(cause).__name__ if cause else "no connection")
    return sentence(words)


def sentence(message: str) -> str:
    """One line of bounded length."""
    line = " ".join(message.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
