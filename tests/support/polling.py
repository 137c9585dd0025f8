"""Wait for what a test expects, instead of for seconds."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")

POLL_SECONDS = 0.02


@overload
async def eventually(check: Callable[[], Awaitable[T]], *, within: float = 10.0) -> T: ...


@overload
async def eventually(check: Callable[[], T], *, within: float = 10.0) -> T: ...


async def eventually(check: Callable[[], Any], *, within: float = 10.0) -> Any:
    """The first true value `check` returns.

    A check may also assert: its AssertionError counts as "not yet", and is what the test fails with in the end.
    """
    clock = asyncio.get_running_loop().time
    until = clock() + within
    while True:
        try:
            found = check()
            value = await found if inspect.isawaitable(found) else found
        except AssertionError:
            if clock() >= until:
                raise
        else:
            if value:
                return value
            if clock() >= until:
                raise AssertionError(f"still {value!r} after {within:g} s")
        await asyncio.sleep(POLL_SECONDS)
