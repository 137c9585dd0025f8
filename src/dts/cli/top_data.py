"""What `dts top` shows, as values: what the server says at one moment, and where somebody is in it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from dts.cli.client import Client
from dts.domain.runs import FINAL, LIVE
from dts.pb.dts.v1 import ListNodesRequest, ListRunsRequest, ListUpcomingRequest, Node, Run, RunState, Tick

LISTED = 200
UPCOMING = 50
LOG_LINES = 5000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the server said.

    at: when, by the clock of this machine. running: runs that are not over and whose instant has come, oldest first.
    upcoming: ticks, oldest first. recent: runs that are over, newest first.
    """

    at: datetime
    nodes: Sequence[Node] = ()
    running: Sequence[Run] = ()
    upcoming: Sequence[Tick] = ()
    recent: Sequence[Run] = ()


async def look(client: Client, now: datetime) -> Snapshot:
    """Asks for everything at once.

    Raises:
        DtsError: as the services say.
    """
    nodes, live, coming, past = await asyncio.gather(
        client.scheduler.list_nodes(ListNodesRequest()),
        client.scheduler.list_runs(ListRunsRequest(states=sorted(LIVE), page_size=LISTED)),
        client.scheduler.list_upcoming(ListUpcomingRequest(within=timedelta(hours=24), limit=UPCOMING)),
        client.scheduler.list_runs(ListRunsRequest(states=sorted(FINAL), page_size=LISTED)),
    )
    begun = [run for run in live.runs if run.state is not RunState.PENDING or _is_due(run, now)]
    return Snapshot(now, nodes.nodes, begun[::-1], coming.ticks, past.runs)


def _is_due(run: Run, now: datetime) -> bool:
    return run.scheduled_at is None or run.scheduled_at <= now


@dataclass(slots=True)
class LogView:
    """The log of a run, its last lines, each with whether it is of standard error.

    partial: the bytes of each stream that follow its last end of a line. over: no more will come.
    """

    run: Run
    lines: deque[tuple[bool, str]] = field(default_factory=lambda: deque(maxlen=LOG_LINES))
    partial: dict[bool, bytes] = field(default_factory=dict)
    over: bool = False

    def add(self, content: bytes, *, error: bool) -> None:
        """More of a stream."""
        *whole, rest = (self.partial.get(error, b"") + content).split(b"\n")
        self.lines.extend((error, line.decode(errors="replace")) for line in whole)
        self.partial[error] = rest

    def last(self, count: int) -> list[tuple[bool, str]]:
        """The last lines."""
        rest = [(error, line.decode(errors="replace")) for error, line in self.partial.items() if line]
        return [*self.lines, *rest][-count:]


@dataclass(slots=True)
class Place:
    """Where somebody is.

    chosen: id of the run that the pointer is on. message: what the last key did.
    asked: a question that waits for y. log: what is open instead of the lists.
    """

    chosen: str = ""
    message: str = ""
    asked: str = ""
    log: LogView | None = None

    def move(self, runs: Sequence[Run], step: int) -> None:
        """Moves the pointer among the runs that are shown."""
        if runs:
            self.chosen = runs[min(max(self._index(runs) + step, 0), len(runs) - 1)].id

    def run(self, runs: Sequence[Run]) -> Run | None:
        """The run that the pointer is on."""
        return runs[self._index(runs)] if runs else None

    def _index(self, runs: Sequence[Run]) -> int:
        """Where the pointer is: at the first if its run is not shown any more."""
        return next((number for number, run in enumerate(runs) if run.id == self.chosen), 0)
