"""The composition root: every object of a process is made here, once, and handed what it needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import cast

from dts.app.node import make_executor, random_uuid
from dts.app.wiring import Wiring
from dts.domain.errors import InvalidArgument
from dts.pb.dts.v1 import (
    DatabaseServiceBase,
    DatabaseServiceStub,
    SchedulerServiceBase,
    SchedulerServiceStub,
    TaskDefinitionServiceBase,
    TaskDefinitionServiceStub,
)
from dts.roles.database.service import DatabaseService
from dts.roles.definition.service import DefinitionService
from dts.roles.executor.executor import Executor
from dts.roles.gateway.gateway import services as gateway_services
from dts.roles.scheduler.duties import Duties
from dts.roles.scheduler.hub import Hub
from dts.roles.scheduler.service import SchedulerService
from dts.roles.scheduler.wakes import Wakes
from dts.rpc.channel import Channel, connect
from dts.rpc.direct import in_process
from dts.rpc.server import Service
from dts.rpc.stubs import stub
from dts.runtime import clock
from dts.runtime.keep import keep
from dts.runtime.loop import Loop, Tick
from dts.store.migrate import check_version
from dts.store.pool import open_pool
from dts.store.store import Store

POOL_SIZE = 10
"""Connections of a database role: more would only wait for the same disk."""

ACTOR = "operator"
"""Who changes are attributed to while there is one token for everybody; see decision 0009."""

Job = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class House:
    """What a process hosts, wired and not yet running.

    services: what is served over gRPC.
    definition, scheduler: as the roles here and the gateway call them: the service itself or a stub.
    jobs: what runs until the process ends, by name.
    """

    services: list[Service] = field(default_factory=list)
    loops: list[Loop] = field(default_factory=list)
    jobs: dict[str, Job] = field(default_factory=dict)
    definition: TaskDefinitionServiceBase | None = None
    scheduler: SchedulerServiceBase | None = None
    executor: Executor | None = None
    hub: Hub | None = None


async def build(wiring: Wiring, stack: AsyncExitStack) -> House:
    """Makes everything that the wiring asks for. What must be closed is left to `stack`.

    Raises:
        InvalidArgument: a setting that a role needs is missing.
        FailedPrecondition: the database has another version.
        Unavailable: the database cannot be reached.
    """
    return await _Builder(wiring, stack).build()


class _Builder:
    def __init__(self, wiring: Wiring, stack: AsyncExitStack) -> None:
        self._wiring = wiring
        self._stack = stack
        self._house = House()

    async def build(self) -> House:
        database = await self._database()
        if self._wiring.hosts("definition"):
            self._definition(database)
        if self._wiring.hosts("scheduler"):
            self._scheduler(database)
        if self._wiring.hosts("executor"):
            await self._executor(database)
        if self._wiring.hosts("gateway"):
            self._gateway()
        return self._house

    async def _database(self) -> DatabaseServiceBase:
        if not self._wiring.hosts("database"):
            peers = self._wiring.peers("database")
            return cast("DatabaseServiceBase", stub(DatabaseServiceStub, self._channel("database")) if peers else None)
        if self._wiring.dsn is None:
            raise InvalidArgument.of("DTS_DSN", "settings.missing", "is not set; the role database needs PostgreSQL")
        pool = await open_pool(self._wiring.dsn, size=POOL_SIZE)
        self._stack.push_async_callback(pool.close)
        async with pool.acquire() as connection:
            await check_version(connection)
        store = Store.on(pool, rand=clock.chance)
        self._house.jobs["wake-ups"] = lambda: keep(store.wakeups.run, name="the exchange of wake-ups")
        service = DatabaseService(store)
        self._house.services.append(service)
        return in_process(service)

    def _definition(self, database: DatabaseServiceBase) -> None:
        service = DefinitionService(store=database, now=clock.now, rand=clock.random_bits)
        self._house.services.append(service)
        self._house.definition = in_process(service)

    def _scheduler(self, database: DatabaseServiceBase) -> None:
        hub = Hub(database, monotonic=clock.monotonic)
        wakes = Wakes(database)
        service = SchedulerService(database, hub, wakes, actor=lambda: ACTOR, new_id=random_uuid)
        self._house.services.append(service)
        self._house.scheduler = in_process(service)
        self._house.hub = hub
        self._house.jobs["hints"] = lambda: keep(wakes.run, name="the stream of hints")
        self._duties(database, hub, wakes)

    def _duties(self, database: DatabaseServiceBase, hub: Hub, wakes: Wakes) -> None:
        duties = Duties(database, hub, keep=self._wiring.settings.keep, monotonic=clock.monotonic)
        materialise = self._loop(duties.materialise, "materialise", timedelta(seconds=1))
        claim = self._loop(duties.claim, "claim", timedelta(seconds=0.5))
        renew = self._loop(duties.renew, "renew", timedelta(seconds=2))
        recall = self._loop(duties.recall, "recall", timedelta(seconds=3))
        self._loop(duties.sweep, "sweep", timedelta(seconds=3))
        self._loop(duties.maintain, "maintain", timedelta(hours=1))
        hub.room_freed = duties.claim_soon = claim.wake
        hub.heard = renew.wake
        for topic, loop in {"runs": claim, "tasks": materialise, "recalls": recall}.items():
            wakes.on(topic, loop.wake)

    async def _executor(self, database: DatabaseServiceBase) -> None:
        scheduler = self._house.scheduler or stub(SchedulerServiceStub, self._channel("scheduler"))
        executor, service = await make_executor(
            self._wiring, scheduler=scheduler, log_store=database, stack=self._stack
        )
        self._house.executor = executor
        self._house.services.append(service)
        self._house.jobs["executor"] = executor.run

    def _gateway(self) -> None:
        house = self._house
        if house.definition is None:
            remote = stub(TaskDefinitionServiceStub, self._channel("definition"))
            house.definition = cast("TaskDefinitionServiceBase", remote)
            house.services.extend(gateway_services(definition=remote))
        if house.scheduler is None:
            remote_scheduler = stub(SchedulerServiceStub, self._channel("scheduler"))
            house.scheduler = cast("SchedulerServiceBase", remote_scheduler)
            house.services.extend(gateway_services(scheduler=remote_scheduler))

    def _loop(self, tick: Tick, name: str, every: timedelta) -> Loop:
        loop = Loop(tick, name=name, every=every)
        self._house.loops.append(loop)
        self._house.jobs[name] = loop.run
        return loop

    def _channel(self, role: str) -> Channel:
        channel = connect(self._wiring.peers(role), token=self._wiring.token)
        self._stack.callback(channel.close)
        return channel
