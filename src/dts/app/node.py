"""Makes the executor of this machine."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import UUID

from dts.app.wiring import Wiring
from dts.docker.engine import Engine
from dts.docker.values import Membership
from dts.domain.errors import DtsError
from dts.domain.node_policy import NodePolicy
from dts.roles.executor.container.images import Logins
from dts.roles.executor.container.runner import ContainerRunner
from dts.roles.executor.exec.runner import ExecRunner
from dts.roles.executor.executor import Executor
from dts.roles.executor.http.runner import HttpRunner
from dts.roles.executor.keyring import Keyring
from dts.roles.executor.node import Describer, Machine, identify, owner_of
from dts.roles.executor.oneshot.runner import OneshotRunner
from dts.roles.executor.policy_file import PolicyFile
from dts.roles.executor.ports import LogPort, SchedulerPort
from dts.roles.executor.process.runner import ProcessRunner
from dts.roles.executor.service import ExecutorService
from dts.roles.executor.swarm import SwarmWatcher
from dts.roles.executor.targets import TargetWatcher
from dts.roles.executor.work import Runner
from dts.runtime import clock

Job = Callable[[], Awaitable[None]]


async def make_executor(
    wiring: Wiring, *, scheduler: SchedulerPort, log_store: LogPort, stack: AsyncExitStack
) -> tuple[Executor, ExecutorService, dict[str, Job]]:
    """The executor, its service, and what looks after the Swarm and the containers of this node.

    Raises:
        FailedPrecondition: another executor runs over the same data directory.
        InvalidArgument: DOCKER_HOST is no address of an engine, or a file that the settings name is broken.
    """
    home = wiring.settings.data_dir / "executor"
    home.mkdir(parents=True, exist_ok=True)
    engine = Engine.connect(wiring.settings.executor.docker_host)
    stack.push_async_callback(engine.close)
    identity = identify(home, new_id=random_uuid, node_id=(await _membership(engine)).node_id)
    installation = wiring.settings.executor.installation
    owner = owner_of(home, installation=installation, node_id=identity.id, new_id=random_uuid)
    policy = PolicyFile(wiring.settings.executor.policy_file).current
    login = Keyring(wiring.settings.executor.registry_auth).login
    runners: dict[str, Runner] = {
        "container": _containers(wiring, engine, owner, policy, login),
        "process": _processes(wiring, home, owner),
        "service": OneshotRunner(
            engine=engine,
            node=wiring.settings.executor.node_name,
            owner=owner,
            monotonic=clock.monotonic,
            policy=policy,
            login=login,
        ),
    }
    runners["exec"] = ExecRunner(
        engine=engine, home=home / "execs", node=wiring.settings.executor.node_name, policy=policy
    )
    runners["http"] = HttpRunner(node=wiring.settings.executor.node_name, monotonic=clock.monotonic, policy=policy)
    executor = Executor(
        scheduler=scheduler,
        log_store=log_store,
        data_dir=home,
        node=Describer(identity, _machine(wiring), runners, engine=lambda: _membership(engine)),
        runners=runners,
        monotonic=clock.monotonic,
        now=clock.now,
        rand=clock.chance,
    )
    where = ", ".join(str(peer) for peer in wiring.peers("scheduler")) or "this process"
    swarm, targets = SwarmWatcher(engine, monotonic=clock.monotonic), TargetWatcher(engine)
    watchers: dict[str, Job] = {
        "swarm": lambda: swarm.run(executor.tell_swarm),
        "targets": lambda: targets.run(executor.tell_targets),
    }
    service = ExecutorService(executor, scheduler=where, monotonic=clock.monotonic, now=clock.now)
    return executor, service, watchers


async def _membership(engine: Engine) -> Membership:
    """What the engine is in its Swarm; nothing if it does not answer."""
    try:
        return await engine.membership()
    except DtsError:
        return Membership("", "", manager=False, labels={})


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


def _containers(
    wiring: Wiring, engine: Engine, owner: str, policy: Callable[[], NodePolicy], login: Logins
) -> ContainerRunner:
    return ContainerRunner(
        engine=engine,
        node=wiring.settings.executor.node_name,
        owner=owner,
        now=clock.now,
        rand=clock.chance,
        policy=policy,
        login=login,
    )


def _processes(wiring: Wiring, home: Path, owner: str) -> ProcessRunner:
    return ProcessRunner(
        root=home / "processes",
        # `dts` and `python3` as they are here, so that a task can ask dts itself.
        path=[Path(sys.executable).parent],
        environment={"DTS_DATA": str(wiring.settings.data_dir)},
        node=wiring.settings.executor.node_name,
        allowed=wiring.allow_process,
        owner=owner,
    )
