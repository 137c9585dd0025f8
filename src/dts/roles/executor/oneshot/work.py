"""One attempt as a service of the Swarm: give it its replica, hand on what it prints, say how it ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from dts.docker.swarm import Swarm, SwarmService, SwarmTask
from dts.domain.errors import DeadlineExceeded, DtsError, FailedPrecondition, NotFound, Unavailable
from dts.pb.dts.v1 import Reason
from dts.roles.executor.container.tail import Tail
from dts.roles.executor.work import Emit, Ended, Refused

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 1.0
LOG_IDLE_SECONDS = 0.5
"""The log of a service never ends by itself, so after its end this is waited for each time."""

DISCARD_TRIES = 3
RETRY_SECONDS = 0.5
NOBODY = "node.id==stopped"
"""A constraint that no node meets."""

SWARMS_GRACE = timedelta(seconds=10)
"""Where a definition says none."""

GONE_MARGIN_SECONDS = 20.0
"""How much longer than the grace the managers may take to see that a container is gone."""


class OneshotWork:
    """A service that was created, or that an earlier incarnation started.

    Args:
        swarm: its managers.
        service: its id.
        image: as its definition names it.
        start_by: monotonic seconds by which its container must run.
        monotonic: seconds that never go back.
        discarded: told at the end whether it was removed.
        margin: seconds after the grace in which the Swarm shall say that it has stopped.
    """

    def __init__(
        self,
        swarm: Swarm,
        service: str,
        *,
        image: str,
        start_by: float,
        monotonic: Callable[[], float],
        discarded: Callable[[bool], None],
        margin: float = GONE_MARGIN_SECONDS,
    ) -> None:
        self._swarm = swarm
        self._service = service
        self._image = image
        self._start_by = start_by
        self._monotonic = monotonic
        self._discarded = discarded
        self._margin = margin
        self._stopped = False

    @property
    def handle(self) -> str:
        """The service's id."""
        return self._service

    @property
    def image_digest(self) -> str:
        """The digest in the name of its image; empty if the name has none: each node resolves it for itself."""
        return self._image.partition("@")[2]

    async def start(self) -> None:
        """Gives it its replica, and waits until that runs.

        Raises:
            Refused: it cannot be started, or no node took it by its start deadline; the message has Swarm's reason.
        """
        try:
            await self._give_replica()
            task = await self._running()
        except DtsError as error:
            raise Refused(Reason.ENGINE_ERROR, f"the service could not be started: {error.message}") from error
        if task.over and task.exit_code is None:
            raise Refused(*_why_not(task))

    async def _give_replica(self) -> None:
        """May be said again: it is one replica, not one more. Where no answer came, it may have it."""
        while True:
            try:
                service = await self._swarm.service(self._service)
                if service.replicas:
                    return None
                spec = {**service.spec, "Mode": {"Replicated": {"Replicas": 1}}}
                with suppress(FailedPrecondition):  # it was changed in between; look again
                    return await self._swarm.update(service, spec)
            except (Unavailable, DeadlineExceeded) as error:
                if self._monotonic() > self._start_by:
                    raise
                log.info("service %s: %s", self._service[:12], error)
                await asyncio.sleep(LONGEST_PAUSE)

    async def _running(self) -> SwarmTask:
        pause, task = FIRST_PAUSE, None
        while task is None or task.waiting:
            await self._give_up_late(task)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)
            try:
                task = await self._task() or task
            except NotFound:
                raise
            except DtsError as error:  # it may have begun; managers without a leader say so in a moment
                log.info("service %s: %s", self._service[:12], error)
        return task

    async def _give_up_late(self, task: SwarmTask | None) -> None:
        if self._monotonic() > self._start_by:
            await self.kill()
            raise Refused(*_late(task))

    async def started_ago(self) -> timedelta | None:
        """The clocks of its node and of the managers may differ from ours."""
        return None

    async def wait(self, emit: Emit) -> Ended:
        """Hands on what it prints and returns when it is over; the managers' word counts, never the log's end."""
        clock = asyncio.get_running_loop().time
        tail = Tail(self._swarm, self._service, emit, idle=LOG_IDLE_SECONDS)
        following = asyncio.create_task(tail.follow(), name=f"log of service {self._service[:12]}")
        try:
            task = await self._ended()
            noticed = clock()
            await tail.finish(following)
        finally:
            following.cancel()
            await asyncio.wait([following])
        if task is None:
            return Ended(None)
        if task.exit_code is None and not self._stopped:
            raise Refused(*_why_not(task))
        # A container that the Swarm shut down, because its node was drained or fell silent, did not end by itself.
        by_itself = task.state in {"complete", "failed"} or self._stopped
        return Ended(task.exit_code if by_itself else None).told_after(clock() - noticed)

    async def _ended(self) -> SwarmTask | None:
        """The task when it is over; None if the service is gone, or its replica with all that is known of it.

        Raises:
            Refused: no node took it by its start deadline.
        """
        pause = FIRST_PAUSE
        while True:
            try:
                task = await self._task()
                if task is not None and task.over:
                    return task
                if task is None and not (await self._swarm.service(self._service)).replicas:
                    return None
                if task is None or task.waiting:  # an earlier process asked for it
                    await self._give_up_late(task)
            except NotFound:
                return None
            except DtsError as error:
                log.info("service %s: %s", self._service[:12], error)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)

    async def stop(self, *, grace: timedelta) -> None:
        """Lets no node suit it any more: its node sends the stop signal, and kills after the grace of its definition.

        Were its replica taken away instead, the Swarm would forget the task, and with it the exit code.

        Raises:
            DtsError: the managers do not answer.
        """
        self._stopped = True
        try:
            task = await self._task()
            if task is None or task.waiting:
                return await self._swarm.remove(self._service)
            await self._suit_nobody()
            async with asyncio.timeout(grace.total_seconds() + self._margin):
                await self._gone()
        except NotFound:
            pass
        except TimeoutError:
            # Its node does not answer: the Swarm would go on for a day to say that it runs there.
            with suppress(NotFound):
                await self._swarm.remove(self._service)

    async def _gone(self) -> None:
        while True:
            task = await self._task()
            if task is None or task.over:
                return
            await asyncio.sleep(FIRST_PAUSE)

    async def _suit_nobody(self) -> None:
        while True:
            service = await self._swarm.service(self._service)
            template = service.spec["TaskTemplate"]
            placement = template.get("Placement") or {}
            if NOBODY in (placement.get("Constraints") or ()):
                return None
            placement = {**placement, "Constraints": [*(placement.get("Constraints") or ()), NOBODY]}
            spec = {**service.spec, "TaskTemplate": {**template, "Placement": placement}}
            with suppress(FailedPrecondition):
                return await self._swarm.update(service, spec)

    async def kill(self) -> None:
        """As `stop`, with the grace of its definition: the Swarm gives the same to what it removes.

        But that it would forget at once, and nobody would hear when its container has ended.

        Raises:
            DtsError: the managers do not answer.
        """
        self._stopped = True
        with suppress(NotFound):
            await self.stop(grace=_grace_of(await self._swarm.service(self._service)))

    async def discard(self) -> None:
        """Removes the service; what cannot be removed now is removed later."""
        self._discarded(await self._removed())

    async def _removed(self) -> bool:
        for _ in range(DISCARD_TRIES):
            try:
                await self._swarm.remove(self._service)
            except NotFound:
                return True
            except DtsError as error:
                log.warning("service %s cannot be removed: %s", self._service[:12], error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return True
        return False

    async def _task(self) -> SwarmTask | None:
        """The first task it ever had: whatever the Swarm might start after it does not count."""
        tasks = await self._swarm.tasks(self._service)
        return tasks[0] if tasks else None


def _grace_of(service: SwarmService) -> timedelta:
    container = service.spec["TaskTemplate"].get("ContainerSpec") or {}
    nanoseconds = container.get("StopGracePeriod")
    return SWARMS_GRACE if nanoseconds is None else timedelta(microseconds=nanoseconds // 1000)


def _why_not(task: SwarmTask) -> tuple[Reason, str]:
    """What the Swarm says of a task that never ran."""
    words = task.message or f"Swarm's word is {task.state}"
    if "No such image" in words or "pull" in words.lower():
        return Reason.IMAGE_PULL, f"its node could not get the image: {words}"
    return Reason.ENGINE_ERROR, f"its node did not run it: {words}"


def _late(task: SwarmTask | None) -> tuple[Reason, str]:
    words = task.message if task is not None else ""
    if "no suitable node" in words:
        return Reason.NO_NODE, f"no node of the Swarm took it before its start deadline: {words}"
    state = f" ({task.state})" if task is not None else ""
    return Reason.START_DEADLINE, f"it had not started by its start deadline{state}" + (f": {words}" if words else "")
