"""A fault run: tasks and people at work, one thing after another that breaks, and what is left of it in the end.

Contents: `FaultRun`, wherever it takes place; `fault_run` on one machine, with real processes of every role and a real
PostgreSQL. `faults.lab.run` has the one on a Swarm.

As a program: `PYTHONPATH=tests python -m faults.run --seed 7 --faults 30 --report build/faults`.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dts.pb.dts.v1 import SchedulerServiceStub, TaskDefinitionServiceStub
from dts.rpc.stubs import stub
from faults import gather
from faults.breakages import CATALOGUE, Breakage, World
from faults.ground import Ground, OneMachine
from faults.load import definitions
from faults.lookout import Lookout
from faults.model import Definition, Fault, Listed, Log, Observed, Outcome, Row, Witness
from faults.parts import Installation, installation
from faults.people import UNKNOWN, People
from faults.server import server
from faults.timetable import Planned, timetable
from support.polling import eventually

COUNTS = {"database": 2, "scheduler": 2, "executor": 3}
EDITED = [f"edited-{number}" for number in range(4)]
"""Tasks that people create, change, pause and delete all the time."""

SETTLE = 90.0
"""Seconds that the last runs may take to end."""

CALM = 5.0
"""Seconds before the first fault."""

LOGS = 200
"""Of how many tries the log is read."""

NEVER = datetime.max.replace(tzinfo=UTC)

Told = tuple[datetime, list[Row], list[Listed], list[Log]]
"""When it was asked, and the ledger, the tasks and some logs."""

Say = Callable[[str], None]


@dataclass
class FaultRun:
    """One run. faults: what was broken so far. begun, settled: from when until when it is judged."""

    seed: int
    ground: Ground
    people: People
    lookout: Lookout
    faults: list[Fault] = field(default_factory=list)
    begun: datetime | None = None
    settled: datetime | None = None

    async def define(self, tasks: dict[str, Definition]) -> None:
        """Creates the tasks that stay as they are; nothing is broken yet."""
        for name, definition in tasks.items():
            outcome = await self.people.create(name, definition)
            assert outcome is Outcome.OK, (name, outcome)

    @asynccontextmanager
    async def judged(self) -> AsyncIterator[None]:
        """Inside it the ledger is watched, and people go on working."""
        chance, pauses = random.Random(self.seed), random.Random(self.seed + 1)
        working = self.people.change_tasks(EDITED, chance, pause=lambda: pauses.uniform(0.5, 3.0))
        async with cancelled_in_the_end(self.lookout.watch(), working):
            self.begun = datetime.now(UTC)
            yield

    async def suffer(self, world: object, planned: Sequence[Planned], say: Say, until: datetime = NEVER) -> None:
        """Breaks one thing of the world after the other. until: when nothing new is broken any more."""
        for number, plan in enumerate(planned, start=1):
            if datetime.now(UTC) >= until:
                return
            try:
                await self._break(world, plan, random.Random(f"{self.seed}/{number}"), say)
            except (TimeoutError, AssertionError, LookupError) as error:  # an hour of evidence is judged all the same
                names = ", ".join(breakage.name for breakage in plan.breakages)
                say(f"nothing more is broken: {names} could not be mended: {error}")
                return
            await asyncio.sleep(plan.quiet)  # what must be on time again is judged by it

    async def _break(self, world: object, plan: Planned, chance: random.Random, say: Say) -> None:
        async with AsyncExitStack() as stack:
            broken: list[tuple[Breakage[Any], str, datetime]] = []
            for breakage in plan.breakages:
                begun = datetime.now(UTC)
                try:
                    target = await stack.enter_async_context(breakage.act(world, chance))
                except (TimeoutError, AssertionError):  # what is broken beside it is in the way: the run goes on
                    say(f"{begun:%H:%M:%S} {breakage.name}: not done")
                else:
                    broken.append((breakage, target, begun))
            await asyncio.sleep(plan.lasts)
        await self.ground.whole()
        healed = datetime.now(UTC)
        for breakage, target, begun in broken:
            over = begun if breakage.covered and len(broken) == 1 else healed
            self.faults.append(Fault(breakage.name, target, begun, over, breakage.back, breakage.spares_work))
            say(f"{begun:%H:%M:%S} {breakage.name}: {target}, {(healed - begun).total_seconds():.1f} s")

    async def settle(self) -> None:
        """No further tick; what is under way comes to its end."""
        for name in sorted({operation.task for operation in self.people.operations}):
            await self.people.pause(name)
        paused = datetime.now(UTC)
        with suppress(AssertionError):  # what is still open then is for the checker
            await eventually(lambda: nothing_is_open(self.ground), within=SETTLE)
            self.settled = paused

    async def observed(self) -> Observed:
        """All that is left of it."""
        assert self.begun is not None
        nodes = await self.ground.nodes()
        seen = await self.ground.witnesses()
        read, rows, listed, logs = await eventually(lambda: self._told(seen, nodes), within=SETTLE)
        return Observed(
            seed=self.seed,
            begun=self.begun,
            read=read,
            operations=self.people.operations,
            faults=self.faults,
            witnesses=seen,
            rows=rows,
            sightings=self.lookout.sightings,
            logs=logs,
            listed=listed,
            settled=self.settled,
            leftovers=await self.ground.leftovers(),
            events=await self.ground.events(),
            canaries=self.ground.canaries,
            texts=await self.ground.texts(),
        )

    async def _told(self, seen: Sequence[Witness], nodes: Mapping[str, str]) -> Told:
        """What dts says itself; when nothing is broken any more, it answers."""
        try:
            with closing(self.ground.channel()) as channel:
                scheduler = stub(SchedulerServiceStub, channel)
                read = datetime.now(UTC)
                rows = await gather.rows(scheduler, nodes)
                listed = await gather.listed(stub(TaskDefinitionServiceStub, channel))
                known = {row.run_id for row in rows}
                logs = await gather.logs(scheduler, seen, known=known, most=LOGS, chance=random.Random(self.seed))
        except UNKNOWN as error:
            raise AssertionError("dts does not answer") from error
        return read, rows, listed, logs


async def nothing_is_open(ground: Ground) -> bool:
    """Whether the hot table is empty."""
    connection = await ground.database()
    try:
        return bool(await connection.fetchval("SELECT NOT EXISTS (SELECT FROM run)"))
    finally:
        await connection.close()


@asynccontextmanager
async def cancelled_in_the_end(*jobs: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Jobs beside the block; one that fails is told of when the block is over."""
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for end in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(end, Exception):
                raise end


def started(installed: Installation, *, seed: int, token: str, dsn: str) -> FaultRun:
    """A run on what was started."""
    ground = OneMachine(installed, token, dsn)
    return FaultRun(seed, ground, People(ground.channel), Lookout(ground.database))


async def fault_run(data: Path, *, seed: int, faults: int, say: Say = lambda _: None) -> Observed:
    """From nothing to everything that is left of it.

    Args:
        data: an empty directory that every user may pass through.
        seed: what is broken, in which order, and where.
        faults: at least how many.
        say: told of each fault.
    """
    possible = [breakage for breakage in CATALOGUE if breakage.possible()]
    plan = timetable(possible, faults, random.Random(seed))
    token = secrets.token_urlsafe(32)
    async with (
        server(data) as database,
        installation(data, socket=database.socket, token=token, counts=COUNTS) as installed,
    ):
        run = started(installed, seed=seed, token=token, dsn=database.dsn)
        tasks = definitions(datetime.now(UTC), random.Random(seed))
        await run.define(tasks)
        async with run.judged():
            await asyncio.sleep(CALM)
            await run.suffer(World(installed, database, token), plan, say)
        await run.settle()
        return await run.observed()
