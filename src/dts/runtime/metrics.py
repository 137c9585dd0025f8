"""What a process counts: made once at the top and handed down; whoever counts knows nothing of how it is told.

Counting is adding to a dictionary. Whatever can be read when somebody asks is read then, and counted by nobody.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds for what takes as long as a call."""

LATENESS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Bounds for what should have been at an instant."""

Labels = tuple[str, ...]
Values = Mapping[Labels, float]
Read = Callable[[], Values]


class Counts:
    """Numbers that only grow, by the values of their labels."""

    def __init__(self) -> None:
        self.values: dict[Labels, float] = {}

    def add(self, *labels: str, by: float = 1) -> None:
        """So many more of these."""
        self.values[labels] = self.values.get(labels, 0) + by


class Spread:
    """How often a figure was how large, by the values of its labels.

    Args:
        bounds: upper bounds of the classes, ascending; above the last there is one more class.
    """

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.classes: dict[Labels, list[int]] = {}
        self.sums: dict[Labels, float] = {}

    def add(self, value: float, *labels: str, times: int = 1) -> None:
        """The figure was this, so many times."""
        classes = self.classes.get(labels)
        if classes is None:
            classes = self.classes[labels] = [0] * (len(self.bounds) + 1)
            self.sums[labels] = 0.0
        classes[bisect_left(self.bounds, value)] += times
        self.sums[labels] += value * times


@dataclass(frozen=True, slots=True)
class Family:
    """Figures of one name. kind: `counter` for what only grows."""

    name: str
    text: str
    labels: Labels
    kind: Literal["counter", "gauge"]
    read: Read


@dataclass(frozen=True, slots=True)
class SpreadFamily:
    """A `Spread` and its name."""

    name: str
    text: str
    labels: Labels
    spread: Spread


@dataclass(slots=True)
class Metrics:
    """Every figure of a process. Names begin with `dts_`, units are seconds and bytes, labels have few values.

    before: is awaited before the figures are read, for what only a question to somebody else can tell.
    """

    families: list[Family] = field(default_factory=list)
    spreads: list[SpreadFamily] = field(default_factory=list)
    before: list[Callable[[], Awaitable[None]]] = field(default_factory=list)

    def counts(self, name: str, text: str, *labels: str) -> Counts:
        """Numbers that are counted as it happens. The name ends in `_total`."""
        counts = Counts()
        self.families.append(Family(name, text, labels, "counter", lambda: counts.values))
        return counts

    def spread(self, name: str, text: str, *labels: str, bounds: tuple[float, ...] = SECONDS) -> Spread:
        """Figures whose distribution is kept."""
        spread = Spread(bounds)
        self.spreads.append(SpreadFamily(name, text, labels, spread))
        return spread

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """A figure that is read when somebody asks."""
        self.families.append(Family(name, text, (), "gauge", lambda: {(): read()}))

    def read(self, name: str, text: str, *labels: str, kind: Literal["counter", "gauge"], read: Read) -> None:
        """Figures with labels that are read when somebody asks."""
        self.families.append(Family(name, text, labels, kind, read))


def by_name(rows: Iterable[tuple[str, float]]) -> Values:
    """Figures with one label."""
    return {(name,): value for name, value in rows}


def cumulative(classes: Iterable[int]) -> Iterator[int]:
    """How many were at most as large as each bound."""
    total = 0
    for count in classes:
        total += count
        yield total
