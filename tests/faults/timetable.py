"""Which faults come when: drawn from a seed, so that a run can be made again."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from faults.breakages import Breakage

TOGETHER = 0.5
"""How often two faults come at once."""

QUIET = (1.0, 3.0)
"""Seconds beside the time that recovery may take."""


@dataclass(frozen=True, slots=True)
class Planned:
    """Faults that are there at once, for so many seconds, and the quiet after them."""

    breakages: tuple[Breakage[Any], ...]
    lasts: float
    quiet: float


def timetable(catalogue: Sequence[Breakage[Any]], count: int, chance: random.Random) -> list[Planned]:
    """At least `count` faults: each kind once before any comes again."""
    planned: list[Planned] = []
    deck: list[Breakage[Any]] = []
    drawn = 0
    while drawn < count:
        hand = [_draw(deck, catalogue, chance)]
        if chance.random() < TOGETHER:
            hand.append(_draw(deck, catalogue, chance))
        drawn += len(hand)
        planned.append(_planned(hand, chance))
    return planned


def _draw(deck: list[Breakage[Any]], catalogue: Sequence[Breakage[Any]], chance: random.Random) -> Breakage[Any]:
    if not deck:
        deck += chance.sample(list(catalogue), len(catalogue))
    return deck.pop()


def _planned(hand: Sequence[Breakage[Any]], chance: random.Random) -> Planned:
    lasts = max(chance.uniform(*breakage.lasts) for breakage in hand)
    quiet = max(breakage.recovery for breakage in hand) + chance.uniform(*QUIET)
    return Planned(tuple(sorted(hand, key=lambda breakage: not breakage.asks)), lasts, quiet)
