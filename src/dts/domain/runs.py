"""The life of a run: its states, the moves between them, and what follows the end of an attempt."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from dts.domain.policies import Effective
from dts.pb.dts.v1 import Reason, RunState

FINAL = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.TIMED_OUT, RunState.CANCELLED, RunState.SKIPPED})
LIVE = frozenset({RunState.PENDING, RunState.ASSIGNED, RunState.RUNNING, RunState.UNKNOWN})
ON_NODE = frozenset({RunState.ASSIGNED, RunState.RUNNING, RunState.UNKNOWN})

TRANSITIONS: dict[RunState, frozenset[RunState]] = {
    RunState.PENDING: frozenset({RunState.ASSIGNED, RunState.SKIPPED, RunState.FAILED, RunState.CANCELLED}),
    RunState.ASSIGNED: frozenset({RunState.PENDING, RunState.RUNNING, RunState.UNKNOWN}) | FINAL - {RunState.SKIPPED},
    RunState.RUNNING: frozenset({RunState.PENDING, RunState.UNKNOWN}) | FINAL - {RunState.SKIPPED},
    RunState.UNKNOWN: frozenset({RunState.PENDING, RunState.ASSIGNED, RunState.RUNNING}) | FINAL - {RunState.SKIPPED},
} | {state: frozenset() for state in FINAL}
"""Every move that exists. The guarded updates of the store are filled from here."""


def sources(*targets: RunState) -> list[RunState]:
    """The states from which a move to one of `targets` exists."""
    return [state for state, moves in TRANSITIONS.items() if moves & set(targets)]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended.

    final: the same would happen again on any node, so a retry is pointless.
    """

    state: RunState
    reason: Reason
    exit_code: int | None = None
    final: bool = False


@dataclass(frozen=True, slots=True)
class Retry:
    """The run gets another attempt after `delay`."""

    delay: timedelta


def after_attempt(
    outcome: Outcome, policies: Effective, *, failures: int, stop_asked: bool, rand: float
) -> Retry | None:
    """Whether an attempt that did not succeed is followed by another.

    failures: attempts that counted so far, this one included.
    rand: in [0, 1): the jitter of the back-off.
    """
    if stop_asked or outcome.final or outcome.state not in {RunState.FAILED, RunState.TIMED_OUT}:
        return None
    if failures > policies.retries:
        return None
    listed = policies.retry_exit_codes
    if listed and outcome.reason is Reason.EXIT_CODE and outcome.exit_code not in listed:
        return None
    return Retry(backoff(policies, attempt=failures + 1, rand=rand))


def backoff(policies: Effective, *, attempt: int, rand: float) -> timedelta:
    """The delay before attempt n ≥ 2: initial × factor^(n−2), at most max, of which a tenth is jitter.

    The exponent is bounded, so that a large attempt number cannot overflow.
    """
    grown = policies.backoff_initial.total_seconds() * policies.backoff_factor ** min(attempt - 2, 64)
    seconds = min(grown, policies.backoff_max.total_seconds())
    return timedelta(seconds=seconds * (0.9 + 0.1 * rand))
