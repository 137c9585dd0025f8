"""The latest runs of a task as a row of bars: colour is how a run ended, height how long it took."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import median

from dts.pb.dts.v1 import RunState, TaskOutcomes

HEIGHT = 20
BAR = 3
GAP = 1
LEAST = 3.0
"""The shortest bar: it must be seen."""

COLOURS = {
    RunState.SUCCEEDED: "ok",
    RunState.FAILED: "bad",
    RunState.TIMED_OUT: "bad",
    RunState.CANCELLED: "off",
    RunState.SKIPPED: "skip",
}
"""The class of each final state; those of the same class are told apart by their words."""


@dataclass(frozen=True, slots=True)
class Spark:
    """paths: what to draw, by class. told: the same in words."""

    width: int
    height: int
    paths: dict[str, str]
    told: str


def spark(outcomes: TaskOutcomes, *, slots: int) -> Spark:
    """The picture of the latest runs. slots: how many bars there is room for; the newest stands at the right."""
    longest = max((took for took in outcomes.took if took > 0), default=1)
    first = slots - len(outcomes.states)
    paths: dict[str, str] = {}
    for number, (state, took) in enumerate(zip(outcomes.states, outcomes.took, strict=True), max(first, 0)):
        # By the root: a run of an hour must not hide one of a minute.
        height = LEAST if took < 0 else max(LEAST, HEIGHT * sqrt(took / longest))
        colour = COLOURS.get(state, "off")
        paths[colour] = paths.get(colour, "") + f"M{number * (BAR + GAP)} {HEIGHT}v-{height:.1f}h{BAR}v{height:.1f}z"
    return Spark(slots * (BAR + GAP), HEIGHT, paths, _told(outcomes))


def usual(outcomes: TaskOutcomes) -> int | None:
    """How long the task usually takes: the median of what succeeded of late, in microseconds; None if nothing did."""
    good = [
        took
        for state, took in zip(outcomes.states, outcomes.took, strict=True)
        if state is RunState.SUCCEEDED and took >= 0
    ]
    return int(median(good)) if good else None


def _told(outcomes: TaskOutcomes) -> str:
    counts = {
        word: sum(COLOURS.get(state) == colour for state in outcomes.states)
        for colour, word in {"ok": "succeeded", "bad": "failed", "skip": "skipped", "off": "cancelled"}.items()
    }
    said = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    return f"of the last {len(outcomes.states)}: {said}" if said else "no run yet"
