"""After a restart: results that were not acknowledged are sent again, work that goes on is found again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from uuid import UUID

from dts.domain.ids import to_micros
from dts.pb.dts.v1 import Assignments, Reports
from dts.roles.executor.assigned import Assigned, AssignmentReader, read_row
from dts.roles.executor.attempt import Tools
from dts.roles.executor.journal import Entry
from dts.roles.executor.keys import Key
from dts.roles.executor.outbox import decode
from dts.roles.executor.roster import Roster
from dts.roles.executor.work import Job, Runner, Work

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 5.0

TIDY_SECONDS = 30.0
"""How often leftovers are looked for after that: an engine may make what was given up meanwhile."""

Found = asyncio.Future[Work | None]


class Recovery:
    """Takes over once, at the start of the process, and tidies up from then on.

    Monotonic clocks do not outlive a machine, so how long ago work was assigned and started is told by the wall clock
    here: a step of it between two processes moves its start deadline and the end of its timeout by as much. Results
    carry what the database's clock showed.
    """

    def __init__(self, tools: Tools, roster: Roster, *, now: Callable[[], datetime], rand: Callable[[], float]) -> None:
        self._tools = tools
        self._roster = roster
        self._now = now
        self._rand = rand
        self._reader = AssignmentReader()

    def start(self, group: asyncio.TaskGroup) -> None:
        """Takes over the journal; work is looked for in the background, since an engine may not answer yet."""
        wanted: dict[str, dict[Key, tuple[Assigned, Found]]] = {kind: {} for kind in self._tools.runners}
        for key, entry in list(self._tools.journal.entries.items()):
            self._take_over(key, entry, wanted)
        for kind, jobs in wanted.items():
            if (runner := self._tools.runners.get(kind)) is not None:
                group.create_task(self._find(kind, runner, jobs), name=f"find {kind}")
            else:
                _gone(jobs)

    def _take_over(self, key: Key, entry: Entry, wanted: dict[str, dict[Key, tuple[Assigned, Found]]]) -> None:
        if entry.result:
            results = decode(Reports.parse(entry.result), self._instant(entry.result_at))
            self._tools.outbox.add(results, results[key])
        elif entry.started_at is None or not entry.job:
            # It never started and this process does not hold it: the ledger will hand it over anew.
            self._tools.journal.forget([key])
        else:
            written_at = self._instant(entry.job_at)
            job = Assignments.parse(entry.job)
            assigned = read_row(self._reader, job, written_at=written_at, clock=self._tools.clock)
            found: Found = asyncio.get_running_loop().create_future()
            wanted.setdefault(assigned.kind, {})[key] = (assigned, found)
            self._roster.adopt(assigned, found, self._instant(entry.started_at))

    def _instant(self, wall: int) -> float:
        """Monotonic time of an instant of the wall clock; never in the future."""
        return self._tools.monotonic() - max(0, to_micros(self._now()) - wall) / 1_000_000

    async def _find(self, kind: str, runner: Runner, wanted: Mapping[Key, tuple[Assigned, Found]]) -> None:
        jobs = [assigned.job for assigned, _ in wanted.values()]
        works = await self._found(kind, runner, jobs)
        self._tools.searched[kind].set()
        for assigned, found in wanted.values():
            if not found.done():
                found.set_result(works.get(assigned.job.key))
        await self._keep_tidy(kind, runner)

    async def _keep_tidy(self, kind: str, runner: Runner) -> None:
        while True:
            await asyncio.sleep(TIDY_SECONDS * (0.5 + self._rand()))
            try:
                await runner.find([])
            except Exception as error:  # noqa: BLE001 - an engine that is away is asked the next time
                log.debug("leftovers of kind %s cannot be looked for: %s", kind, error)

    async def _found(self, kind: str, runner: Runner, jobs: list[Job]) -> dict[tuple[UUID, int], Work]:
        pause = FIRST_PAUSE
        said = ""
        while True:
            try:
                return await runner.find(jobs)
            except Exception as error:  # noqa: BLE001 - an engine that does not answer will
                # Where there is no engine there may never be one: the same is said once.
                level = logging.DEBUG if str(error) == said or not jobs else logging.WARNING
                said = str(error)
                log.log(level, "what an earlier process started of kind %s cannot be looked for yet: %s", kind, error)
            await asyncio.sleep(pause * (0.5 + self._rand() / 2))
            pause = min(LONGEST_PAUSE, pause * 2)


def _gone(jobs: Mapping[Key, tuple[Assigned, Found]]) -> None:
    for _, found in jobs.values():
        found.set_result(None)
