"""Figures of a process as Prometheus reads them: https://prometheus.io/docs/instrumenting/exposition_formats."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from dts.domain.errors import DtsError
from dts.runtime.metrics import Family, Metrics, SpreadFamily, cumulative

log = logging.getLogger(__name__)

ASK_SECONDS = 2.0
"""How long those may take who must ask others first; then what they knew last is told."""


class Exposition:
    """Tells the figures of a process, with those of the operating system about it.

    Args:
        metrics: ours.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Ours(metrics))
        ProcessCollector(registry=self._registry)

    async def text(self) -> bytes:
        """All figures as they are now."""
        await self._ask()
        return generate_latest(self._registry)

    async def _ask(self) -> None:
        for ask in self._metrics.before:
            try:
                async with asyncio.timeout(ASK_SECONDS):
                    await ask()
            except (DtsError, TimeoutError) as error:
                log.debug("a figure is not known: %s", error)


class _Ours(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """The figures in the library's own shape."""
        for family in self._metrics.families:
            yield _family(family)
        for spread in self._metrics.spreads:
            yield _spread(spread)


def _family(family: Family) -> Metric:
    shape = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    told = shape(family.name, family.text, labels=family.labels)
    for labels, value in family.read().items():
        told.add_metric(labels, value)
    return told


def _spread(family: SpreadFamily) -> Metric:
    told = HistogramMetricFamily(family.name, family.text, labels=family.labels)
    spread = family.spread
    names = [*(f"{bound:g}" for bound in spread.bounds), "+Inf"]
    for labels, classes in spread.classes.items():
        told.add_metric(labels, list(zip(names, cumulative(classes), strict=True)), sum_value=spread.sums[labels])
    return told
