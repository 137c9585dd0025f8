"""Identities.

The id of a tick's run is derived from the task and the instant, as Kubernetes derives the name of a CronJob's Job
from its scheduled time: the same tick has the same id wherever it is computed, so the primary key alone keeps it
from standing twice. It is spread like a hash, so a short beginning of it is usually unique, as with git.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from uuid import UUID

from dts.domain.errors import InvalidArgument

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def to_micros(instant: datetime) -> int:
    """Microseconds since the epoch, exactly."""
    return (instant - EPOCH) // MICROSECOND


def from_micros(micros: int) -> datetime:
    """The instant, in UTC."""
    return EPOCH + micros * MICROSECOND


def tick_run_id(task_id: UUID, scheduled_at: datetime) -> UUID:
    """The id of the run of a tick: a UUIDv8 over (task, instant)."""
    digest = hashlib.blake2b(
        task_id.bytes + to_micros(scheduled_at).to_bytes(8, "big", signed=True), digest_size=16, person=b"dts-tick"
    ).digest()
    return _stamped(int.from_bytes(digest, "big"), version=8)


def node_run_id(run_id: UUID, node_id: str) -> UUID:
    """The id of the run that a node has of a tick that every node has: a UUIDv8 over (the tick's run, node)."""
    digest = hashlib.blake2b(run_id.bytes + node_id.encode(), digest_size=16, person=b"dts-node").digest()
    return _stamped(int.from_bytes(digest, "big"), version=8)


def backfill_run_id(request_id: UUID, task_id: UUID, scheduled_at: datetime) -> UUID:
    """The id of the run that a request makes of a past tick: a UUIDv8 over (request, the tick's run)."""
    tick = tick_run_id(task_id, scheduled_at)
    digest = hashlib.blake2b(request_id.bytes + tick.bytes, digest_size=16, person=b"dts-backfill").digest()
    return _stamped(int.from_bytes(digest, "big"), version=8)


def uuid7(now: datetime, rand: int) -> UUID:
    """A UUIDv7 (RFC 9562): `now` to the millisecond, then 74 of the bits of `rand`."""
    millis = to_micros(now) // 1000
    return _stamped((millis << 80) | (rand & ((1 << 80) - 1)), version=7)


def parse_id(text: str, *, field: str) -> UUID:
    """Reads an id that somebody sent.

    Raises:
        InvalidArgument: it is no UUID.
    """
    try:
        return UUID(text)
    except ValueError:
        raise InvalidArgument.of(field, "id.invalid", "is not a UUID") from None


def _stamped(value: int, *, version: int) -> UUID:
    value &= ~(0xF << 76) & ~(0x3 << 62)
    return UUID(int=value | version << 76 | 0x2 << 62)
