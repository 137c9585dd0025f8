"""The scheduler's work in figures: the ledger with a counter beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, cast

from dts.domain.columns import count_ids, unpack
from dts.pb.dts.v1 import (
    Assignments,
    ClaimRequest,
    ClaimResponse,
    DatabaseServiceBase,
    DescribeDatabaseRequest,
    MaterialiseRequest,
    MaterialiseResponse,
    Reason,
    RecordRequest,
    RecordResponse,
    Reports,
    RunState,
    SweepRequest,
    SweepResponse,
    Tally,
)
from dts.runtime.metrics import LATENESS, Metrics

DESCRIBED_SECONDS = 5.0
"""How long the database's word about itself is good enough for a figure."""


class CountedLedger:
    """The Database Service as the scheduler calls it; counts what goes through.

    Args:
        ledger: the service, or a stub of it.
        metrics: where the figures are kept.
        monotonic: seconds that never go back.
    """

    def __init__(self, ledger: DatabaseServiceBase, metrics: Metrics, monotonic: Any) -> None:
        self._ledger = ledger
        self._monotonic = monotonic
        self._materialised = metrics.counts(
            "dts_scheduler_materialised_runs_total", "Runs that were written into the ledger before they were due."
        )
        self._claimed = metrics.counts("dts_scheduler_claimed_runs_total", "Attempts that were given to nodes.")
        self._late = metrics.spread(
            "dts_scheduler_claim_lateness_seconds",
            "How long after its instant an attempt was claimed.",
            bounds=LATENESS,
        )
        self._reports = metrics.counts(
            "dts_scheduler_reports_total",
            "Attempts that executors reported as running or ended. A report whose answer was lost comes again.",
            "state",
            "reason",
        )
        self._swept = metrics.counts(
            "dts_scheduler_swept_runs_total", "Runs that were settled without their node.", "what"
        )
        self._ended = metrics.counts(
            "dts_ticks_total",
            "Ticks and requests that are over, by how and why. A stretch of missed ticks counts with all of them.",
            "state",
            "reason",
        )
        self._described: dict[str, float] = {}
        self._described_at = float("-inf")
        metrics.before.append(self._describe)
        metrics.read(
            "dts_scheduler_live_runs",
            "Runs that are not over: pending, waiting and running, of the whole installation.",
            kind="gauge",
            read=lambda: self._known("live"),
        )
        metrics.read(
            "dts_scheduler_oldest_wait_seconds",
            "How late the oldest run is that could start, of the whole installation.",
            kind="gauge",
            read=lambda: self._known("wait"),
        )
        metrics.read(
            "dts_scheduler_unsent_messages",
            "Messages to channels that are to be sent, of the whole installation.",
            kind="gauge",
            read=lambda: self._known("unsent"),
        )
        metrics.read(
            "dts_scheduler_oldest_unsent_seconds",
            "How old the oldest of them is that does not wait for a digest or the end of quiet hours.",
            kind="gauge",
            read=lambda: self._known("unsent_for"),
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def materialise(self, message: MaterialiseRequest, /) -> MaterialiseResponse:
        """Writes coming ticks."""
        response = await self._ledger.materialise(message)
        self._materialised.add(by=response.runs)
        self._count_ended(response.ended)
        return response

    async def claim(self, message: ClaimRequest, /) -> ClaimResponse:
        """Claims due runs."""
        response = await self._ledger.claim(message)
        for work in response.assignments:
            if work.assignments is not None:
                self._count_claimed(work.assignments)
        self._count_ended(response.ended)
        return response

    async def record(self, message: RecordRequest, /) -> RecordResponse:
        """Stores what became of attempts."""
        response = await self._ledger.record(message)
        if message.reports is not None:
            self._count_reported(message.reports)
        self._count_ended(response.ended)
        return response

    async def sweep(self, message: SweepRequest, /) -> SweepResponse:
        """Settles what is over."""
        response = await self._ledger.sweep(message)
        for what in ("unknown", "lost", "expired", "released"):
            self._swept.add(what, by=getattr(response, what))
        self._count_ended(response.ended)
        return response

    def _count_ended(self, ended: Iterable[Tally]) -> None:
        for one in ended:
            self._ended.add(_word(RunState, one.state), _word(Reason, one.reason), by=one.ticks)

    def _count_claimed(self, given: Assignments) -> None:
        rows = count_ids(given.run_ids)
        self._claimed.add(by=rows)
        starts = Counter(unpack("q", given.start_in, rows=rows, field="start_in"))
        for start_in, times in starts.items():
            self._late.add(max(0.0, -start_in / 1_000_000), times=times)

    def _count_reported(self, reports: Reports) -> None:
        for (state, reason), times in Counter(zip(reports.states, reports.reasons, strict=False)).items():
            self._reports.add(_word(RunState, state), _word(Reason, reason), by=times)

    async def _describe(self) -> None:
        if self._monotonic() < self._described_at + DESCRIBED_SECONDS:
            return
        self._described = {}
        self._described_at = self._monotonic()
        found = await self._ledger.describe_database(DescribeDatabaseRequest())
        wait = found.oldest_wait.total_seconds() if found.oldest_wait is not None else 0.0
        unsent = found.oldest_unsent.total_seconds() if found.oldest_unsent is not None else 0.0
        self._described = {"live": found.live_runs, "wait": wait, "unsent": found.unsent, "unsent_for": unsent}

    def _known(self, name: str) -> dict[tuple[str, ...], float]:
        return {(): self._described[name]} if name in self._described else {}


def counted(ledger: DatabaseServiceBase, metrics: Metrics, monotonic: Any) -> DatabaseServiceBase:
    """The ledger, counted."""
    return cast("DatabaseServiceBase", CountedLedger(ledger, metrics, monotonic))


def _word(kind: type[RunState | Reason], number: int) -> str:
    """The name of a state or reason; numbers that an executor made up are all one."""
    try:
        return (kind(number).name or "other").lower()
    except ValueError:
        return "other"
