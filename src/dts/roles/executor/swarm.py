"""Tells the schedulers what the managers of the Swarm know of its nodes, where this node is a manager."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from dts.docker.engine import Engine
from dts.docker.swarm import Swarm
from dts.domain.errors import DtsError
from dts.pb.dts.v1 import SwarmNodes

log = logging.getLogger(__name__)

LOOK_SECONDS = 3.0
"""How often the managers are asked: a drained node takes work for no longer than this."""

AGAIN_SECONDS = 60.0
"""How often it is told although nothing has changed: another scheduler's database may have lost it."""

Tell = Callable[[SwarmNodes], bool]
"""Sends it to the scheduler that the executor is attached to; whether there is one."""


class SwarmWatcher:
    """Looks again and again.

    Args:
        engine: of this node.
        monotonic: seconds that never go back.
    """

    def __init__(self, engine: Engine, *, monotonic: Callable[[], float]) -> None:
        self._engine = engine
        self._swarm = Swarm(engine)
        self._monotonic = monotonic
        self._told: SwarmNodes | None = None
        self._told_at = 0.0
        self._trouble = ""

    async def run(self, tell: Tell) -> None:
        """Until cancelled."""
        while True:
            await self.look(tell)
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self, tell: Tell) -> None:
        """Asks once, and tells what is new."""
        try:
            if not (await self._engine.membership()).manager:
                return
            seen = SwarmNodes(nodes=await self._swarm.nodes())
        except DtsError as error:
            self._say(str(error))
            return
        self._trouble = ""
        now = self._monotonic()
        if seen == self._told and now - self._told_at < AGAIN_SECONDS:
            return
        if tell(seen):
            self._told, self._told_at = seen, now

    def _say(self, trouble: str) -> None:
        """Once: it may go on for as long as this machine has no engine."""
        if trouble != self._trouble:
            log.info("the nodes of the Swarm are not known: %s", trouble)
        self._trouble = trouble
