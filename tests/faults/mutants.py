"""dts with one thing broken, for the checker to find: `python -m faults.mutants NAME serve …`.

The switch is here and not in the product: each mutant puts something else in the place of one of its functions, and
then runs it as it is.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import dts.domain.definition
import dts.runtime.loop
import dts.store.ledger
import dts.store.queries
from dts.__main__ import main
from dts.domain.policies import Effective
from dts.pb.dts.v1 import Overlap, PauseTaskRequest, PauseTaskResponse, Reason, RunState
from dts.roles.definition.service import DefinitionService
from dts.roles.executor.attempt import Attempt
from dts.roles.executor.attempt_log import StreamLog
from dts.roles.executor.outbox import Outbox
from dts.roles.executor.process import runner as process
from dts.roles.executor.process.census import Census
from dts.roles.executor.timetable import Timetable
from dts.store.queries import Query
from dts.store.upkeep import UpkeepStore

Patch = Callable[[], None]


def loses_ticks() -> None:
    """Every fifth tick that is due never gets its row."""
    plan = dts.store.ledger.plan_page

    def forgetful(*arguments: Any, **named: Any) -> Any:
        page = plan(*arguments, **named)
        return replace(page, due=tuple(tick for tick in page.due if int(tick.at.timestamp()) % 5))

    dts.store.ledger.plan_page = forgetful


def starts_twice() -> None:
    """The work of a run is started and started again."""
    _change_script(lambda script: f"( {script} ) & {script}")


def starts_early() -> None:
    """Work does not wait for its instant."""
    _shift_instants(-0.6)


def starts_late() -> None:
    """Work waits for longer than it should."""
    _shift_instants(6.0)


def recovers_slowly() -> None:
    """After a failure everybody waits for long."""
    dts.runtime.loop.back_off = lambda failures, rand: dts.runtime.loop.LONGEST_BACK_OFF  # noqa: ARG005


def overlaps() -> None:
    """No task is skipped because it still runs."""
    given = dts.domain.definition.effective

    def careless(policies: Any) -> Effective:
        return replace(given(policies), overlap=Overlap.ALLOW, max_parallel=20)

    dts.domain.definition.effective = careless


def believes_the_past() -> None:
    """A result of an earlier try, which comes again, ends the run while the next try is under way."""
    known = dts.store.queries.queries()
    for name in ("finish", "lock_attempts"):
        text = known[name].text.replace("AND run.attempt = r.attempt", "").replace("run.attempt,", "r.attempt,")
        known[name] = Query(known[name].file, name, text, known[name].parameters)
    add = Outbox.add

    def repeating(self: Outbox, keys: Any, result: Any) -> None:
        keys = list(keys)
        add(self, keys, result)
        if result.state is RunState.FAILED:
            asyncio.get_running_loop().call_later(2.5, lambda: add(self, keys, result))

    Outbox.add = repeating  # type: ignore[method-assign]


def praises() -> None:
    """Whatever the work ends with is a success."""
    outcome = Attempt._outcome

    def kind(self: Attempt, ended: Any) -> Any:
        return replace(outcome(self, ended), state=RunState.SUCCEEDED, reason=Reason.OK, exit_code=0)

    Attempt._outcome = kind  # type: ignore[method-assign]


def nods() -> None:
    """A pause is acknowledged and forgotten."""

    async def deaf(self: DefinitionService, message: PauseTaskRequest) -> PauseTaskResponse:  # noqa: ARG001
        return PauseTaskResponse()

    DefinitionService.pause_task = deaf  # type: ignore[method-assign]


def leaves_things_behind() -> None:
    """What the work left running is not ended with it."""
    _change_script(lambda script: f"sleep 300 & {script}")

    async def blind(self: Census, mark: Any) -> list[Any]:  # noqa: ARG001
        return []

    Census.members = blind  # type: ignore[method-assign]


def rewrites_history() -> None:
    """What was over becomes something else."""
    sweep = UpkeepStore.sweep

    async def revising(self: UpkeepStore, request: Any) -> Any:
        await self._pool.execute("UPDATE run_history SET state = 'failed' WHERE state = 'succeeded' AND random() < 0.2")
        return await sweep(self, request)

    UpkeepStore.sweep = revising  # type: ignore[method-assign]


def forgets_lines() -> None:
    """A line of every log is lost."""
    add = StreamLog.add
    StreamLog.add = lambda self, data: add(self, data.replace(b"line 2\n", b""))  # type: ignore[method-assign]


def chatters() -> None:
    """It writes its token into its log."""
    sys.stderr.write(f"configured with {os.environ['DTS_TOKEN']}\n")


MUTANTS: dict[str, Patch] = {
    "P1": loses_ticks,
    "P2": starts_twice,
    "P3": starts_early,
    "P4": starts_late,
    "P5": recovers_slowly,
    "P6": overlaps,
    "P7": believes_the_past,
    "P8": praises,
    "P9": nods,
    "P10": leaves_things_behind,
    "P11": rewrites_history,
    "P12": forgets_lines,
    "P13": chatters,
}
"""By the promise that each breaks."""


def _shift_instants(seconds: float) -> None:
    until = Timetable.until

    async def shifted(self: Timetable, due: float) -> None:
        await until(self, due + seconds)

    Timetable.until = shifted  # type: ignore[method-assign]


def _change_script(change: Callable[[str], str]) -> None:
    world = process.world

    def changed(*arguments: Any, **named: Any) -> Any:
        made = world(*arguments, **named)
        *before, script = made.command
        return replace(made, command=(*before, change(script)))

    process.world = changed


if __name__ == "__main__":
    MUTANTS[sys.argv.pop(1)]()
    main()
