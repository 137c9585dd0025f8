"""Figures, the table for people, and build/bench.json."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

FILE = Path("build") / "bench.json"


@dataclass(frozen=True, slots=True)
class Figure:
    """One result.

    against: what the ratio compares with, and its value; empty where the figure stands alone.
    ratio: value divided by the other's value; None without one.
    mark: the first mark of performance.md in words; empty where there is none.
    met: None without a mark.
    """

    name: str
    value: float
    unit: str
    against: str = ""
    ratio: float | None = None
    mark: str = ""
    met: bool | None = None


def compared(
    name: str,
    value: float,
    unit: str,
    other: Figure,
    *,
    mark: str = "",
    meets: Callable[[float, float], bool] | None = None,
) -> Figure:
    """A figure beside another. meets: whether value and ratio reach the mark."""
    ratio = value / other.value if other.value else None
    met = meets(value, ratio) if meets is not None and ratio is not None else None
    against = f"{other.name}: {_number(other.value)} {other.unit}"
    return Figure(name, value, unit, against, ratio, mark, met)


def show(figures: list[Figure]) -> None:
    """Prints the table."""
    table = Table("benchmark", "value", "unit", "against", "ratio", "first mark", "met")
    for figure in figures:
        table.add_row(
            figure.name,
            _number(figure.value),
            figure.unit,
            figure.against,
            "" if figure.ratio is None else f"{figure.ratio:.3g}",
            figure.mark,
            {True: "yes", False: "NO", None: ""}[figure.met],
        )
    Console(width=170).print(table)


def write(figures: list[Figure]) -> None:
    """Writes build/bench.json."""
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps([asdict(figure) for figure in figures], indent=2) + "\n", "utf-8")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
