"""Results until they are acknowledged, and the columns in which they travel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice

from dts.domain.columns import pack, unpack
from dts.domain.ids import MICROSECOND
from dts.pb.dts.v1 import Reason, ReportDetail, Reports, RunState
from dts.roles.executor.keys import Key, key_columns

ROWS = 2000
"""At most so many results in a message; the scheduler stores a message in one transaction."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an attempt, or that it runs.

    started, finished: seconds of this process's monotonic clock; None if it has not.
    dated: when it finished by the database's clock, where an earlier process told: no monotonic clock outlives one.
    exit_code: −1 if there is none. cpu_time: microseconds. peak_memory: bytes.
    """

    state: RunState
    reason: Reason = Reason.UNSPECIFIED
    exit_code: int = -1
    started: float | None = None
    finished: float | None = None
    cpu_time: int = 0
    peak_memory: int = 0
    detail: ReportDetail | None = None
    dated: datetime | None = None


class Outbox:
    """Results in the order in which they came. `ready` is called when there is something to send."""

    def __init__(self) -> None:
        self.ready: Callable[[], None] = lambda: None
        self._results: dict[Key, Result] = {}
        self._unsent: dict[Key, Result] = {}

    def __len__(self) -> int:
        """Results that nobody has acknowledged."""
        return len(self._results)

    def __contains__(self, key: Key) -> bool:
        return key in self._results

    @property
    def unsent(self) -> bool:
        """Whether there is something to send."""
        return bool(self._unsent)

    def add(self, keys: Iterable[Key], result: Result) -> None:
        """The same final result for each of the attempts."""
        results = dict.fromkeys(keys, result)
        self._results.update(results)
        self._unsent.update(results)
        self.ready()

    def runs(self, key: Key, started: float) -> None:
        """The attempt runs. Said once and not kept: a new connection says it anew with what the node holds."""
        self._unsent[key] = Result(RunState.RUNNING, started=started)
        self.ready()

    def acknowledge(self, keys: Iterable[Key]) -> list[Key]:
        """Forgets results that are stored; answers which of them there were."""
        found = [key for key in keys if self._results.pop(key, None) is not None]
        if self._unsent:
            for key in found:
                self._unsent.pop(key, None)
        return found

    def send_again(self) -> None:
        """What was sent and not acknowledged may be lost: all of it is to be sent."""
        self._unsent = self._unsent | self._results
        if self._unsent:
            self.ready()

    def take(self, now: float, sent_at: datetime | None, *, rows: int = ROWS) -> Reports | None:
        """The next message, with times that count back from `now`; None if all is sent. sent_at: see `encode`."""
        if not self._unsent:
            return None
        keys = list(islice(self._unsent, rows))
        if len(keys) == len(self._unsent):
            taken, self._unsent = self._unsent, {}
        else:
            taken = {key: self._unsent.pop(key) for key in keys}
        return encode(taken, now, sent_at)


def encode(results: Mapping[Key, Result], now: float, sent_at: datetime | None) -> Reports:
    """Results in columns. sent_at: what the database's clock shows at `now`; None if it is not known."""
    rows = results.values()
    moments = [_counts_from(row, now, sent_at) for row in rows]
    return Reports(
        run_ids=b"".join([run_id for run_id, _ in results]),
        attempts=pack("i", [number for _, number in results]),
        states=bytes([row.state for row in rows]),
        reasons=bytes([row.reason for row in rows]),
        exit_codes=pack("i", [row.exit_code for row in rows]),
        started_ago=pack("q", [_ago(row.started, moment) for row, moment in zip(rows, moments, strict=True)]),
        finished_ago=pack("q", [_ago(row.finished, moment) for row, moment in zip(rows, moments, strict=True)]),
        cpu_time=pack("q", [row.cpu_time for row in rows]),
        peak_memory=pack("q", [row.peak_memory for row in rows]),
        details=[replace(row.detail, index=at) for at, row in enumerate(rows) if row.detail is not None],
        sent_at=sent_at,
    )


def decode(reports: Reports, sent_at: float) -> dict[Key, Result]:
    """Results again. sent_at: monotonic time from which their times count back."""
    keys = key_columns(reports.run_ids, reports.attempts)
    rows = len(keys)
    details = {detail.index: detail for detail in reports.details}
    columns = zip(
        keys,
        reports.states,
        reports.reasons,
        unpack("i", reports.exit_codes, rows=rows, field="exit_codes"),
        unpack("q", reports.started_ago, rows=rows, field="started_ago"),
        unpack("q", reports.finished_ago, rows=rows, field="finished_ago"),
        unpack("q", reports.cpu_time, rows=rows, field="cpu_time"),
        unpack("q", reports.peak_memory, rows=rows, field="peak_memory"),
        strict=True,
    )
    return {
        key: Result(
            state=RunState(state),
            reason=Reason(reason),
            exit_code=exit_code,
            started=_instant(started, sent_at),
            finished=_instant(finished, sent_at),
            cpu_time=cpu_time,
            peak_memory=peak_memory,
            detail=details.get(at),
            dated=reports.sent_at - finished * MICROSECOND if reports.sent_at and finished >= 0 else None,
        )
        for at, (key, state, reason, exit_code, started, finished, cpu_time, peak_memory) in enumerate(columns)
    }


def _counts_from(row: Result, now: float, sent_at: datetime | None) -> float:
    """The instant from which the times of a row count back: `now`, as far as the machine's own clocks can tell."""
    if row.dated is None or row.finished is None or sent_at is None:
        return now
    return row.finished + (sent_at - row.dated).total_seconds()


def _instant(ago: int, sent_at: float) -> float | None:
    return None if ago < 0 else sent_at - ago / 1_000_000


def _ago(instant: float | None, now: float) -> int:
    return -1 if instant is None else max(0, round((now - instant) * 1_000_000))
