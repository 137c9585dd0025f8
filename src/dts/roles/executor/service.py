"""Task Execution Service: what others may ask of a node. Work reaches it through the attachment."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from dts.pb.dts.v1 import (
    Attempt as AttemptMessage,
)
from dts.pb.dts.v1 import (
    DescribeNodeRequest,
    DescribeNodeResponse,
    ExecutorServiceBase,
    HeldAttempt,
    ListAttemptsRequest,
    ListAttemptsResponse,
    RunState,
)
from dts.roles.executor.attempt import Attempt
from dts.roles.executor.executor import Executor
from dts.roles.executor.timetable import Monotonic


class ExecutorService(ExecutorServiceBase):
    """The executor's face.

    Args:
        executor: the one of this process.
        scheduler: address of the scheduler as people know it.
        monotonic: the executor's.
        now: the wall clock.
    """

    def __init__(
        self, executor: Executor, *, scheduler: str, monotonic: Monotonic, now: Callable[[], datetime]
    ) -> None:
        self._executor = executor
        self._scheduler = scheduler
        self._monotonic = monotonic
        self._now = now

    async def describe_node(
        self,
        message: DescribeNodeRequest,  # noqa: ARG002 - the contract has one
    ) -> DescribeNodeResponse:
        """Says who the node is and what it can do."""
        return DescribeNodeResponse(
            node=await self._executor.describe(),
            attached_to=self._scheduler if self._executor.attached else "",
            unacknowledged=self._executor.unacknowledged,
        )

    async def list_attempts(
        self,
        message: ListAttemptsRequest,  # noqa: ARG002 - the contract has one
    ) -> ListAttemptsResponse:
        """Lists what the node holds. Noops are not listed: they take no time."""
        node = await self._executor.describe()
        return ListAttemptsResponse(
            attempts=[self._held(attempt, node.hostname) for attempt in self._executor.attempts]
        )

    def _held(self, attempt: Attempt, hostname: str) -> HeldAttempt:
        job = attempt.assigned.job
        return HeldAttempt(
            run_id=str(job.run_id),
            task=job.spec.task,
            attempt=AttemptMessage(
                number=job.attempt,
                node=hostname,
                state=RunState.ASSIGNED if attempt.started is None else RunState.RUNNING,
                started_at=self._wall(attempt.started),
                image_digest=attempt.image_digest,
                handle=attempt.handle,
                log_bytes=attempt.log_bytes,
            ),
        )

    def _wall(self, instant: float | None) -> datetime | None:
        if instant is None:
            return None
        return self._now() - timedelta(seconds=self._monotonic() - instant)
