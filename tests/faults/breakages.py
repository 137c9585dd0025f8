"""What is broken on purpose, on one machine. Each is a context: it breaks on the way in and heals on the way out."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Generic, TypeVar

from dts.domain.errors import DtsError
from dts.pb.dts.v1 import DrainNodeRequest, ResumeNodeRequest, SchedulerServiceStub
from dts.rpc.address import HostPort
from dts.rpc.channel import Channel, connect
from dts.rpc.stubs import stub
from faults.parts import DATABASE, Installation, Part
from faults.server import Server
from support.cables import Cable

FAKETIME = "/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1"


@dataclass(slots=True)
class World:
    """What can be broken. token: of its people."""

    installation: Installation
    server: Server
    token: str

    def one(self, role: str, chance: random.Random) -> Part:
        """Some part with the role."""
        return chance.choice(self.installation.of(role))

    def channel(self) -> Channel:
        """The way of people to the gateway."""
        return connect([HostPort.parse(self.installation.gateway)], token=self.token, tls=None)


Broken = AbstractAsyncContextManager[str]
"""Its value is the name of what is broken."""


W = TypeVar("W")


@dataclass(frozen=True, slots=True)
class Breakage(Generic[W]):
    """A kind of fault of some world.

    Attributes:
        name: for the report.
        act: breaks and heals.
        lasts: seconds between, from and to.
        recovery: seconds after healing within which everything is on time again.
        covered: others take over at once; `recovery` counts from the breaking.
        possible: whether this machine can do it.
        asks: whether dts or a manager must answer for it; then it comes before what else breaks, and heals after it.
        spares_work: whether running work goes on; False where the fault itself ends it.
    """

    name: str
    act: Callable[[W, random.Random], Broken]
    lasts: tuple[float, float]
    recovery: float
    covered: bool = False
    possible: Callable[[], bool] = lambda: True
    asks: bool = False
    spares_work: bool = True

    @property
    def back(self) -> timedelta:
        """`recovery` as a time."""
        return timedelta(seconds=self.recovery)


# -- processes


def killed(role: str) -> Callable[[World, random.Random], Broken]:
    """kill -9 of one part with the role; it is started again when healed."""

    @asynccontextmanager
    async def act(world: World, chance: random.Random) -> AsyncIterator[str]:
        part = world.one(role, chance)
        await part.kill()
        yield part.name
        await part.start()

    return act


def all_killed(role: str) -> Callable[[World, random.Random], Broken]:
    """kill -9 of every part with the role."""

    @asynccontextmanager
    async def act(world: World, _: random.Random) -> AsyncIterator[str]:
        parts = world.installation.of(role)
        for part in parts:
            await part.kill()
        yield f"every {role}"
        for part in parts:
            await part.start()

    return act


def stopped(role: str) -> Callable[[World, random.Random], Broken]:
    """SIGTERM of one part, as a rolling update does it."""

    @asynccontextmanager
    async def act(world: World, chance: random.Random) -> AsyncIterator[str]:
        part = world.one(role, chance)
        await part.stop()
        yield part.name
        await part.start()

    return act


def frozen(role: str) -> Callable[[World, random.Random], Broken]:
    """SIGSTOP of one part, SIGCONT when healed."""

    @asynccontextmanager
    async def act(world: World, chance: random.Random) -> AsyncIterator[str]:
        part = world.one(role, chance)
        part.freeze()
        try:
            yield part.name
        finally:
            part.thaw()

    return act


@asynccontextmanager
async def rolling(world: World, _: random.Random) -> AsyncIterator[str]:
    """Every part but the executors, one after the other."""
    for role in ("database", "definition", "scheduler", "gateway"):
        for part in world.installation.of(role):
            await part.stop()
            await part.start()
    yield "all but executors"


def clock_shifted(role: str) -> Callable[[World, random.Random], Broken]:
    """One part believes that it is another hour; its monotonic clock is right."""

    @asynccontextmanager
    async def act(world: World, chance: random.Random) -> AsyncIterator[str]:
        part = world.one(role, chance)
        shift = chance.choice(["+3600", "-3600", "+86400", "-301"])
        await part.stop()
        part.extra = {"LD_PRELOAD": str(faketime()), "FAKETIME": shift, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        try:
            await part.start()
            yield f"{part.name} by {shift} s"
        finally:
            part.extra = {}
        await part.stop()
        await part.start()

    return act


def faketime() -> Path:
    """The library that lies about the time."""
    return Path(FAKETIME.format(os.uname().machine))


# -- cables


def wired(
    callers: str, callee: str, how: Callable[[Cable, random.Random], None], *, whole_part: bool = False
) -> Callable[[World, random.Random], Broken]:
    """Something happens to the cables of one part: to those that lead to others of a role, or to all that it has."""

    @asynccontextmanager
    async def act(world: World, chance: random.Random) -> AsyncIterator[str]:
        part = world.one(callers, chance)
        cables = world.installation.around(part.name) if whole_part else world.installation.between(part.name, callee)
        for wire in cables:
            how(wire, chance)
        try:
            yield f"{part.name} – {'all' if whole_part else callee}"
        finally:
            for wire in cables:
                wire.mend()

    return act


def cut(wire: Cable, _: random.Random) -> None:
    """Both sides are told."""
    wire.cut()


def hold(wire: Cable, _: random.Random) -> None:
    """Nobody is told."""
    wire.hold()


def ask_only(wire: Cable, _: random.Random) -> None:
    """Questions come through, answers do not."""
    wire.ask_only()


def slow(wire: Cable, chance: random.Random) -> None:
    """A long and uneven way."""
    wire.slow(lambda: chance.uniform(0.02, 0.25))


# -- the database


@asynccontextmanager
async def server_killed(world: World, _: random.Random) -> AsyncIterator[str]:
    """kill -9 of PostgreSQL and its sessions."""
    await world.server.kill()
    yield DATABASE
    await world.server.restart()


@asynccontextmanager
async def server_stopped(world: World, _: random.Random) -> AsyncIterator[str]:
    """An immediate stop."""
    await world.server.stop_now()
    yield DATABASE
    await world.server.restart()


@asynccontextmanager
async def server_frozen(world: World, _: random.Random) -> AsyncIterator[str]:
    """It answers nobody."""
    with world.server.frozen():
        yield DATABASE


@asynccontextmanager
async def server_read_only(world: World, _: random.Random) -> AsyncIterator[str]:
    """It takes no writes, as a standby does."""
    await world.server.read_only(on=True)
    try:
        yield DATABASE
    finally:
        await world.server.read_only(on=False)


@asynccontextmanager
async def server_full(world: World, _: random.Random) -> AsyncIterator[str]:
    """Its disk is full; it may have ended over that."""
    await asyncio.to_thread(world.server.fill)
    try:
        yield DATABASE
    finally:
        world.server.empty()
    await world.server.restart_if_down()


@asynccontextmanager
async def server_crowded(world: World, _: random.Random) -> AsyncIterator[str]:
    """Its sessions are thrown out, and others take their places."""
    await world.server.throw_out()
    async with world.server.crowded():
        yield DATABASE


@asynccontextmanager
async def sessions_ended(world: World, _: random.Random) -> AsyncIterator[str]:
    """Every session is thrown out, and may come back."""
    await world.server.throw_out()
    yield DATABASE


@asynccontextmanager
async def snapshot_held(world: World, _: random.Random) -> AsyncIterator[str]:
    """A stranger's transaction stays open."""
    async with world.server.remembering():
        yield DATABASE


# -- people's


@asynccontextmanager
async def drained(world: World, chance: random.Random) -> AsyncIterator[str]:
    """A node takes nothing new."""
    node = world.one("executor", chance).name
    await tell_node(world.channel, DrainNodeRequest(node=node, note="a fault run"))
    yield node
    await tell_node(world.channel, ResumeNodeRequest(node=node))


async def tell_node(way: Callable[[], Channel], request: DrainNodeRequest | ResumeNodeRequest) -> None:
    """Again until it is heard: the fault before may not be over."""
    async with asyncio.timeout(30):
        while True:
            channel = way()
            scheduler = stub(SchedulerServiceStub, channel)
            try:
                if isinstance(request, DrainNodeRequest):
                    await scheduler.drain_node(request)
                else:
                    await scheduler.resume_node(request)
            except DtsError:
                await asyncio.sleep(0.5)
            else:
                return
            finally:
                channel.close()


# -- all of them


def root() -> bool:
    """Whether file systems can be made."""
    return os.geteuid() == 0


def can_lie() -> bool:
    """Whether the library is there."""
    return faketime().exists()


QUICK = (0.5, 2.0)
SHORT = (3.0, 5.0)
LONG = (13.0, 15.0)
"""Longer than a lease."""

CATALOGUE: Sequence[Breakage[World]] = (
    Breakage("kill a scheduler", killed("scheduler"), QUICK, 4, covered=True),
    Breakage("kill every scheduler", all_killed("scheduler"), QUICK, 5),
    Breakage("stop a scheduler", stopped("scheduler"), QUICK, 4, covered=True),
    Breakage("freeze a scheduler", frozen("scheduler"), SHORT, 5),
    Breakage("freeze a scheduler for longer than a lease", frozen("scheduler"), LONG, 10),
    Breakage("kill an executor", killed("executor"), QUICK, 5),
    Breakage("kill an executor for longer than a lease", killed("executor"), LONG, 10),
    Breakage("kill every executor", all_killed("executor"), QUICK, 5),
    Breakage("stop an executor", stopped("executor"), QUICK, 5),
    Breakage("freeze an executor", frozen("executor"), SHORT, 5),
    Breakage("freeze an executor for longer than a lease", frozen("executor"), LONG, 10),
    Breakage("kill a database role", killed("database"), QUICK, 5),
    Breakage("freeze a database role", frozen("database"), SHORT, 8),
    Breakage("kill the definition service", killed("definition"), QUICK, 2, covered=True),
    Breakage("kill the gateway", killed("gateway"), QUICK, 2, covered=True),
    Breakage("replace every part but executors", rolling, (0.0, 0.0), 5),
    Breakage("kill PostgreSQL", server_killed, QUICK, 5),
    Breakage("stop PostgreSQL at once", server_stopped, SHORT, 5),
    Breakage("freeze PostgreSQL", server_frozen, SHORT, 8),
    Breakage("freeze PostgreSQL for longer than a lease", server_frozen, LONG, 10),
    Breakage("PostgreSQL takes no writes", server_read_only, SHORT, 8),
    Breakage("the disk of PostgreSQL is full", server_full, SHORT, 8, possible=root),
    Breakage("every connection of PostgreSQL is taken", server_crowded, SHORT, 8),
    Breakage("every session of PostgreSQL ends", sessions_ended, (0.0, 0.0), 5),
    Breakage("a snapshot is held open", snapshot_held, LONG, 2, covered=True),
    Breakage("cut an executor off the schedulers", wired("executor", "scheduler", cut), SHORT, 8),
    Breakage("an executor's calls are swallowed", wired("executor", "", hold, whole_part=True), LONG, 10),
    Breakage("an executor hears no answers", wired("executor", "scheduler", ask_only), LONG, 10),
    Breakage("cut a scheduler off the database", wired("scheduler", "database", cut), SHORT, 8),
    Breakage("a scheduler's calls are swallowed", wired("scheduler", "database", hold), LONG, 10),
    Breakage("a database role's queries are swallowed", wired("database", DATABASE, hold), LONG, 10),
    Breakage("a slow way to an executor", wired("executor", "", slow, whole_part=True), LONG, 10),
    Breakage("another clock on a scheduler", clock_shifted("scheduler"), SHORT, 5, possible=can_lie),
    Breakage("another clock on an executor", clock_shifted("executor"), SHORT, 8, possible=can_lie),
    Breakage("another clock on a database role", clock_shifted("database"), SHORT, 8, possible=can_lie),
    Breakage("drain a node", drained, SHORT, 2, covered=True, asks=True),
)
