"""When tasks last succeeded, as figures: of so few tasks that nobody's Prometheus drowns in them."""

from __future__ import annotations

from collections.abc import Callable

from dts.pb.dts.v1 import FindLastSuccessesRequest
from dts.roles.scheduler.ports import Successes
from dts.runtime.metrics import Metrics, by_name

TASKS = 200
ASKED_SECONDS = 30.0
"""How long an answer is good enough."""


def of_successes(metrics: Metrics, database: Successes, monotonic: Callable[[], float]) -> None:
    """Tells when tasks last succeeded."""
    known: dict[str, float] = {}
    asked_at = float("-inf")

    async def ask() -> None:
        nonlocal asked_at
        if monotonic() < asked_at + ASKED_SECONDS:
            return
        asked_at = monotonic()
        known.clear()
        found = await database.find_last_successes(FindLastSuccessesRequest(limit=TASKS))
        known.update({one.task: one.at.timestamp() if one.at else 0.0 for one in found.successes})

    metrics.before.append(ask)
    metrics.read(
        "dts_task_last_success_timestamp_seconds",
        "When a task last succeeded; 0: none of its last 20 runs did. At most 200 tasks, those labelled metrics first.",
        "task",
        kind="gauge",
        read=lambda: by_name(known.items()),
    )
