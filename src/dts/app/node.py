"""Makes the executor of this machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import UUID

from dts.app.wiring import Wiring
from dts.docker.engine import Engine
from dts.roles.executor.container import ContainerRunner
from dts.roles.executor.executor import Executor
from dts.roles.executor.node import Describer, Identity, Machine, identify
from dts.roles.executor.ports import LogPort, SchedulerPort
from dts.roles.executor.process import ProcessRunner
from dts.roles.executor.service import ExecutorService
from dts.roles.executor.work import Runner
from dts.runtime import clock


async def make_executor(
    wiring: Wiring, *, scheduler: SchedulerPort, log_store: LogPort, stack: AsyncExitStack
) -> tuple[Executor, ExecutorService]:
    """The executor and its service.

    Raises:
        FailedPrecondition: another executor runs over the same data directory.
        InvalidArgument: DOCKER_HOST is no address of an engine.
    """
    home = wiring.settings.data_dir / "executor"
    home.mkdir(parents=True, exist_ok=True)
    identity = identify(home, new_id=random_uuid)
    engine = Engine.connect(wiring.settings.executor.docker_host)
    stack.push_async_callback(engine.close)
    runners: dict[str, Runner] = {
        "container": _containers(wiring, engine, identity),
        "process": _processes(wiring, home, identity),
    }
    executor = Executor(
        scheduler=scheduler,
        log_store=log_store,
        data_dir=home,
        node=Describer(identity, _machine(wiring), runners),
        runners=runners,
        monotonic=clock.monotonic,
        now=clock.now,
        rand=clock.chance,
    )
    where = ", ".join(str(peer) for peer in wiring.peers("scheduler")) or "this process"
    return executor, ExecutorService(executor, scheduler=where, monotonic=clock.monotonic, now=clock.now)


def random_uuid(bits: Callable[[int], int] = clock.random_bits) -> UUID:
    """A random UUID."""
    return UUID(int=bits(128), version=4)


def _machine(wiring: Wiring) -> Machine:
    settings = wiring.settings.executor
    return Machine(
        hostname=settings.node_name,
        slots=settings.slots,
        cpus=settings.cpus,
        memory=settings.memory,
        labels=settings.labels,
    )


def _containers(wiring: Wiring, engine: Engine, identity: Identity) -> ContainerRunner:
    return ContainerRunner(
        engine=engine,
        node=wiring.settings.executor.node_name,
        owner=identity.id,
        now=clock.now,
        rand=clock.chance,
    )


def _processes(wiring: Wiring, home: Path, identity: Identity) -> ProcessRunner:
    return ProcessRunner(
        root=home / "processes",
        # `dts` and `python3` as they are here, so that a task can ask dts itself.
        path=[Path(sys.executable).parent],
        environment={"DTS_DATA": str(wiring.settings.data_dir)},
        node=wiring.settings.executor.node_name,
        allowed=wiring.allow_process,
        owner=identity.id,
    )
