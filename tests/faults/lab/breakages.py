"""What is broken on the lab. Each is a context: it breaks on the way in and heals on the way out.

R counts from when Swarm has put new containers in the place of those that are gone, which takes it 3 to 60 s, and
PostgreSQL takes connections: `Swarm.whole` waits for that. What it leaves to dts:

    BESIDE    others take over at once: nothing but a call or two is lost, and tried again
    BEGIN     a container that is there must start Python, show its certificate, and be known to the others by name:
              5 to 8 s on two processors that other engines use, too
    AGAIN     a whole node, or a split, must also be found again by Swarm: its agent comes back with a pause of up to
              8 s, and the overlay network tells names only then
    APART     after a long split, the overlay network looks once a minute for who was lost (`rejoinClusterInterval`)

A kernel without `netem` cannot delay or spoil packets; here they can only be lost, by iptables.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

from dts.pb.dts.v1 import DrainNodeRequest, ResumeNodeRequest
from faults.breakages import Breakage, Broken, tell_node
from faults.lab.swarm import Replica, Swarm, said
from support.polling import eventually
from swarm.lab import LabNode
from swarm.stack import NAME

Act = Callable[[Swarm, random.Random], Broken]

BESIDE = 6.0
BEGIN = 15.0
AGAIN = 30.0
APART = 75.0

UPDATED = 180.0
"""Seconds that a rolling update may take; two containers, each watched for ten seconds."""

HEARD = 60.0
"""Seconds within which an engine or a manager must take a command."""


async def told(node: LabNode, *arguments: str) -> None:
    """Again until the engine does it; what breaks with it may be in the way."""
    async with asyncio.timeout(HEARD):
        while True:
            try:
                await asyncio.to_thread(said, node, *arguments)
            except LookupError:
                await asyncio.sleep(0.5)
            else:
                return


async def chosen(swarm: Swarm, service: str, chance: random.Random) -> Replica:
    """Some container of a service."""
    found = await eventually(lambda: asyncio.to_thread(swarm.replicas, service), within=HEARD)
    return chance.choice(found)


# -- containers of dts


def killed(service: str) -> Act:
    """kill -9 of one container; Swarm makes another."""

    @asynccontextmanager
    async def act(swarm: Swarm, chance: random.Random) -> AsyncIterator[str]:
        one = await chosen(swarm, service, chance)
        with suppress(LookupError):
            await asyncio.to_thread(said, one.node, "kill", one.handle)
        yield str(one)

    return act


def all_killed(service: str) -> Act:
    """kill -9 of every container."""

    @asynccontextmanager
    async def act(swarm: Swarm, _: random.Random) -> AsyncIterator[str]:
        for one in await asyncio.to_thread(swarm.replicas, service):
            with suppress(LookupError):
                await asyncio.to_thread(said, one.node, "kill", one.handle)
        yield f"every {service}"

    return act


def frozen(service: str) -> Act:
    """docker pause of one container. Swarm may find it unwell and replace it."""

    @asynccontextmanager
    async def act(swarm: Swarm, chance: random.Random) -> AsyncIterator[str]:
        one = await chosen(swarm, service, chance)
        with suppress(LookupError):
            await asyncio.to_thread(said, one.node, "pause", one.handle)
        try:
            yield str(one)
        finally:
            with suppress(LookupError):
                await asyncio.to_thread(said, one.node, "unpause", one.handle)

    return act


def updated(service: str) -> Act:
    """A rolling update, to its end."""

    @asynccontextmanager
    async def act(swarm: Swarm, _: random.Random) -> AsyncIterator[str]:
        manager, name = swarm.lab.manager, f"{NAME}_{service}"
        await told(manager, "service", "update", "--force", "--quiet", "--detach", name)
        yield service
        with suppress(AssertionError):
            await eventually(lambda: asyncio.to_thread(_is_updated, manager, name), within=UPDATED)

    return act


def _is_updated(manager: LabNode, service: str) -> bool:
    """Whether the last update has come to its end, whichever; looked at twice a second."""
    time.sleep(0.5)
    try:
        state = said(manager, "service", "inspect", "--format={{with .UpdateStatus}}{{.State}}{{end}}", service)
    except LookupError:
        return False
    return state not in {"updating", "rollback_started"}


# -- engines


def of_engine(breaks: Callable[[LabNode], None], heals: Callable[[LabNode], None], *names: str) -> Act:
    """Something is done to an engine or its cable, and undone. names: of nodes to choose from; all if none."""

    @asynccontextmanager
    async def act(swarm: Swarm, chance: random.Random) -> AsyncIterator[str]:
        node = chance.choice([one for one in swarm.lab.nodes if not names or one.name in names])
        await asyncio.to_thread(breaks, node)
        try:
            yield node.name
        finally:
            await asyncio.shield(asyncio.to_thread(heals, node))

    return act


# -- the Swarm's and people's


def available(word: str) -> Act:
    """A worker is drained or paused in the Swarm, and made active again."""

    @asynccontextmanager
    async def act(swarm: Swarm, chance: random.Random) -> AsyncIterator[str]:
        manager, node = swarm.lab.manager, chance.choice(swarm.lab.nodes[1:])
        await told(manager, "node", "update", "--availability", word, node.name)
        try:
            yield node.name
        finally:
            await told(manager, "node", "update", "--availability", "active", node.name)

    return act


@asynccontextmanager
async def drained(swarm: Swarm, chance: random.Random) -> AsyncIterator[str]:
    """A node takes nothing new, as `dts node drain` does it."""
    identifier, name = chance.choice(sorted((await swarm.nodes()).items()))
    await tell_node(swarm.channel, DrainNodeRequest(node=identifier, note="a fault run"))
    yield name
    await tell_node(swarm.channel, ResumeNodeRequest(node=identifier))


NONE = (0.0, 0.5)
QUICK = (0.5, 2.0)
SHORT = (3.0, 6.0)
LONG = (16.0, 20.0)
"""Longer than a lease."""

WORKERS = ("n2", "n3")
kill, start = LabNode.kill, LabNode.start
apart, together = LabNode.partition, LabNode.heal
deaf, hearing = partial(LabNode.lose, share=1.0), LabNode.hear
lossy = partial(LabNode.lose, share=0.2)

CATALOGUE: Sequence[Breakage[Swarm]] = (
    Breakage("kill a scheduler", killed("scheduler"), QUICK, BESIDE, covered=True),
    Breakage("kill every scheduler", all_killed("scheduler"), QUICK, BEGIN),
    Breakage("freeze a scheduler", frozen("scheduler"), SHORT, BEGIN),
    Breakage("freeze a scheduler for longer than a lease", frozen("scheduler"), LONG, BEGIN),
    Breakage("kill an executor", killed("executor"), QUICK, BEGIN),
    Breakage("kill every executor", all_killed("executor"), QUICK, BEGIN),
    Breakage("freeze an executor", frozen("executor"), SHORT, BEGIN),
    Breakage("freeze an executor for longer than a lease", frozen("executor"), LONG, BEGIN),
    Breakage("kill a database role", killed("database"), QUICK, BEGIN),
    Breakage("kill every database role", all_killed("database"), QUICK, BEGIN),
    Breakage("freeze a database role", frozen("database"), SHORT, BEGIN),
    Breakage("kill the definition service", killed("definition"), QUICK, BESIDE, covered=True),
    Breakage("kill the gateway", killed("gateway"), QUICK, BESIDE, covered=True),
    Breakage("kill PostgreSQL", killed("postgres"), QUICK, BEGIN),
    Breakage("freeze PostgreSQL", frozen("postgres"), SHORT, BEGIN),
    Breakage("freeze PostgreSQL for longer than a lease", frozen("postgres"), LONG, BEGIN),
    Breakage("update the schedulers", updated("scheduler"), NONE, BEGIN, asks=True),
    Breakage("update the executors", updated("executor"), NONE, BEGIN, asks=True),
    Breakage("update the database roles", updated("database"), NONE, BEGIN, asks=True),
    Breakage("update the definition services", updated("definition"), NONE, BEGIN, asks=True),
    Breakage("update the gateway", updated("gateway"), NONE, BEGIN, asks=True),
    Breakage("update PostgreSQL", updated("postgres"), NONE, BEGIN, asks=True),
    Breakage("kill an engine", of_engine(kill, start), NONE, AGAIN, spares_work=False),
    Breakage("kill an engine for longer than a lease", of_engine(kill, start), LONG, AGAIN, spares_work=False),
    Breakage("stop an engine", of_engine(LabNode.stop, start), NONE, AGAIN, spares_work=False),
    Breakage("freeze an engine", of_engine(LabNode.pause, LabNode.resume), (14.0, 15.0), AGAIN),
    Breakage("reset a worker", of_engine(LabNode.reset, start, *WORKERS), QUICK, AGAIN, spares_work=False),
    Breakage("reset the manager", of_engine(LabNode.reset, start, "n1"), QUICK, AGAIN, spares_work=False),
    Breakage("cut off a worker", of_engine(apart, together, *WORKERS), SHORT, AGAIN),
    Breakage("cut off a worker for longer than a lease", of_engine(apart, together, *WORKERS), LONG, APART),
    Breakage("cut off the manager and PostgreSQL", of_engine(apart, together, "n1"), LONG, APART),
    Breakage("a worker hears nobody", of_engine(deaf, hearing, *WORKERS), LONG, APART),
    Breakage("a node loses one packet in five", of_engine(lossy, hearing), LONG, AGAIN),
    Breakage("drain a node in the Swarm", available("drain"), LONG, BEGIN, asks=True),
    Breakage("pause a node in the Swarm", available("pause"), SHORT, BESIDE, covered=True, asks=True),
    Breakage("drain a node", drained, SHORT, BESIDE, covered=True, asks=True),
)
