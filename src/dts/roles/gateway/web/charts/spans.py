"""How long something took over time: a bar for each of the latest runs, or a band from median to p95 for each day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from dts.domain.ids import MICROSECOND
from dts.pb.dts.v1 import RunState
from dts.roles.gateway.web.charts.outcomes import COLOURS

WIDTH = 600
HEIGHT = 120
HEADROOM = 1.05


@dataclass(frozen=True, slots=True)
class Bars:
    """The latest runs. paths: what to draw, by class; median, p95: where and how long they are; None without runs."""

    paths: dict[str, str]
    median: timedelta | None
    p95: timedelta | None
    median_y: float
    p95_y: float
    top: timedelta


@dataclass(frozen=True, slots=True)
class Band:
    """By day: the outline of median to p95, and the line of the median."""

    band: str
    line: str
    top: timedelta
    days: int


def bars(states: Sequence[RunState], spans: Sequence[int]) -> Bars:
    """A bar for each run that has a span, oldest first. spans: microseconds; -1 for none."""
    told = sorted(span for span in spans if span >= 0)
    top = max(told, default=0) * HEADROOM or 1.0
    width = WIDTH / max(len(spans), 20)
    paths: dict[str, str] = {}
    for number, (state, span) in enumerate(zip(states, spans, strict=True)):
        if span >= 0:
            kind = COLOURS.get(state, "off")
            height = max(span / top * HEIGHT, 1.0)
            begin = f"M{number * width:.1f} {HEIGHT}v-{height:.1f}"
            paths[kind] = paths.get(kind, "") + f"{begin}h{width * 0.75:.1f}v{height:.1f}z"
    middle, high = _quantile(told, 0.5), _quantile(told, 0.95)
    return Bars(paths, _span(middle), _span(high), _y(middle, top), _y(high, top), int(top) * MICROSECOND)


def band(steps: Sequence[int], median: Sequence[int], p95: Sequence[int]) -> Band | None:
    """The same by day; None where there are too few days for a line."""
    points = [(step, low, high) for step, low, high in zip(steps, median, p95, strict=True) if low >= 0]
    if len(points) < 3:
        return None
    first, width = points[0][0], max(points[-1][0] - points[0][0], 1)
    top = max(high for _, _, high in points) * HEADROOM or 1.0
    low = [f"{(step - first) / width * WIDTH:.1f} {_y(each, top)}" for step, each, _ in points]
    high = [f"{(step - first) / width * WIDTH:.1f} {_y(each, top)}" for step, _, each in points]
    outline = "M" + "L".join([*high, *reversed(low)]) + "z"
    return Band(outline, "M" + "L".join(low), int(top) * MICROSECOND, width + 1)


def _quantile(told: Sequence[int], share: float) -> int | None:
    return told[min(int(share * len(told)), len(told) - 1)] if told else None


def _span(micros: int | None) -> timedelta | None:
    return None if micros is None else micros * MICROSECOND


def _y(micros: int | None, top: float) -> float:
    return round(HEIGHT - (micros or 0) / top * HEIGHT, 1)
