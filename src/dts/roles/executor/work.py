"""What the executor asks of the kinds of work: prepare before the instant, start on it, wait, stop, tidy up."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from dts.pb.dts.v1 import LogStream, Reason, WorkSpec

MISSING_SECONDS = 5.0
"""How long a kind may take to say whether it can be run."""

Emit = Callable[[LogStream, bytes], Awaitable[None]]
"""Takes what an attempt printed, in the order of its stream; waiting in it slows the source down."""


@dataclass(frozen=True, slots=True)
class Job:
    """One attempt of a run.

    previous_success_at: the scheduled time of the task's last success.
    traceparent: the span that its own spans belong to, where traces are on.
    image_digest: what an earlier attempt of the run found its image to be; empty if there was none.
    start_by: monotonic seconds; who cannot start at once gives up then.
    """

    run_id: UUID
    attempt: int
    scheduled_at: datetime
    previous_success_at: datetime | None
    spec: WorkSpec
    parameters: Mapping[str, str]
    start_by: float = math.inf
    image_digest: str = ""
    traceparent: str = ""

    @property
    def key(self) -> tuple[UUID, int]:
        """What names the attempt."""
        return self.run_id, self.attempt


@dataclass(frozen=True, slots=True)
class Ended:
    """How the work ended.

    exit_code: as the kernel or the engine gave it; 128 + n for signal n. None if it cannot be known any more.
    cpu_time: of the work and everything below it, as far as known.
    peak_memory: bytes; 0 if not known.
    ago: how long before `wait` returned: while the executor was away or frozen, or its log was handed on.
    why: what else is known of a failure, beside its exit code.
    """

    exit_code: int | None
    oom_killed: bool = False
    cpu_time: timedelta = timedelta(0)
    peak_memory: int = 0
    ago: timedelta = timedelta(0)
    why: str = ""

    def told_after(self, seconds: float) -> Ended:
        """The same, told so much later."""
        return replace(self, ago=self.ago + timedelta(seconds=seconds))


class Refused(Exception):
    """The work cannot be prepared or started.

    final: the same would fail again on any node.
    """

    def __init__(self, reason: Reason, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.final = final


class Work(Protocol):
    """One prepared attempt. `start` is called at most once; `discard` always, at the end, and may be called twice."""

    @property
    def handle(self) -> str:
        """Container id or process id; empty before there is one."""
        ...

    @property
    def image_digest(self) -> str:
        """Digest of the image; empty where there is none."""
        ...

    async def start(self) -> None:
        """Starts the work; returns when it runs.

        Raises:
            Refused: it cannot be started.
        """
        ...

    async def started_ago(self) -> timedelta | None:
        """How long ago it started, as those say who run it: the executor may have been frozen, or restarted.

        None where nobody knows better than the executor. Never raises.
        """
        ...

    async def wait(self, emit: Emit) -> Ended:
        """Hands on what the work prints and returns when it is over and everything it printed was handed on."""
        ...

    async def stop(self, *, grace: timedelta) -> None:
        """Sends the stop signal, waits for `grace`, then kills it with everything below it. Returns when it is gone."""
        ...

    async def kill(self) -> None:
        """Kills it with everything below it. Returns when it is gone."""
        ...

    async def discard(self) -> None:
        """Releases what is left of it: container, directory, descriptors. Never raises."""
        ...


class Runner(Protocol):
    """Runs one kind of work on this machine."""

    async def missing(self) -> str:
        """Why this node cannot run the kind at the moment, in a few words; empty if it can."""
        ...

    async def prepare(self, job: Job) -> Work:
        """Makes everything ready so that the start costs nothing but the start: image, container, directory.

        Raises:
            Refused: it cannot be prepared.
        """
        ...

    async def find(self, jobs: Sequence[Job]) -> dict[tuple[UUID, int], Work]:
        """Finds what an earlier incarnation of the executor started and did not finish.

        What is found is running or has ended: `wait` answers for both, and hands on what was printed from the
        beginning. Everything of this executor's that belongs to none of the jobs, and to nothing that was prepared or
        found before and is not discarded, is killed and removed.
        """
        ...


async def why_missing(runner: Runner) -> str:
    """Why the node cannot run a kind now; empty if it can."""
    try:
        async with asyncio.timeout(MISSING_SECONDS):
            return await runner.missing()
    except TimeoutError:
        return f"no answer within {MISSING_SECONDS:g} s"
    except Exception as error:  # noqa: BLE001 - a kind that cannot even be asked is missing, for that reason
        return f"cannot be asked: {type(error).__name__}"
