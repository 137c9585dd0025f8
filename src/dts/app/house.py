"""The composition root: every object of a process is made here, once, and handed what it needs."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.metadata import version
from typing import cast

from dts.app import figures
from dts.app.node import Job, make_executor, random_uuid
from dts.app.wiring import Wiring
from dts.domain.errors import InvalidArgument
from dts.domain.tokens import FIRST_ADMIN, first_admin
from dts.pb.dts.v1 import (
    AccessServiceBase,
    AccessServiceStub,
    ChannelServiceStub,
    DatabaseServiceBase,
    DatabaseServiceStub,
    SchedulerServiceBase,
    SchedulerServiceStub,
    TaskDefinitionServiceBase,
    TaskDefinitionServiceStub,
)
from dts.roles.database.service import DatabaseService
from dts.roles.definition.access import AccessService
from dts.roles.definition.service import DefinitionService
from dts.roles.executor.executor import Executor
from dts.roles.executor.policy_file import PolicyFile
from dts.roles.executor.traced import TracedAttempts
from dts.roles.gateway.gateway import services as gateway_services
from dts.roles.scheduler.apprising import by_apprise
from dts.roles.scheduler.channels import ChannelService
from dts.roles.scheduler.counted import counted
from dts.roles.scheduler.duties import Duties
from dts.roles.scheduler.forecast import Forecast
from dts.roles.scheduler.hub import Hub
from dts.roles.scheduler.postman import Postman
from dts.roles.scheduler.seal import Seal
from dts.roles.scheduler.service import SchedulerService
from dts.roles.scheduler.successes import of_successes
from dts.roles.scheduler.telling import Telling
from dts.roles.scheduler.traced import traced
from dts.roles.scheduler.wakes import Wakes
from dts.rpc.caller import actor
from dts.rpc.channel import Channel, connect
from dts.rpc.direct import in_process
from dts.rpc.gate import Gate
from dts.rpc.server import Service
from dts.rpc.stubs import stub
from dts.runtime import clock
from dts.runtime.keep import keep
from dts.runtime.loop import Loop, Tick
from dts.runtime.metrics import Metrics
from dts.runtime.traces import OpenTelemetryTraces, open_traces
from dts.store.migrate import check_version
from dts.store.pool import open_pool
from dts.store.store import Store

log = logging.getLogger(__name__)

POOL_SIZE = 10
"""Connections of a database role: more would only wait for the same disk."""

KNOWS_PEOPLE = ("database", "definition", "scheduler", "gateway")
"""Roles that people call and that may look up their tokens. An executor may not: it sees what a node sees."""


@dataclass(slots=True)
class House:
    """What a process hosts, wired and not yet running.

    gate: who may call the services.
    services: what is served over gRPC.
    metrics: what is told of it.
    definition, scheduler, access, database: as the roles here and the gateway call them: the service itself or a stub.
    jobs: what runs until the process ends, by name.
    """

    gate: Gate
    metrics: Metrics = field(default_factory=Metrics)
    services: list[Service] = field(default_factory=list)
    loops: list[Loop] = field(default_factory=list)
    jobs: dict[str, Job] = field(default_factory=dict)
    definition: TaskDefinitionServiceBase | None = None
    scheduler: SchedulerServiceBase | None = None
    access: AccessServiceBase | None = None
    database: DatabaseServiceBase | None = None
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
        self._house: House
        self._traces: OpenTelemetryTraces | None = None

    async def build(self) -> House:
        if self._wiring.settings.traces:
            self._traces = open_traces(service="dts", version=version("dts"))
            self._stack.push_async_callback(asyncio.to_thread, self._traces.close)
        self._house = House(gate=Gate(self._wiring.token))
        self._house.database = database = await self._database()
        if any(self._wiring.hosts(role) for role in KNOWS_PEOPLE):
            self._house.gate = Gate(self._wiring.token, tokens=database)
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
        settings = self._wiring.settings
        pool = await open_pool(
            self._wiring.dsn,
            size=POOL_SIZE,
            lent=settings.dsn_lent,
            password=settings.dsn_password if settings.dsn_password_file else None,
        )
        self._stack.push_async_callback(pool.close)
        figures.of_pool(self._house.metrics, pool)
        async with pool.acquire() as connection:
            await check_version(connection)
        store = Store.on(pool, rand=clock.chance, monotonic=clock.monotonic)
        await store.ledger.look_anew()
        self._house.jobs["wake-ups"] = lambda: keep(store.wakeups.run, name="the exchange of wake-ups")
        service = DatabaseService(store)
        self._house.services.append(service)
        await self._first_admin(service)
        return in_process(service)

    async def _first_admin(self, database: DatabaseService) -> None:
        secret = self._wiring.settings.admin_token
        if secret is None:
            return
        made = await database.store_token(first_admin(secret, random_uuid()))
        if made.token is not None:
            log.info("the token %s is stored; it ends with %s", FIRST_ADMIN, made.token.expires_at)

    def _definition(self, database: DatabaseServiceBase) -> None:
        service = DefinitionService(store=database, now=clock.now, rand=clock.random_bits, actor=actor)
        access = AccessService(database, now=clock.now, rand=clock.random_bits, actor=actor)
        self._house.services += [service, access]
        self._house.definition = in_process(service)
        self._house.access = in_process(access)

    def _scheduler(self, database: DatabaseServiceBase) -> None:
        ledger = counted(database, self._house.metrics, clock.monotonic)
        if self._traces is not None:
            ledger = traced(ledger, self._traces, clock.now)
        hub = Hub(ledger, monotonic=clock.monotonic)
        wakes = Wakes(database)
        forecast = Forecast(database, monotonic=clock.monotonic)
        service = SchedulerService(database, hub, wakes, forecast, actor=actor, new_id=random_uuid)
        self._house.services.append(service)
        self._house.scheduler = in_process(service)
        self._house.hub = hub
        self._house.jobs["forecast"] = lambda: keep(forecast.run, name="the count of coming ticks")
        self._house.jobs["hints"] = lambda: keep(wakes.run, name="the stream of hints")
        self._house.metrics.gauge(
            "dts_scheduler_attached_nodes", "Executors that are attached to this replica.", lambda: len(hub.sessions)
        )
        of_successes(self._house.metrics, database, clock.monotonic)
        self._duties(ledger, hub, wakes)
        self._telling(database)

    def _duties(self, database: DatabaseServiceBase, hub: Hub, wakes: Wakes) -> None:
        duties = Duties(database, hub, keep=self._wiring.settings.keep, monotonic=clock.monotonic)
        materialise = self._loop(duties.materialise, "materialise", timedelta(seconds=1))
        claim = self._loop(duties.claim, "claim", timedelta(seconds=0.5))
        renew = self._loop(duties.renew, "renew", timedelta(seconds=2))
        recall = self._loop(duties.recall, "recall", timedelta(seconds=3))
        self._loop(duties.sweep, "sweep", timedelta(seconds=3))
        self._loop(duties.ask_again, "ask again", timedelta(seconds=30))
        self._loop(duties.maintain, "maintain", timedelta(hours=1))
        hub.room_freed = duties.claim_soon = claim.wake
        hub.heard = renew.wake
        for topic, loop in {"runs": claim, "tasks": materialise, "recalls": recall}.items():
            wakes.on(topic, loop.wake)

    def _telling(self, database: DatabaseServiceBase) -> None:
        policy = PolicyFile(self._wiring.settings.executor.policy_file).current
        seal = Seal(self._wiring.settings.seal_keys, clock.random_bits)
        postman = Postman(seal, now=clock.now, policy=policy, apprise=by_apprise)
        self._house.services.append(
            ChannelService(database, postman, seal, now=clock.now, rand=clock.random_bits, actor=actor)
        )
        telling = Telling(database, postman, self._house.metrics, monotonic=clock.monotonic, rand=clock.chance)
        self._stack.push_async_callback(telling.close)
        self._loop(telling.tell, "tell", timedelta(seconds=1))
        self._loop(telling.tend, "tend", timedelta(seconds=10))

    async def _executor(self, database: DatabaseServiceBase) -> None:
        scheduler = self._house.scheduler or stub(SchedulerServiceStub, self._channel("scheduler"))
        executor, service, watchers = await make_executor(
            self._wiring, scheduler=scheduler, log_store=database, stack=self._stack
        )
        self._house.jobs |= watchers
        self._house.executor = executor
        figures.of_executor(self._house.metrics, executor)
        if self._traces is not None:
            node = self._wiring.settings.executor.node_name
            executor.trace(TracedAttempts(self._traces, node=node, monotonic=clock.monotonic, now=clock.now))
        self._house.services.append(service)
        self._house.jobs["executor"] = executor.run

    def _gateway(self) -> None:
        house = self._house
        if house.definition is None:
            channel = self._channel("definition", vouching=True)
            remote, remote_access = stub(TaskDefinitionServiceStub, channel), stub(AccessServiceStub, channel)
            house.definition = cast("TaskDefinitionServiceBase", remote)
            house.access = cast("AccessServiceBase", remote_access)
            house.services.extend(gateway_services(definition=remote, access=remote_access))
        if house.scheduler is None:
            channel = self._channel("scheduler", vouching=True)
            remote_scheduler, remote_channels = stub(SchedulerServiceStub, channel), stub(ChannelServiceStub, channel)
            house.scheduler = cast("SchedulerServiceBase", remote_scheduler)
            house.services.extend(gateway_services(scheduler=remote_scheduler, channels=remote_channels))

    def _loop(self, tick: Tick, name: str, every: timedelta) -> Loop:
        loop = Loop(tick, name=name, every=every)
        self._house.loops.append(loop)
        self._house.jobs[name] = loop.run
        return loop

    def _channel(self, role: str, *, vouching: bool = False) -> Channel:
        channel = connect(
            self._wiring.peers(role),
            token=self._wiring.token,
            tls=self._wiring.tls and self._wiring.tls.caller(role),
            vouching=vouching,
        )
        self._stack.callback(channel.close)
        return channel
