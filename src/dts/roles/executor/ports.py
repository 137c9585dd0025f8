"""What the executor needs of others: the service itself in its own process, or a stub."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from dts.pb.dts.v1 import AppendLogsRequest, AppendLogsResponse, AttachRequest, AttachResponse, Node

NodeSource = Callable[[], Awaitable[Node]]
"""Describes this machine as it is now. Its incarnation stays the same for the life of the process."""


class SchedulerPort(Protocol):
    """The scheduler, whichever replica answers."""

    def attach(self, messages: AsyncIterator[AttachRequest], /) -> AsyncIterator[AttachResponse]: ...


class LogPort(Protocol):
    """Where logs are kept."""

    async def append_logs(self, message: AppendLogsRequest, /) -> AppendLogsResponse: ...
