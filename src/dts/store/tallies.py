"""How many ticks ended, and how: for whoever counts them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter

from dts.pb.dts.v1 import Reason, RunState, Tally

Ending = tuple[RunState, Reason, int]
"""A row of the ledger that is over: how, why, and for how many ticks it stands."""


def tally(endings: Iterable[Ending]) -> list[Tally]:
    """The same, by how and why."""
    counts: Counter[tuple[RunState, Reason]] = Counter()
    # Neighbours first: a batch of results is mostly alike, and members of enums are slow as keys.
    for how, alike in groupby(endings, key=itemgetter(0, 1)):
        counts[how] += sum(ticks for _, _, ticks in alike)
    return [Tally(state=state, reason=reason, ticks=ticks) for (state, reason), ticks in counts.items()]
