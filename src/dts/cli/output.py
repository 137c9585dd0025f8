"""Three ways to print: a table for people, JSON and YAML for scripts."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import typer

from dts.cli.errors import printable

STYLES = {
    "succeeded": "green",
    "ready": "green",
    "failed": "red",
    "timed_out": "red",
    "down": "red",
    "running": "cyan",
    "assigned": "cyan",
    "unknown": "magenta",
    "cancelled": "yellow",
    "skipped": "yellow",
    "paused": "yellow",
    "draining": "yellow",
}


class Format(StrEnum):
    """How to print."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


FORMAT = typer.Option(Format.TABLE, "--output", "-o", help="table, json or yaml.", show_default="table")


def show(
    rows: Sequence[Mapping[str, Any]],
    table: Sequence[Sequence[str]],
    header: Sequence[str],
    form: Format,
    *,
    empty: str,
) -> None:
    """Prints a list.

    Args:
        rows: for scripts.
        table: the same for people, one sequence of cells for each row.
        header: of the table.
        form: which of them.
        empty: what to tell people when there is nothing; on standard error, so that a pipe gets nothing.
    """
    if form is not Format.TABLE:
        dump(list(rows), form)
    elif not rows:
        print(empty, file=sys.stderr)
    else:
        _print_table(header, table)


def show_one(row: Mapping[str, Any], lines: Sequence[tuple[str, str]], form: Format) -> None:
    """Prints one thing: an object for scripts, named lines for people."""
    if form is not Format.TABLE:
        dump(row, form)
        return
    width = max((len(name) for name, _ in lines), default=0)
    for name, text in lines:
        print(f"{name:<{width}}  {printable(text)}".rstrip())


def dump(value: object, form: Format) -> None:
    """Prints a value as JSON or YAML."""
    if form is Format.JSON:
        print(json.dumps(value, indent=2, ensure_ascii=not _is_utf8()))
        return
    import yaml

    print(yaml.safe_dump(value, sort_keys=False, allow_unicode=_is_utf8()), end="")


def _is_utf8() -> bool:
    return sys.stdout is None or (sys.stdout.encoding or "").replace("-", "").lower() == "utf8"


def _print_table(header: Sequence[str], table: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    terminal = sys.stdout is not None and sys.stdout.isatty()
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in header:
        made.add_column(name, no_wrap=True, overflow="ignore" if not terminal else "ellipsis")
    for cells in table:
        made.add_row(*(Text(printable(cell), style=STYLES.get(cell, "")) for cell in cells))
    color = terminal and not os.environ.get("NO_COLOR")
    width = None if terminal else max(80, sum(_width(header, table)) + 2 * len(header))
    # Told, because rich would also believe FORCE_COLOR, and then a script gets escapes.
    console = Console(width=width, no_color=not color, force_terminal=terminal, highlight=False)
    with console.capture() as captured:
        console.print(made)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _width(header: Sequence[str], table: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(name), *(len(printable(row[n])) * 2 for row in table)) for n, name in enumerate(header)]
