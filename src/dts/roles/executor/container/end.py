"""How a container ended, told so that a crash of the engine can never turn a failure into a success (rule W).

An engine that lost its notes while a container ended says "exit 0" when it is back. So a success counts only

* from the answer to a wait whose connection was open while the container ran, if the engine is not about to stop, or
* from what the engine has noted, if it is the same engine as at the start. An end noted before the engine was started
  proves nothing: it may be the doing of another restart, of which nobody knows.

What neither tells is not known, and so is an end that the engine itself may have caused: one that stops sends the stop
signal to all that it runs, and work may well answer that with 0.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from dts.docker.engine import Engine
from dts.docker.values import Container, Event
from dts.domain.errors import Conflict, DeadlineExceeded, DtsError, NotFound, Unavailable
from dts.pb.dts.v1 import Reason
from dts.roles.executor.work import Refused

LOOK_SECONDS = 30.0
"""How often the engine is asked whether it forgot to answer."""

ANSWER_SECONDS = 5.0
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0

MARGIN = timedelta(seconds=1)
"""FinishedAt may lie a little before StartedAt, and an engine's clock a little beside ours."""

SETTLE = timedelta(seconds=15)
"""How long an engine that was restarted may take to end what it does not keep: ten seconds for the stop signal."""

OOM_PAUSE = 0.1
OOM_LOOKS = 20
"""How long an engine may take to note that it was memory."""

KILLED = 137
BY_THE_ENGINE = frozenset({0, KILLED, 143, 255})
"""What an engine that stops, dies or is restarted leaves as the exit code of what it took along."""

NEVER_STARTED = "the engine went away before the container was started"


@dataclass(frozen=True, slots=True)
class End:
    """How it ended. exit_code: None if nobody can say. ago: how long before it was noticed."""

    exit_code: int | None
    oom_killed: bool = False
    ago: timedelta = timedelta(0)


def judge(seen: Container, *, same_engine: bool, heard: datetime) -> End:
    """What the engine's notes on a container are worth.

    Args:
        seen: the notes, on a container that does not run.
        same_engine: whether it is certain that the engine was not restarted since the container's start.
        heard: since when it is heard again. When it was heard last is not known: a connection may be dead for long
            before that is noticed.
    """
    if seen.started_at is None or seen.finished_at is None or seen.finished_at < seen.started_at - MARGIN:
        return End(None)
    if not same_engine and seen.finished_at <= heard + MARGIN and seen.exit_code in BY_THE_ENGINE:
        return End(None)
    return ended(seen, seen.exit_code, now=heard)


def ended(seen: Container, exit_code: int, *, now: datetime) -> End:
    """The exit code decides; memory is the cause only if the work itself was killed, not a child it did without."""
    ago = now - seen.finished_at if seen.finished_at is not None else timedelta(0)
    return End(exit_code, seen.oom_killed and exit_code == KILLED, max(ago, timedelta(0)))


class Vigil:
    """Waits for the end of one container, through restarts of the engine.

    Args:
        engine: whose container it is.
        container: its id.
        now: the wall clock; compared with the engine's.
    """

    def __init__(self, engine: Engine, container: str, *, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._container = container
        self._now = now
        self._answer: asyncio.Task[int] | None = None
        self._engine_of: datetime | None = None
        self._settled_at: datetime | None = None
        self.killed_by_us = False
        """A kill has its cause then, and nobody waits for the engine to find another."""

    async def begin(self) -> None:
        """Opens the connection on which the engine will say how it ended; before the start, so that none is missed."""
        self.close()
        self._engine_of = self._engine.started_at()
        self._answer = asyncio.create_task(_answered(self._engine, self._container, opened := asyncio.Event()))
        self._answer.add_done_callback(_heard)
        waiting = asyncio.ensure_future(opened.wait())
        try:
            await asyncio.wait([self._answer, waiting], return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if not opened.is_set():
            self._answer.result()

    async def started_ago(self) -> timedelta | None:
        """How long ago the container started by the engine's notes; None if it does not say so at once."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                seen = await self._engine.inspect(self._container)
        except (DtsError, TimeoutError):
            return None
        return None if seen.started_at is None else max(self._now() - seen.started_at, timedelta(0))

    @property
    def listening(self) -> bool:
        """Whether the connection stands."""
        return self._answer is not None and not self._answer.done()

    def close(self) -> None:
        """Stops listening."""
        if self._answer is not None:
            self._answer.cancel()
            self._answer = None

    async def end(self) -> End:
        """Waits for the end.

        Raises:
            Refused: it was never started.
        """
        while True:
            code = await self._live_answer()
            if code is not None:
                return End(None) if await self._by_the_engine(code) else await self._witnessed(code)
            end = await self._from_notes(listened=self._answer is not None)
            if end is not None:
                return end

    async def _live_answer(self) -> int | None:
        """The exit code; None if the connection broke, or the engine forgot to answer."""
        answer = self._answer
        while answer is not None and not answer.done():
            await asyncio.wait([answer], timeout=LOOK_SECONDS)
            if not answer.done() and await self._is_over():
                await asyncio.wait([answer], timeout=ANSWER_SECONDS)
                break
        if answer is None or not answer.done() or answer.cancelled():
            return None
        with suppress(DtsError):
            return answer.result()
        return None

    async def _by_the_engine(self, code: int) -> bool:
        """Whether the engine may have ended it.

        One that stops takes all along, and one that was just restarted ends what it does not mean to keep.
        """
        if code not in BY_THE_ENGINE:
            return False
        if self._settled_at is not None and self._now() < self._settled_at:
            return True
        return self._engine.started_at() != self._engine_of or not await self._engine.lets_in()

    async def _is_over(self) -> bool:
        """Whether the engine has it as ended; no if it does not say."""
        try:
            return not (await self._engine.inspect(self._container)).alive
        except NotFound:
            return True
        except DtsError:
            return False

    async def _witnessed(self, code: int) -> End:
        """An answer read live is worth as much as can be; the notes only tell whether memory was the cause."""
        try:
            seen = await self._noted(code)
        except NotFound:
            # Somebody removed it: by force if it was killed with that.
            return End(None if code == KILLED else code)
        except DtsError:
            return End(code)
        return ended(seen, code, now=self._now())

    async def _noted(self, code: int) -> Container:
        """The engine's notes. That memory was the cause of a kill it may learn a moment after the end."""
        seen = await self._engine.inspect(self._container)
        for _ in range(OOM_LOOKS):
            if code != KILLED or seen.oom_killed or self.killed_by_us:
                break
            await asyncio.sleep(OOM_PAUSE)
            seen = await self._engine.inspect(self._container)
        return seen

    async def _from_notes(self, *, listened: bool) -> End | None:
        """After the connection broke: the end by the engine's notes; None if the container runs on."""
        seen = await self._seen_again()
        if seen is None:
            return End(None)
        if seen.alive:
            if listened and not await self._same_engine(seen):
                self._settled_at = self._now() + SETTLE
            return None
        self.close()
        if seen.unstarted:
            return await self._take_back(seen)
        same = await self._same_engine(seen)
        return judge(seen, same_engine=same, heard=self._now())

    async def _seen_again(self) -> Container | None:
        """What the engine has noted as soon as it answers; None if it knows no such container.

        Listening begins before the look, so that an end after the look is heard.
        """
        pause = FIRST_PAUSE
        while True:
            try:
                await self.begin()
                return await self._engine.inspect(self._container)
            except NotFound:
                return None
            except DtsError:
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)

    async def _take_back(self, seen: Container) -> End | None:
        """It is not started: removed, so that a start on its way cannot come true later; None if it just did."""
        if seen.error or seen.exit_code:
            raise Refused(Reason.ENGINE_ERROR, start_failure(seen))
        try:
            await self._engine.remove(self._container, force=False)
        except (Conflict, Unavailable, DeadlineExceeded):
            return None
        except NotFound:
            pass
        raise Refused(Reason.ENGINE_ERROR, NEVER_STARTED)

    async def _same_engine(self, seen: Container) -> bool:
        """Whether it is certain that the engine was not restarted since the container's start."""
        if seen.started_at is None:
            return False
        started = self._engine.started_at()
        if started is not None and started < seen.started_at - MARGIN:
            return True
        try:
            events = await self._engine.events(since=seen.started_at - MARGIN, until=self._now())
        except DtsError:
            return False
        return saw_it(events, seen.id)


def saw_it(events: Sequence[Event], container: str) -> bool:
    """Whether an engine with these memories saw the start of a container, or its end when it was settled.

    It forgets all when it is restarted, and the oldest when there is much to remember.
    """
    if any(event.container == container and event.action == "start" for event in events):
        return True
    ends = [event.at for event in events if event.container == container and event.action == "die"]
    return bool(ends) and events[0].at <= ends[-1] - SETTLE


def start_failure(seen: Container) -> str:
    """Why a start failed, as the engine noted it."""
    return seen.error or f"the engine could not start it (exit code {seen.exit_code})"


def _heard(answer: asyncio.Task[int]) -> None:
    """Takes note of an error that nobody may come to ask for."""
    if not answer.cancelled():
        answer.exception()


async def _answered(engine: Engine, container: str, opened: asyncio.Event) -> int:
    watch = await engine.watch(container)
    opened.set()
    try:
        return await watch.exit_code()
    finally:
        watch.close()
