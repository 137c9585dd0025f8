"""One table between our errors and the statuses of gRPC, read in both directions.

A caller catches the same `NotFound` whether the service is in its own process or behind a socket. What is no
`DtsError` never crosses with its text: the caller gets `Internal` with an incident id, the log has the trace.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import h2.exceptions
from grpclib.const import Status
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

from dts.domain.errors import (
    AlreadyExists,
    Conflict,
    DeadlineExceeded,
    DtsError,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from dts.rpc.details import Details, Facts, pack, read, shorten

log = logging.getLogger(__name__)

_BOTH_WAYS: tuple[tuple[type[DtsError], Status], ...] = (
    (InvalidArgument, Status.INVALID_ARGUMENT),
    (NotFound, Status.NOT_FOUND),
    (AlreadyExists, Status.ALREADY_EXISTS),
    (Conflict, Status.ABORTED),
    (FailedPrecondition, Status.FAILED_PRECONDITION),
    (PermissionDenied, Status.PERMISSION_DENIED),
    (Unauthenticated, Status.UNAUTHENTICATED),
    (ResourceExhausted, Status.RESOURCE_EXHAUSTED),
    (Unavailable, Status.UNAVAILABLE),
    (DeadlineExceeded, Status.DEADLINE_EXCEEDED),
    (Internal, Status.INTERNAL),
    (DtsError, Status.UNKNOWN),
)
_ONLY_BACK: tuple[tuple[Status, type[DtsError], str], ...] = (
    # The other side ended the call of its own accord, as a server does that stops.
    (Status.CANCELLED, Unavailable, "cancelled"),
    (Status.OUT_OF_RANGE, InvalidArgument, "out_of_range"),
    # An older or a different server: asking again does not help.
    (Status.UNIMPLEMENTED, FailedPrecondition, "unimplemented"),
    (Status.DATA_LOSS, Internal, "data_loss"),
)

_STATUS_OF = dict(_BOTH_WAYS)
_ERROR_OF: dict[Status, tuple[type[DtsError], str]] = {
    **{status: (kind, kind.code) for kind, status in _BOTH_WAYS},
    **{status: (kind, code) for status, kind, code in _ONLY_BACK},
}


def new_incident() -> str:
    """A short id that joins what a caller was told to what the log says."""
    return secrets.token_hex(6)


def to_grpc(error: DtsError) -> GRPCError:
    """The status that stands for one of our errors, with its code and its violations as details."""
    status = next(_STATUS_OF[kind] for kind in type(error).__mro__ if kind in _STATUS_OF)
    violations = error.violations if isinstance(error, InvalidArgument) else ()
    return GRPCError(status, shorten(error.message), pack(status, error.message, error.code, violations))


def from_grpc(error: GRPCError) -> DtsError:
    """The error that a status stands for, whoever sent it."""
    facts = read(error.details) if isinstance(error.details, Details) else Facts()
    kind, code = _ERROR_OF[error.status]
    code = facts.code or code
    message = error.message or error.status.name.lower().replace("_", " ")
    if issubclass(kind, InvalidArgument):
        return _invalid(facts, code, message)
    return kind(message, code=code)


def _invalid(facts: Facts, code: str, message: str) -> InvalidArgument:
    error = InvalidArgument(facts.violations)
    error.code = code
    if not facts.violations:
        error.message, error.args = message, (message,)
    return error


def from_handler(error: Exception, where: str, incident: Callable[[], str] = new_incident) -> DtsError:
    """The error a caller gets for what a service raised; logs what the caller must not see.

    Args:
        error: what came out of the service.
        where: the method, for the log.
        incident: makes the id that caller and log share.
    """
    if isinstance(error, DtsError):
        return error
    if isinstance(error, GRPCError):
        return from_grpc(error)
    number = incident()
    log.error("incident %s in %s", number, where, exc_info=error)
    if isinstance(error, TimeoutError):
        return DeadlineExceeded(f"it took too long inside (incident {number})")
    return Internal(f"something went wrong inside (incident {number}); the log of the server says what")


@contextmanager
def caller_errors(peer: Callable[[], str]) -> Iterator[None]:
    """Turns what a call over a socket can raise into our errors.

    Args:
        peer: says whom the call went to, for the message.
    """
    try:
        with line_errors(peer):
            yield
    except GRPCError as error:
        raise from_grpc(error) from error


@contextmanager
def line_errors(peer: Callable[[], str]) -> Iterator[None]:
    """Turns what befalls the line into our errors; the statuses of the other side pass.

    Args:
        peer: says whom the call went to, for the message.
    """
    try:
        yield
    except TimeoutError as error:  # before OSError, of which it is one
        raise DeadlineExceeded(f"no answer from {peer()} in time") from error
    except (StreamTerminatedError, ProtocolError, h2.exceptions.ProtocolError) as error:
        raise Unavailable(f"the connection to {peer()} was lost", code="connection.lost") from error
    except OSError as error:
        raise Unavailable(f"{peer()} cannot be reached: {error.strerror or error}") from error
