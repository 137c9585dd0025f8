"""Tells the schedulers in which containers of this node commands can run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from dts.docker.engine import Engine
from dts.docker.execs import Execs
from dts.domain.errors import DtsError
from dts.domain.kinds import container_target, service_target
from dts.pb.dts.v1 import Targets
from dts.roles.executor.container.config import RUN_LABEL

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""How often the engine is asked: a run that waits for a container waits for so long after it has appeared."""

MOST = 2000
"""More names than a node has containers; bounds what a heartbeat carries."""


class TargetWatcher:
    """Looks again and again. engine: of this node."""

    def __init__(self, engine: Engine) -> None:
        self._execs = Execs(engine)
        self._told: Targets | None = None

    async def run(self, tell: Callable[[Targets], None]) -> None:
        """Until cancelled."""
        while True:
            await self.look(tell)
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self, tell: Callable[[Targets], None]) -> None:
        """Asks once, and tells what is new. That an engine is away is told by the kind that is missing."""
        try:
            running = await self._execs.running()
        except DtsError as error:
            log.debug("the containers of this node are not known: %s", error)
            return
        names: set[str] = set()
        for one in running:
            if RUN_LABEL not in one.labels:  # those of runs come and go, and are nobody's to look after
                names.add(container_target(one.name))
                names.update([service_target(one.service)] if one.service else ())
        targets = Targets(names=sorted(names)[:MOST])
        if targets != self._told:
            self._told = targets
            tell(targets)
