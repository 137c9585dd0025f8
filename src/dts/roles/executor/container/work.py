"""One attempt as a container: start it once, hand on what it prints, stop it with everything in it."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from dts.docker.engine import Engine
from dts.docker.values import Usage
from dts.domain.errors import Conflict, DtsError, NotFound
from dts.pb.dts.v1 import Reason
from dts.roles.executor.container.end import Vigil, start_failure
from dts.roles.executor.container.tail import Tail
from dts.roles.executor.work import Emit, Ended, Refused

log = logging.getLogger(__name__)

DOUBT_SECONDS = 15.0
"""How long `start` tries to find out what became of a start that the engine did not confirm; then `wait` does."""

FIRST_SAMPLE = 0.5
LONGEST_PAUSE = 15.0

DISCARD_TRIES = 3
RETRY_SECONDS = 0.5


class Meter:
    """What a container has used, looked at now and then: the engine forgets it at the end.

    So the last seconds may be missing, and of work shorter than half a second nothing is known.
    """

    def __init__(self, engine: Engine, container: str) -> None:
        self._engine = engine
        self._container = container
        self.usage = Usage(timedelta(0), 0)

    async def run(self) -> None:
        """Looks less and less often."""
        pause = FIRST_SAMPLE
        while True:
            await asyncio.sleep(pause)
            await self.look()
            pause = min(pause * 2, LONGEST_PAUSE)

    async def look(self) -> None:
        """Looks once."""
        with suppress(DtsError):
            seen = await self._engine.usage(self._container)
            self.usage = Usage(max(seen.cpu_time, self.usage.cpu_time), max(seen.memory, self.usage.memory))


class ContainerWork:
    """A container that was created, or that an earlier incarnation started.

    Args:
        engine: whose it is.
        container: its id.
        image_digest: of its image.
        vigil: waits for its end.
        created: whether it is known to be new; else it is looked at before it is started (rule N).
        discarded: told at the end whether the container was removed.
    """

    def __init__(
        self,
        engine: Engine,
        container: str,
        *,
        image_digest: str,
        vigil: Vigil,
        created: bool,
        discarded: Callable[[bool], None],
    ) -> None:
        self._engine = engine
        self._container = container
        self._image_digest = image_digest
        self._vigil = vigil
        self._created = created
        self._discarded = discarded
        self._meter = Meter(engine, container)

    @property
    def handle(self) -> str:
        """The container's id."""
        return self._container

    @property
    def image_digest(self) -> str:
        """The digest of its image."""
        return self._image_digest

    async def listen(self) -> None:
        """Waits for its end from before its start, so that the start costs nothing but the start.

        If the engine does not answer now, `start` will see.
        """
        if self._created:
            with suppress(DtsError):
                await self._vigil.begin()

    async def start(self) -> None:
        """Starts it, unless it was started before; sends the start once, whatever happens.

        Raises:
            Refused: it cannot be started.
        """
        try:
            if not self._created and not (await self._engine.inspect(self._container)).unstarted:
                return
            if not self._vigil.listening:
                await self._vigil.begin()
        except DtsError as error:
            raise _refused(f"it could not be started: {error.message}") from error
        await self._start_once()

    async def _start_once(self) -> None:
        try:
            await self._engine.start(self._container)
        except DtsError as error:
            # Also if it says that it failed: one that was busy for too long may have started it all the same.
            log.warning("the start of %s is in doubt: %s", self._container[:12], error.message)
            await self._resolve_doubt(error)

    async def _resolve_doubt(self, error: DtsError) -> None:
        """Looks; never starts again. An engine that stays silent leaves it to `wait` to find out."""
        with suppress(TimeoutError):
            async with asyncio.timeout(DOUBT_SECONDS):
                await self._know_start(error)

    async def _know_start(self, doubt: DtsError) -> None:
        while True:
            try:
                seen = await self._engine.inspect(self._container)
                if not seen.unstarted:
                    return
                if seen.error or seen.exit_code:
                    raise _refused(start_failure(seen))
                # Out of the way, so that a start that is still on its way cannot come true after we gave up.
                await self._engine.remove(self._container, force=False)
                raise _refused(f"the engine could not start it: {doubt.message}")
            except NotFound as error:
                raise _refused("the container was removed before it was started") from error
            except DtsError:
                await asyncio.sleep(RETRY_SECONDS)

    async def started_ago(self) -> timedelta | None:
        """As the engine has noted it."""
        return await self._vigil.started_ago()

    async def wait(self, emit: Emit) -> Ended:
        """Hands on what it prints and returns when it is over; only the engine's word counts, never the log's end.

        Raises:
            Refused: it turned out that it was never started.
        """
        clock = asyncio.get_running_loop().time
        tail = Tail(self._engine, self._container, emit)
        following = asyncio.create_task(tail.follow(), name=f"log of {self._container[:12]}")
        measuring = asyncio.create_task(self._meter.run(), name=f"meter of {self._container[:12]}")
        try:
            end = await self._vigil.end()
            noticed = clock()
            measuring.cancel()
            await tail.finish(following)
        finally:
            self._vigil.close()
            await _cancelled(following, measuring)
        usage = self._meter.usage
        ended = Ended(end.exit_code, end.oom_killed, cpu_time=usage.cpu_time, peak_memory=usage.memory, ago=end.ago)
        return ended.told_after(clock() - noticed)

    async def stop(self, *, grace: timedelta) -> None:
        """Lets the engine stop it: it goes on doing so if this executor dies. The grace counts in whole seconds.

        Raises:
            DtsError: the engine does not answer.
        """
        self._vigil.killed_by_us = True
        await self._meter.look()
        with suppress(NotFound, Conflict):
            await self._engine.stop(self._container, grace=math.ceil(grace.total_seconds()))
        await self.kill()

    async def kill(self) -> None:
        """Kills everything in it and returns when it is gone.

        Raises:
            DtsError: the engine does not answer.
        """
        self._vigil.killed_by_us = True
        with suppress(NotFound):
            with suppress(Conflict):  # it does not run
                await self._engine.kill(self._container)
            await self._engine.gone(self._container)

    async def discard(self) -> None:
        """Removes the container, whatever it does; what cannot be removed now is removed later."""
        self._vigil.close()
        self._discarded(await self._removed())

    async def _removed(self) -> bool:
        for _ in range(DISCARD_TRIES):
            try:
                await self._engine.remove(self._container, force=True)
            except NotFound:
                return True
            except Conflict:  # somebody else removes it; until then it may run
                await self._over()
            except DtsError as error:
                log.warning("%s cannot be removed: %s", self._container[:12], error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return True
        return False

    async def _over(self) -> None:
        with suppress(DtsError):
            await self._engine.gone(self._container)


def _refused(sentence: str) -> Refused:
    return Refused(Reason.ENGINE_ERROR, sentence)


async def _cancelled(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
