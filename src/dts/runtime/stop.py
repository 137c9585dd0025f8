"""Stop in good order when asked to, and at once when asked twice."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
INHERITED = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM)
"""Signals that a parent may have ignored for us."""


def _do_nothing(_number: int, _frame: object) -> None:
    """Ignores a signal without passing that on."""


@contextmanager
def stop_signals(leave: Callable[[int], object] = os._exit) -> Iterator[asyncio.Event]:
    """An event that is set by the first SIGTERM, SIGINT or SIGHUP; the second one ends the process.

    To be entered on the running loop of the main thread. A signal the parent told us to ignore (nohup, a shell's `&`)
    does nothing to us; but what we start must not inherit that, or its stop signal would do nothing to it either.

    Args:
        leave: ends the process; instead of `os._exit`, for tests.
    """
    stop = asyncio.Event()

    def receive(number: int) -> None:
        if stop.is_set():
            leave(128 + number)
        stop.set()

    loop = asyncio.get_running_loop()
    handled = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    for number in handled:
        loop.add_signal_handler(number, receive, number)
    ignored = [number for number in INHERITED if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        # What has a handler is back to its default in a program that is started; what is ignored stays ignored.
        signal.signal(number, _do_nothing)
    try:
        yield stop
    finally:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)
        for number in handled:
            loop.remove_signal_handler(number)
