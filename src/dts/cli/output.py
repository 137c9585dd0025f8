"""Three ways to print: a table for people, JSON and YAML for scripts."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Literal

import typer

from dts.cli.errors import printable, say

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


RIGHT = frozenset({"LATE", "TOOK"})
"""Columns of durations, which are compared at their ends."""

WRAPPED = frozenset({"", "SCHEDULE", "KINDS", "LABELS", "NOTE", "NAMES", "TASKS", "OVERLAP", "ROOM", "WHY", "EFFECT"})
"""Columns of words, which may take several lines; the last resort for the others is to be cut."""

WRAPPED_AT = 20
"""So wide such a column wants to be at least."""

GAP = 2


class Format(StrEnum):
    """How to print."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


FORMAT = typer.Option(
    Format.TABLE, "--output", "-o", metavar="FORM", help="table, json or yaml. [default: table]", show_default=False
)


def show(
    rows: Sequence[Mapping[str, Any]],
    table: Sequence[Sequence[str]],
    header: Sequence[str],
    form: Format,
    *,
    empty: str,
    spare: Sequence[str] = (),
) -> None:
    """Prints a list.

    Args:
        rows: for scripts.
        table: the same for people, one sequence of cells for each row.
        header: of the table.
        form: which of them.
        empty: what to tell people when there is nothing; on standard error, so that a pipe gets nothing.
        spare: columns that a narrow terminal does without, the first one first.
    """
    if form is not Format.TABLE:
        dump(list(rows), form)
    elif not rows:
        print(empty, file=sys.stderr)
    else:
        _print_table(header, table, spare)


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


def _print_table(header: Sequence[str], table: Sequence[Sequence[str]], spare: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    terminal = sys.stdout is not None and sys.stdout.isatty()
    widths = _widths(header, table)
    room = shutil.get_terminal_size().columns if terminal else max(80, sum(widths) + GAP * len(header))
    left_out = _left_out(header, widths, spare, room)
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0))
    for name in header:
        if name in left_out:
            continue
        side: Literal["left", "right"] = "right" if name in RIGHT else "left"
        if terminal and name in WRAPPED:
            made.add_column(name, justify=side, overflow="fold")
        else:
            made.add_column(name, justify=side, no_wrap=True, overflow="ellipsis" if terminal else "crop")
    for cells in table:
        shown = (cell for name, cell in zip(header, cells, strict=True) if name not in left_out)
        made.add_row(*(Text(printable(cell), style=STYLES.get(cell, "")) for cell in shown))
    color = terminal and not os.environ.get("NO_COLOR")
    # Told, because rich would also believe FORCE_COLOR, and then a script gets escapes.
    console = Console(width=room, no_color=not color, force_terminal=terminal, highlight=False)
    with console.capture() as captured:
        console.print(made)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))
    if left_out:
        say(f"({', '.join(left_out)}: on a wider terminal, or with -o json)")


def _left_out(header: Sequence[str], widths: Sequence[int], spare: Sequence[str], room: int) -> list[str]:
    """The columns to do without, so that the others can be read."""
    needs = [
        (name, min(width, max(WRAPPED_AT, len(name))) if name in WRAPPED else width)
        for name, width in zip(header, widths, strict=True)
    ]
    out: list[str] = []
    for name in spare:
        if sum(width + GAP for other, width in needs if other not in out) - GAP <= room:
            break
        out.append(name)
    return out


def _widths(header: Sequence[str], table: Sequence[Sequence[str]]) -> list[int]:
    from rich.cells import cell_len

    return [max(len(name), *(cell_len(printable(row[n])) for row in table)) for n, name in enumerate(header)]
