"""Progress of long work: a line on standard error where that is a terminal, and nothing at all elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dts.cli.errors import printable

if TYPE_CHECKING:
    from rich.progress import Progress as Bar


class Progress:
    """What is told while something takes long. A progress that nobody sees is this one, which does nothing."""

    def reached(self, done: int) -> None:
        """So much of the total is done."""

    def says(self, words: str) -> None:
        """What is going on now."""


@contextmanager
def progress(what: str, *, total: int | None = None) -> Iterator[Progress]:
    """Tells how far something is while it takes long; the line is gone when it is over.

    Args:
        what: is done, such as `applying 12 tasks`.
        total: how much there is to do; None where nobody knows.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield Progress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns: list[ProgressColumn] = [TextColumn("{task.description}", markup=False)]
    columns += [BarColumn(), MofNCompleteColumn()] if total is not None else []
    console = Console(stderr=True, no_color=bool(os.environ.get("NO_COLOR")))
    with Bar(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        yield _Shown(bar, what, total)


class _Shown(Progress):
    def __init__(self, bar: Bar, what: str, total: int | None) -> None:
        self._bar = bar
        self._what = what
        self._task = bar.add_task(what, total=total)

    def reached(self, done: int) -> None:
        self._bar.update(self._task, completed=done)

    def says(self, words: str) -> None:
        self._bar.update(self._task, description=f"{self._what}: {printable(words)}")
