"""A caller's end of one call: grpclib's stream, made safe to cancel, bounded, and never silent about a status."""

from __future__ import annotations

import asyncio
import binascii
from types import TracebackType
from typing import Any, Self

import h2.exceptions
from grpclib.client import Stream
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError
from grpclib.utils import DeadlineWrapper, Wrapper

from dts.domain.errors import DtsError
from dts.rpc.framing import read_message


class CleanWrapper(Wrapper):
    """Wakes whoever waits for a call that has ended, and takes the cancellation back that it used for that.

    grpclib leaves the count of cancellations raised, after which an `asyncio.timeout` around the call raises
    CancelledError instead of TimeoutError, and a TaskGroup loses its errors.
    """

    def __init__(self) -> None:
        super().__init__()
        self._woken: set[asyncio.Task[Any]] = set()

    def cancel(self, error: Exception) -> None:
        """Raises the error in whoever waits, now or later; the first one counts."""
        if self._error is None:
            self._error = error
            self._woken = set(self._tasks)
            for task in self._woken:
                task.cancel()
            self.cancelled = True

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.discard(task)
        if self._error is None:
            return
        if task in self._woken:
            self._woken.discard(task)
            if task.uncancel() and kind is not None and issubclass(kind, asyncio.CancelledError):
                return  # somebody else cancelled the task too: that comes first
        elif kind is not None and issubclass(kind, asyncio.CancelledError):
            return
        raise self._error


class CleanDeadlineWrapper(CleanWrapper, DeadlineWrapper):
    """The same with a deadline."""


class CallerStream(Stream[Any, Any]):
    """One call under way.

    Attributes:
        limit: the largest message that is accepted, in bytes.
    """

    limit: int

    async def __aenter__(self) -> Self:
        if self._deadline is None:
            self._wrapper = CleanWrapper()
        else:
            self._wrapper = wrapper = CleanDeadlineWrapper()
            self._wrapper_ctx = wrapper.start(self._deadline)
            self._wrapper_ctx.__enter__()
        return self

    async def send_message(self, message: Any, *, end: bool = False) -> None:
        """Sends a message; where the other side has ended the call, its status is what is raised in the end."""
        try:
            await super().send_message(message, end=end)
        except h2.exceptions.StreamClosedError as error:
            raise StreamTerminatedError("the other side has ended the call") from error

    async def recv_message(self) -> Any:
        """The next message, None at the end."""
        if not self._recv_initial_metadata_done:
            await self.recv_initial_metadata()
        with self._wrapper:
            body = await self._read()
            return None if body is None else self._decode(body)

    async def recv_trailing_metadata(self) -> None:
        """Waits for the status of the call; one that ended without is an error, not a wait without end."""
        ended = self._stream.buffer._eof  # noqa: SLF001 - grpclib has no other way to tell
        if ended and self._stream.trailers is None and not self._trailers_only:
            raise GRPCError(Status.UNKNOWN, "the other side ended the call without a status")
        await super().recv_trailing_metadata()

    async def _read(self) -> bytes | None:
        try:
            return await read_message(self._stream, limit=self.limit)
        except DtsError as error:
            self._maybe_raise()  # a stream that was cut off within a message may still say why
            raise _unreadable(error) from error

    def _decode(self, body: bytes) -> Any:
        try:
            return self._codec.decode(body, self._recv_type)
        except DtsError as error:
            raise _unreadable(error) from error

    def fail(self, error: Exception) -> None:
        """Raises the error in whoever waits for the other side."""
        self._wrapper.cancel(error)

    def abandon(self) -> None:
        """Nothing more will be sent, though the other side was not told so: it has answered already."""
        self._end_done = True

    def _process_grpc_status(self, headers_map: dict[str, str]) -> tuple[Status, str | None, Any]:
        try:
            return super()._process_grpc_status(headers_map)
        except binascii.Error:  # details that cannot be read must not hide the status
            known = {name: value for name, value in headers_map.items() if name != "grpc-status-details-bin"}
            return super()._process_grpc_status(known)


def _unreadable(error: DtsError) -> GRPCError:
    return GRPCError(Status.INTERNAL, f"the answer cannot be read: {error.message}")
