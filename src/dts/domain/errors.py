"""What can go wrong, as one family.

    DtsError
    ├── InvalidArgument      a field was refused; carries every violation
    ├── NotFound             no such task, run or node
    ├── AlreadyExists        the name is taken
    ├── Conflict             somebody else was first
    ├── FailedPrecondition   right request, wrong state
    ├── PermissionDenied     known, but not allowed
    ├── Unauthenticated      not known
    ├── ResourceExhausted    a limit was reached
    ├── Unavailable          try again
    ├── DeadlineExceeded     it took too long
    └── Internal             a bug of ours

Foreign errors become one of these where they enter (store, docker, rpc) and nowhere else; the same error
reaches a caller whether the service is in its own process or behind gRPC.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """One field that was refused.

    field: path of the field, such as ``schedule.cron``.
    code: a constant for programs, such as ``schedule.never_fires``.
    message: what is wrong and what is allowed, in a sentence for people.
    """

    field: str
    code: str
    message: str

    def __str__(self) -> str:
        """Field and sentence, as a person reads them."""
        return f"{self.field}: {self.message}"


class DtsError(Exception):
    """Root of the family. `code` is a constant for programs; the text is for people."""

    code = "error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code


class InvalidArgument(DtsError):
    """The request was understood and refused; `violations` names every field that is wrong."""

    code = "invalid_argument"

    def __init__(self, violations: Iterable[Violation]) -> None:
        self.violations = tuple(violations)
        super().__init__("; ".join(str(violation) for violation in self.violations) or "invalid request")

    @classmethod
    def of(cls, field: str, code: str, message: str) -> InvalidArgument:
        """The common case: one field."""
        return cls([Violation(field, code, message)])


class NotFound(DtsError):
    """There is no such thing."""

    code = "not_found"


class AlreadyExists(DtsError):
    """There is such a thing already."""

    code = "already_exists"


class Conflict(DtsError):
    """Somebody else changed it first; read it again."""

    code = "conflict"


class FailedPrecondition(DtsError):
    """It is not in a state in which this can be done."""

    code = "failed_precondition"


class PermissionDenied(DtsError):
    """The caller is known and may not do this."""

    code = "permission_denied"


class Unauthenticated(DtsError):
    """The caller is not known: no token, or a wrong one."""

    code = "unauthenticated"


class ResourceExhausted(DtsError):
    """A limit was reached."""

    code = "resource_exhausted"


class Unavailable(DtsError):
    """The service cannot be reached or is not ready; the same call may succeed later."""

    code = "unavailable"


class DeadlineExceeded(DtsError):
    """No answer came in time; whether the call took effect is unknown."""

    code = "deadline_exceeded"


class Internal(DtsError):
    """Something went wrong inside; the log of the server says what."""

    code = "internal"
