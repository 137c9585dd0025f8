"""Runs commands in containers that somebody else runs.

A command ends with its executor: an engine whose listener went away tells a wrong exit code (126), so how it ended
could not be known any more. What an executor that was killed left behind is killed by the next one.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from dts.docker.engine import Engine
from dts.docker.execs import Execs, Running
from dts.domain.errors import DtsError, InvalidArgument
from dts.domain.node_policy import NodePolicy, exec_denials
from dts.pb.dts.v1 import ExecKind, Reason, Replicas
from dts.roles.executor.container.config import deny, environment_of, given, invalid, rendered
from dts.roles.executor.exec.work import Command, ExecWork
from dts.roles.executor.process.world import template_values
from dts.roles.executor.work import Job, Refused, Work

log = logging.getLogger(__name__)

Key = tuple[UUID, int]


class ExecRunner:
    """Runs the kind `exec`.

    Args:
        engine: of this node.
        home: a directory for notes on what was started, by which a later process ends it.
        node: name of this one.
        policy: what this node lets commands run in.
    """

    def __init__(self, *, engine: Engine, home: Path, node: str, policy: Callable[[], NodePolicy] = NodePolicy) -> None:
        self._engine = engine
        self._execs = Execs(engine)
        self._home = home
        self._node = node
        self._policy = policy
        self._held: set[Key] = set()
        home.mkdir(parents=True, exist_ok=True)

    async def missing(self) -> str:
        """Why no command can run here; empty if one can."""
        return await self._engine.missing()

    async def prepare(self, job: Job) -> Work:
        """A command in each container that is meant, not started yet.

        Raises:
            Refused: the definition is wrong, no such container runs here, or the policy denies it.
        """
        kind = _exec_kind(job)
        containers = _chosen(kind, await self._running(), self._node)
        deny([phrase for one in containers for phrase in await self._denials(one)], self._node)
        config = _config(job, kind, self._node)
        self._held.add(job.key)
        try:
            commands = [Command(one.name, one.id, await self._created(one, config), kind.user) for one in containers]
            self._note(job.key, commands)
        except BaseException:
            self._held.discard(job.key)
            raise
        return self._work(job, commands)

    async def find(self, jobs: Sequence[Job]) -> dict[Key, Work]:  # noqa: ARG002 - the protocol has them
        """Finds nothing; ends what an earlier incarnation started, by its notes.

        Raises:
            DtsError: the engine does not answer.
        """
        for path in self._home.glob("*.json"):
            try:
                key, commands = _read(path)
            except (
                ValueError,
                TypeError,
            ):  # a machine that lost its power may leave an empty file, and has ended the command
                log.warning("the note %s cannot be read and is dropped", path.name)
                path.unlink()
                continue
            if key not in self._held:
                await self._end(key, commands)
        return {}

    async def _end(self, key: Key, commands: Sequence[Command]) -> None:
        log.info("ending the commands of run %s, attempt %d: their executor has ended", *key)
        await self._execs.running()  # an engine that does not answer is asked again later
        try:
            await ExecWork(self._execs, commands, key=key, discarded=lambda: None).end_all()
        except DtsError as error:  # goes on in its own container, and nobody counts it
            log.warning("a command of run %s, attempt %d cannot be ended: %s", *key, error)
        self._discarded(key)

    async def _running(self) -> list[Running]:
        try:
            return await self._execs.running()
        except DtsError as error:
            raise _refused(f"the containers of the node could not be listed: {error.message}") from error

    async def _denials(self, container: Running) -> list[str]:
        try:
            about = await self._execs.about(container.id)
        except DtsError as error:
            raise _refused(f"{container.name} could not be looked at: {error.message}") from error
        return exec_denials(self._policy(), [name for name in (container.name, container.service) if name], about)

    async def _created(self, container: Running, config: dict[str, Any]) -> str:
        try:
            return await self._execs.create(container.id, config)
        except InvalidArgument as error:
            raise invalid(f"the engine refuses the command: {error.violations[0].message}") from error
        except DtsError as error:
            raise _refused(f"the command could not be prepared in {container.name}: {error.message}") from error

    def _work(self, job: Job, commands: Sequence[Command]) -> ExecWork:
        return ExecWork(self._execs, commands, key=job.key, discarded=lambda: self._discarded(job.key))

    def _discarded(self, key: Key) -> None:
        self._held.discard(key)
        _path(self._home, key).unlink(missing_ok=True)

    def _note(self, key: Key, commands: Sequence[Command]) -> None:
        """Before anything is started. What the machine forgets with a crash, its engine has forgotten, too."""
        path = _path(self._home, key)
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps([[one.name, one.container, one.exec_id, one.user] for one in commands]))
        fresh.replace(path)


def _exec_kind(job: Job) -> ExecKind:
    kind = job.spec.kind.exec if job.spec.kind else None
    if kind is None or not kind.command or bool(kind.container) == bool(kind.service):
        raise invalid("a command needs a program, and the name of a container or of a service")
    return kind


def _chosen(kind: ExecKind, running: Sequence[Running], node: str) -> list[Running]:
    """The containers that are meant, of those that run."""
    if kind.container:
        found = [one for one in running if kind.container == one.name]
    else:
        found = [one for one in running if kind.service == one.service]
    if not found:
        what = f"container {kind.container}" if kind.container else f"container of the service {kind.service}"
        raise _refused(f"no {what} runs on node {node} any more")
    return found if kind.replicas is Replicas.ALL else found[:1]


def _config(job: Job, kind: ExecKind, node: str) -> dict[str, Any]:
    values = template_values(job, node=node)
    environment = environment_of(job, kind.env, values)
    return {
        "AttachStdout": True,
        "AttachStderr": True,
        "Cmd": [rendered(argument, values, f"argument {index}") for index, argument in enumerate(kind.command)],
        "Env": [f"{name}={value}" for name, value in environment.items()],
        **given(WorkingDir=kind.working_dir, User=kind.user),
    }


def _path(home: Path, key: Key) -> Path:
    return home / f"{key[0]}.{key[1]}.json"


def _read(path: Path) -> tuple[Key, list[Command]]:
    run_id, attempt, _ = path.name.split(".")
    noted = json.loads(path.read_text())
    commands = [Command(name, container, exec_id, *user) for name, container, exec_id, *user in noted]
    return (UUID(run_id), int(attempt)), commands


def _refused(sentence: str) -> Refused:
    return Refused(Reason.ENGINE_ERROR, sentence)
