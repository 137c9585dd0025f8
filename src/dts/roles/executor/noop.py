"""The kind `noop`: succeeds at once. No task per attempt: what is due together starts and ends together.

A result is not journaled. If the executor is killed before it is acknowledged, the attempt is one that the ledger gave
to the node and that the node does not hold when it attaches again: it is sent again, and does nothing a second time.
If the node does not come back, its lease ends and the attempt is given to another node, as any that never started.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dts.pb.dts.v1 import Reason, ReportDetail, RunState
from dts.roles.executor.keys import Key
from dts.roles.executor.lease import Lease
from dts.roles.executor.outbox import Outbox, Result
from dts.roles.executor.timetable import Monotonic, Timetable

LATE = "it could not start before its start deadline"


class Noops:
    """Attempts of the kind that wait for their instant."""

    def __init__(self, timetable: Timetable, outbox: Outbox, lease: Lease, monotonic: Monotonic) -> None:
        self._timetable = timetable
        self._outbox = outbox
        self._lease = lease
        self._monotonic = monotonic
        self._waiting: dict[Key, None] = {}

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def __contains__(self, key: Key) -> bool:
        return key in self._waiting

    def __iter__(self) -> Iterator[Key]:
        return iter(self._waiting)

    def add(self, keys: Sequence[Key], *, due: float, start_by: float) -> None:
        """Attempts that are due together."""
        self._waiting.update(dict.fromkeys(keys))
        self._timetable.at(due, lambda: self._run(keys, due, start_by))

    def drop(self, key: Key) -> bool:
        """Forgets one that has not started; says whether there was one."""
        return self._waiting.pop(key, self) is None

    def give_up(self) -> list[Key]:
        """Forgets all; answers which there were."""
        given_up, self._waiting = list(self._waiting), {}
        return given_up

    def _run(self, keys: Sequence[Key], due: float, start_by: float) -> None:
        started = self._monotonic()
        if not self._lease.holds(started):
            return  # whoever watches the lease gives them up
        left = [key for key in keys if self._waiting.pop(key, self) is None]
        if left:
            if started <= start_by:
                self._timetable.started(started - due, len(left))
            self._outbox.add(left, _result(started, self._monotonic(), start_by))


def _result(started: float, finished: float, start_by: float) -> Result:
    if started > start_by:
        detail = ReportDetail(message=LATE)
        return Result(RunState.FAILED, Reason.START_DEADLINE, finished=finished, detail=detail)
    return Result(RunState.SUCCEEDED, Reason.OK, exit_code=0, started=started, finished=finished)
