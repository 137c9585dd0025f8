"""One attempt as a process: start it, hand on what it prints, stop it with everything below it."""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
import os
import resource
import shutil
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from dts.pb.dts.v1 import LogStream, Reason
from dts.roles.executor.process.census import Census, Mark
from dts.roles.executor.process.shim import (
    EXIT_FILE,
    PID_FILE,
    STDERR_FILE,
    STDOUT_FILE,
    Shim,
    Stat,
    launch,
    peak_below,
    read_exit,
    read_stat,
    written_ago,
)
from dts.roles.executor.process.tail import SHORTEST_PAUSE, Tail, follow
from dts.roles.executor.process.world import World
from dts.roles.executor.work import Emit, Ended, Refused

log = logging.getLogger(__name__)

SHORTEST_KILL_PAUSE = 0.01
LONGEST_KILL_PAUSE = 1.0
SPARE_THE_SHIM_FOR = 10
"""So many passes of a kill leave the supervisor alive, to write down the true exit code."""

FIRST_SAMPLE = 0.05
LONGEST_SAMPLE = 2.0
"""How often the memory of a process is looked at, in seconds."""


@dataclass(frozen=True, slots=True)
class Place:
    """Whose attempt it is, and where its files lie."""

    run_id: str
    attempt: int
    directory: Path
    census: Census


class ProcessWork:
    """One attempt.

    world: None for what an earlier incarnation of the executor started; shim: its supervisor.
    discarded: told at the end.
    """

    image_digest = ""

    def __init__(
        self,
        place: Place,
        *,
        world: World | None = None,
        shim: Shim | None = None,
        discarded: Callable[[], None] = lambda: None,
    ) -> None:
        self._place = place
        self._discarded = discarded
        self._world = world
        self._stop_with = world.stop if world else signal.SIGTERM
        self._shim = shim
        self._own = world is not None
        self._over: asyncio.Task[Ended] | None = None
        self._over_at = 0.0
        self._spare_until = 0.0
        self._peak_before = 0
        self._peak = 0

    @classmethod
    def adopted(
        cls, place: Place, shim: Shim | None, stop: signal.Signals, discarded: Callable[[], None]
    ) -> ProcessWork:
        """What an earlier incarnation started. shim: None if it is over."""
        work = cls(place, shim=shim, discarded=discarded)
        work._stop_with = stop
        work._over = asyncio.create_task(work._watch())
        return work

    @property
    def handle(self) -> str:
        """The supervisor's process id, which is its session and group; empty before the start."""
        return str(self._shim.pid) if self._shim else ""

    async def start(self) -> None:
        """Starts it; a matter of a millisecond.

        Raises:
            Refused: the system would not.
        """
        world = self._world
        assert world is not None, "what was found runs already"
        try:
            self._shim = launch(
                self._place.directory, world.command, environment=world.environment, cwd=world.cwd, stop=world.stop
            )
        except OSError as error:
            raise _not_started(error) from error
        self._peak_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        self._over = asyncio.create_task(self._watch())

    async def started_ago(self) -> timedelta | None:
        """As its supervisor left it behind."""
        return written_ago(self._place.directory, PID_FILE)

    async def wait(self, emit: Emit) -> Ended:
        """Hands on what it prints and returns when it is over, with everything below it."""
        assert self._over is not None, "wait comes after start"
        tails = [
            Tail(self._place.directory / STDOUT_FILE, LogStream.STDOUT),
            Tail(self._place.directory / STDERR_FILE, LogStream.STDERR),
        ]
        await follow(tails, emit, self._over)
        return self._over.result().told_after(asyncio.get_running_loop().time() - self._over_at)

    async def stop(self, *, grace: timedelta) -> None:
        """Sends the stop signal to everything below it; what is left after `grace` is killed."""
        if self._over is None or self._over.done():
            return
        if self._stop_with is not signal.SIGKILL:
            self._spare_until = asyncio.get_running_loop().time() + grace.total_seconds()
            await self._signal_all(self._stop_with)
            await asyncio.wait([self._over], timeout=grace.total_seconds())
        if not self._over.done():
            await self.kill()

    async def kill(self) -> None:
        """Kills everything below it."""
        if self._over is None or self._over.done():
            return
        self._spare_until = 0.0
        await self._kill_all()
        await asyncio.wait([self._over])

    async def discard(self) -> None:
        """Removes its directory; what should still run is killed first."""
        if self._over is not None and not self._over.done():
            await self.kill()
        await asyncio.to_thread(shutil.rmtree, self._place.directory, ignore_errors=True)
        self._discarded()

    async def _watch(self) -> Ended:
        """From start to end: waits for the supervisor, lets nothing of the run outlive it, and says how it ended."""
        if self._shim is not None:
            await self._sampled(_end_of(self._shim))
        await self._spare()
        await self._kill_all()
        self._over_at = asyncio.get_running_loop().time()
        return self._ended()

    async def _sampled(self, end: Coroutine[None, None, None]) -> None:
        """Waits for the end, and looks at the memory now and then."""
        assert self._shim is not None
        ending = asyncio.ensure_future(end)
        pause = FIRST_SAMPLE
        try:
            while not (await asyncio.wait([ending], timeout=pause))[0]:
                self._peak = max(self._peak, peak_below(self._shim.pid))
                pause = min(pause * 2, LONGEST_SAMPLE)
        finally:
            ending.cancel()

    async def _spare(self) -> None:
        """While it is being stopped, what is left of it has the rest of the grace."""
        clock = asyncio.get_running_loop().time
        while clock() < self._spare_until and await self._members():  # noqa: ASYNC110 - /proc tells nobody
            await asyncio.sleep(SHORTEST_PAUSE)

    async def _kill_all(self) -> None:
        """Kills until none is left: what is forked during a pass is found by the next."""
        pause = SHORTEST_KILL_PAUSE
        for times in itertools.count():
            members = await self._members()
            if not members:
                return
            if self._are_beyond_us(members):
                log.warning("processes of run %s may not be ended by us: %s", self._place.run_id, _pids(members))
                return
            if times == SPARE_THE_SHIM_FOR:
                log.warning("processes of run %s resist being killed: %s", self._place.run_id, _pids(members))
            for member in members:
                self._kill(member, times)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_KILL_PAUSE)

    def _are_beyond_us(self, members: list[Stat]) -> bool:
        """Whether all that is left is somebody else's, as what sudo started: the work itself is over."""
        return not any(self._is_shim(member) or _send(member.pid, 0) for member in members)

    def _kill(self, member: Stat, times: int) -> None:
        """The supervisor ends by itself when nothing is below it any more, unless it was halted."""
        spared = self._is_shim(member) and times < SPARE_THE_SHIM_FOR
        _send(member.pid, signal.SIGCONT if spared else signal.SIGKILL)

    async def _members(self) -> list[Stat]:
        place = self._place
        while True:
            try:
                return await place.census.members(Mark(place.run_id, place.attempt, self._shim))
            except OSError as error:
                log.warning("cannot look for the processes of run %s: %s", place.run_id, error)
                await asyncio.sleep(LONGEST_KILL_PAUSE)

    def _is_shim(self, member: Stat) -> bool:
        return self._shim == Shim(member.pid, member.started)

    async def _signal_all(self, number: signal.Signals) -> None:
        """To the group at once, and then to what has left it."""
        self._signal_group(number)
        for member in await self._members():
            if self._shim is None or member.group != self._shim.pid:
                _send(member.pid, number)

    def _signal_group(self, number: signal.Signals) -> None:
        """To the supervisor's group at once; nothing if it has ended, since its number may be another's then."""
        stat = read_stat(self._shim.pid) if self._shim else None
        if stat is not None and self._is_shim(stat):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(stat.pid, number)

    def _ended(self) -> Ended:
        """Reads how it ended. A child of our own is waited for last: until then nobody else can get its number."""
        with suppress(ChildProcessError):  # not waited for by anybody else, unless this process ignores SIGCHLD
            if self._own and self._shim is not None:
                return self._reaped(self._shim.pid)
        written = read_exit(self._place.directory)
        if written is None:
            return Ended(exit_code=None, peak_memory=self._peak)
        return Ended(exit_code=written.code, cpu_time=written.cpu_time, peak_memory=self._peak, ago=self._ended_ago())

    def _reaped(self, pid: int) -> Ended:
        """The status of an own child that has ended."""
        _, status, usage = os.wait4(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        # The kernel counts the memory of the parent that a child was forked from as the child's own, up to its exec:
        # a peak tells something of the work only if it is above that.
        peak = usage.ru_maxrss * 1024
        return Ended(
            exit_code=code if code >= 0 else 128 - code,
            cpu_time=timedelta(seconds=usage.ru_utime + usage.ru_stime),
            peak_memory=peak if peak > self._peak_before else self._peak,
            ago=self._ended_ago(),
        )

    def _ended_ago(self) -> timedelta:
        return written_ago(self._place.directory, EXIT_FILE) or timedelta(0)


async def _end_of(shim: Shim) -> None:
    """Waits for the end of a supervisor, an own child or not."""
    try:
        descriptor = os.pidfd_open(shim.pid)
    except OSError:
        # No such process, no such call in an old kernel or sandbox, or no descriptor left: looking does as well.
        while _runs(shim):  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(SHORTEST_PAUSE)
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _not_started(error: OSError) -> Refused:
    sentence = f"the process could not be started: {error.strerror or error}"
    too_long = error.errno == errno.E2BIG
    return Refused(Reason.INVALID if too_long else Reason.ENGINE_ERROR, sentence, final=too_long)


def _pids(members: list[Stat]) -> str:
    return ", ".join(str(member.pid) for member in members)


def _runs(shim: Shim) -> bool:
    stat = read_stat(shim.pid)
    return stat is not None and stat.started == shim.started and not stat.gone


def _send(pid: int, number: int) -> bool:
    """Whether it may be sent."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return True
