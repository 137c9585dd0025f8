"""One attempt that has a task of its own: prepared before its instant, started on it, watched, stopped, handed in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import Protocol

from dts.domain.durations import format_duration
from dts.pb.dts.v1 import Reason, ReportDetail, RunState
from dts.roles.executor.assigned import Assigned, one_row
from dts.roles.executor.distant_clock import DistantClock
from dts.roles.executor.journal import Journal
from dts.roles.executor.keys import words
from dts.roles.executor.lease import Lease
from dts.roles.executor.noop import LATE
from dts.roles.executor.outbox import Outbox, Result, encode
from dts.roles.executor.shipping import LogSource, Shipper
from dts.roles.executor.timetable import Monotonic, Timetable
from dts.roles.executor.work import Ended, Job, Refused, Runner, Work, why_missing
from dts.runtime.logs import about

log = logging.getLogger(__name__)

MICROSECOND = timedelta(microseconds=1)
CONFIRMED_SECONDS = 0.25
"""A start that is confirmed sooner began with that; of any other it is asked when it really did."""

STOP_AGAIN_SECONDS = 2.0
"""An engine that could not be told to stop the work is told again."""

DISK_SECONDS = 5.0
"""How long a result waits for a slow disk before it is reported all the same."""

OF_THE_NODE = frozenset({Reason.ENGINE_ERROR, Reason.IMAGE_PULL})
"""Reasons for which work is refused that may lie in the node alone, such as in an engine that is away."""

NEVER_STARTED = frozenset({Reason.START_DEADLINE, Reason.NO_NODE})
"""Reasons of work that an earlier process had asked for, and that nobody began."""

GONE = "the executor was restarted and the work it had started is gone; how it ended is not known"
UNKNOWN_END = "how it ended is not known"


class Phase(Enum):
    """Where an attempt stands. What waits may be given up; from STARTED on it is seen through."""

    WAITING = auto()
    STARTED = auto()
    ENDING = auto()
    OVER = auto()


@dataclass(frozen=True, slots=True)
class Cause:
    """Why an attempt is stopped. `fenced`: nothing is reported."""

    state: RunState
    reason: Reason
    message: str = ""
    fenced: bool = False


class Traced(Protocol):
    """Makes spans of attempts."""

    def told(self, job: Job) -> Job:
        """An attempt that knows its span."""
        ...

    def ended(self, assigned: Assigned, result: Result) -> None:
        """An attempt is over."""
        ...


@dataclass(slots=True)
class Tools:
    """What every attempt works with."""

    runners: Mapping[str, Runner]
    timetable: Timetable
    lease: Lease
    clock: DistantClock
    """The database's."""
    outbox: Outbox
    journal: Journal
    shipper: Shipper
    monotonic: Monotonic
    searched: Mapping[str, asyncio.Event]
    """By kind, set once what an earlier process left was looked for. Whatever is prepared before that would be
    taken for a leftover."""
    traced: Traced | None = None
    """Where traces are on."""


class _NoLease(Exception):
    """It is due and may not start."""


class _Unable(Exception):
    """It has not started, and the node cannot run its kind at the moment."""


class Attempt:
    """Its life is one coroutine: `live`, or `resume` for what an earlier process started.

    Cancelling that coroutine tidies up what has not started and leaves alone what has: the next process finds it.
    """

    def __init__(self, assigned: Assigned, tools: Tools) -> None:
        self.assigned = assigned
        self.phase = Phase.WAITING
        self.started: float | None = None
        self.unable = False
        """Over without a result: another node may be able to."""
        self._tools = tools
        self._log: LogSource = tools.shipper.source(assigned.key, assigned.job.scheduled_at)
        self._work: Work | None = None
        self._cause: Cause | None = None
        self._discarded = False
        self._kill = False
        self._watching = False
        self._stopper: asyncio.Task[None] | None = None

    @property
    def handle(self) -> str:
        """Container id or process id, if there is one."""
        return self._work.handle if self._work else ""

    @property
    def image_digest(self) -> str:
        """Digest of the image, if there is one."""
        return self._work.image_digest if self._work else ""

    @property
    def log_bytes(self) -> int:
        """What it printed so far."""
        return self._log.log.seen

    # -- its life

    async def live(self) -> None:
        """From assignment to result."""
        self._begin()
        try:
            await self._hand_in(await self._guarded(self._run()))
        except (_NoLease, _Unable) as why:
            self.phase = Phase.OVER
            self.unable = isinstance(why, _Unable)
            self._tools.journal.forget([self.assigned.key])
        finally:
            if self.phase in {Phase.WAITING, Phase.OVER}:
                await self._leave_nothing()

    async def resume(self, found: Awaitable[Work | None], started: float) -> None:
        """From an earlier process's start to the result. found: None if the work is gone."""
        self._begin()
        self.phase, self.started = Phase.STARTED, started
        work = await found
        if work is None:
            result = self._result(RunState.FAILED, Reason.NODE_LOST, GONE)
        else:
            self._work = work
            self.started = await self._began(work, started, unless_told=started)
            result = await self._guarded(self._watched(work))
        await self._hand_in(result)
        await self._leave_nothing()

    def stop(self, cause: Cause, *, kill: bool = False) -> None:
        """Stops what has started; the first cause counts, a kill comes through at any time."""
        escalates = kill and not self._kill
        if self._cause is None or (cause.fenced and not self._cause.fenced):
            self._cause = cause
        elif not escalates:
            return
        self._kill = self._kill or kill
        if self._watching:
            self._launch_stopper()

    def _begin(self) -> None:
        """Whatever is logged from here on, by whichever module, says which run it is about."""
        job = self.assigned.job
        about(run=str(job.run_id), task=job.spec.task, attempt=job.attempt)

    async def _guarded(self, life: Awaitable[Result]) -> Result:
        try:
            return await life
        except Refused as refused:
            if refused.reason in NEVER_STARTED:
                self.started = None
            await self._leave_nothing()
            return self._refused(refused) if self._cause is None else self._outcome(Ended(exit_code=None))
        except (_NoLease, _Unable):
            raise
        except Exception as error:  # a runner's bug must cost its own attempt, and no other
            log.exception("%s failed inside the executor", words(self.assigned.key))
            await self._leave_nothing()
            return self._result(RunState.FAILED, Reason.ENGINE_ERROR, f"the executor failed: {type(error).__name__}")

    async def _leave_nothing(self) -> None:
        """Before an end is told that nobody saw: the work may run all the same, and the next run begin beside it."""
        if self._work is not None and not self._discarded:
            await self._work.discard()
            self._discarded = True

    async def _run(self) -> Result:
        self._tools.journal.job(self.assigned.key, one_row(self.assigned, now=self._tools.monotonic()))
        try:
            self._work = work = await self._prepared()
            await self._tools.timetable.until(self.assigned.due)
            await self._start(work)
        except Refused as refused:
            if refused.reason in OF_THE_NODE and await self._is_unable() and self._cause is None:
                raise _Unable from refused
            raise
        return await self._watched(work)

    async def _is_unable(self) -> bool:
        runner = self._tools.runners.get(self.assigned.kind)
        why = await why_missing(runner) if runner is not None else ""
        if why:
            log.warning("%s is given back: %s", words(self.assigned.key), why)
        return bool(why)

    async def _prepared(self) -> Work:
        kind = self.assigned.kind
        runner = self._tools.runners.get(kind)
        if runner is None:
            raise Refused(Reason.INVALID, f"this node does not run the kind {kind!r}" if kind else "it names no kind")
        left = self.assigned.start_by - self._tools.monotonic()
        try:
            async with asyncio.timeout(left) as patience:
                await self._tools.searched[kind].wait()
                return await runner.prepare(self._job())
        except TimeoutError:
            if not patience.expired():
                raise
            raise Refused(Reason.START_DEADLINE, "it could not be made ready before its start deadline") from None

    def _job(self) -> Job:
        job, traced = self.assigned.job, self._tools.traced
        return job if traced is None else traced.told(job)

    async def _start(self, work: Work) -> None:
        now = self._tools.monotonic()
        if now > self.assigned.start_by:
            raise Refused(Reason.START_DEADLINE, LATE)
        if not self._tools.lease.holds(now):
            raise _NoLease
        self.phase, self.started = Phase.STARTED, now
        self._tools.journal.started(self.assigned.key)
        self._watching = True  # a service may wait for its node for minutes
        try:
            await work.start()
        except Refused:
            self.started = None
            raise
        finally:
            self._watching = False
            await self._dismiss_stopper()
        self.started = await self._began(work, now, unless_told=self._tools.monotonic())
        # An engine may take seconds: who takes over must not tell when it was asked.
        self._tools.journal.started(self.assigned.key, ago=self._tools.monotonic() - self.started)
        self._tools.timetable.started(self.started - self.assigned.due, 1)
        self._tools.outbox.runs(self.assigned.key, self.started)
        log.debug("started", extra={"kind": self.assigned.kind, "handle": self.handle})

    async def _began(self, work: Work, ordered: float, *, unless_told: float) -> float:
        """When it did. Between order and confirmation an engine may be busy, or this process frozen or replaced."""
        confirmed = self._tools.monotonic()
        if confirmed - ordered < CONFIRMED_SECONDS:
            return confirmed
        ago = await work.started_ago()
        if ago is None:
            return unless_told
        return min(max(self._tools.monotonic() - ago.total_seconds(), ordered), confirmed)

    async def _watched(self, work: Work) -> Result:
        self._watching = True
        if self._cause is not None:
            self._launch_stopper()
        timer = self._timeout_timer()
        try:
            ended = await work.wait(self._log.emit)
        finally:
            self._watching = False
            if timer is not None:
                timer.cancel()
            await self._dismiss_stopper()
        return self._outcome(ended)

    async def _hand_in(self, result: Result) -> None:
        """The log first, then the journal, then the report: who sees the result can read all of the log."""
        tools, key = self._tools, self.assigned.key
        self.phase = Phase.ENDING
        await self._log.close()
        if self._cause is not None and self._cause.fenced:
            tools.journal.forget([key])
        else:
            now = tools.monotonic()
            tools.journal.result(key, encode({key: result}, now, tools.clock.at(now)))
            with suppress(TimeoutError):
                async with asyncio.timeout(DISK_SECONDS):
                    await tools.journal.synced()
            tools.outbox.add([key], result)
            self._tell(result)
        self.phase = Phase.OVER

    def _tell(self, result: Result) -> None:
        """In the log, where success is the rule and says nothing, and as a span."""
        level = logging.DEBUG if result.state is RunState.SUCCEEDED else logging.INFO
        if log.isEnabledFor(level):
            fields = {"state": result.state.name, "reason": result.reason.name, "exit_code": result.exit_code}
            why = result.detail.message if result.detail is not None else ""
            log.log(level, "ended", extra={**fields, "why": why})
        if self._tools.traced is not None:
            self._tools.traced.ended(self.assigned, result)

    # -- stopping

    def _timeout_timer(self) -> asyncio.TimerHandle | None:
        timeout = self.assigned.job.spec.timeout
        if not timeout or self.started is None:
            return None
        left = self.started + timeout.total_seconds() - self._tools.monotonic()
        message = f"it ran longer than its timeout of {format_duration(timeout)}"
        cause = Cause(RunState.TIMED_OUT, Reason.TIMEOUT, message)
        return asyncio.get_running_loop().call_later(max(0.0, left), lambda: self.stop(cause))

    def _launch_stopper(self) -> None:
        assert self._work is not None
        if self._stopper is not None:
            self._stopper.cancel()
        grace = self.assigned.job.spec.stop_grace or timedelta(0)
        work = self._work
        stop: Callable[[], Awaitable[None]] = work.kill if self._kill else lambda: work.stop(grace=grace)
        self._stopper = asyncio.create_task(self._keep_stopping(stop), name=f"stop {words(self.assigned.key)}")

    async def _keep_stopping(self, stop: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await stop()
            except Exception as error:  # noqa: BLE001 - whatever kept it from stopping, it must stop
                log.warning("%s could not be stopped: %s; again soon", words(self.assigned.key), error)
                await asyncio.sleep(STOP_AGAIN_SECONDS)
            else:
                return

    async def _dismiss_stopper(self) -> None:
        if self._stopper is not None:
            self._stopper.cancel()
            await asyncio.wait([self._stopper])

    # -- results

    def _outcome(self, ended: Ended) -> Result:
        cause = self._cause
        if cause is not None:
            return self._result(cause.state, cause.reason, cause.message, ended)
        if ended.oom_killed:
            return self._result(RunState.FAILED, Reason.OOM_KILLED, "the kernel killed it for its use of memory", ended)
        match ended.exit_code:
            case None:
                return self._result(RunState.FAILED, Reason.NODE_LOST, UNKNOWN_END, ended)
            case 0:
                return self._result(RunState.SUCCEEDED, Reason.OK, "", ended)
            case code:
                message = f"it ended with exit code {code}" + (f": {ended.why}" if ended.why else "")
                return self._result(RunState.FAILED, Reason.EXIT_CODE, message, ended)

    def _finished(self, ago: timedelta) -> float:
        return max(self._tools.monotonic() - ago.total_seconds(), self.started or float("-inf"))

    def _refused(self, refused: Refused) -> Result:
        return self._result(RunState.FAILED, refused.reason, refused.message, final=refused.final)

    def _result(
        self, state: RunState, reason: Reason, message: str, ended: Ended | None = None, *, final: bool = False
    ) -> Result:
        end = ended or Ended(exit_code=None)
        return Result(
            state=state,
            reason=reason,
            exit_code=-1 if end.exit_code is None else end.exit_code,
            started=self.started,
            finished=self._finished(end.ago),
            cpu_time=max(0, end.cpu_time // MICROSECOND),
            peak_memory=max(0, end.peak_memory),
            detail=ReportDetail(
                # What servers and engines say need not be text.
                message=message.encode(errors="replace").decode(),
                image_digest=self.image_digest,
                handle=self.handle,
                log_bytes=self.log_bytes,
                final=final,
            ),
        )
