"""Assignments: columns become what waits for its instant."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from uuid import UUID

from betterproto2 import which_one_of

from dts.domain.columns import pack, unpack
from dts.domain.errors import InvalidArgument
from dts.domain.ids import from_micros, to_micros
from dts.pb.dts.v1 import Assignments, Parameters, WorkSpec
from dts.roles.executor.distant_clock import DistantClock
from dts.roles.executor.keys import Key, key_columns
from dts.roles.executor.work import Job

NOOP = "noop"
KNOWN_SPECS = 2000
"""How many decoded specs are kept: the same tasks come again and again."""

LONGEST_WAY = 10.0
"""Seconds: what seems to have been longer on its way was read after that clock was put back."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """One attempt that has a task of its own. due, start_by: monotonic seconds. kind: empty if it cannot be read."""

    key: Key
    job: Job
    kind: str
    due: float
    start_by: float


@dataclass(slots=True)
class Batch:
    """What one message brings. noops: by the instants that they share, (due, start_by)."""

    noops: dict[tuple[float, float], list[Key]] = field(default_factory=dict)
    others: list[Assigned] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Spec:
    spec: WorkSpec
    kind: str


class AssignmentReader:
    """Reads assignments; keeps decoded specs."""

    def __init__(self) -> None:
        self._specs: dict[bytes, _Spec] = {}

    def read(self, message: Assignments, *, received_at: float, clock: DistantClock) -> Batch:
        """The attempts of a message.

        Args:
            message: as sent; its times count from a reading of the database's clock.
            received_at: monotonic time.
            clock: that clock, as far as it is known here.

        Raises:
            InvalidArgument: columns do not fit together.
        """
        base = _read_at(message, received_at, clock)
        some = {row.index: row for row in message.parameters}
        specs = [self._spec(encoded) for encoded in message.specs]
        batch = Batch()
        for row, (key, due, start_by, index, at, previous) in enumerate(_rows(message)):
            known = _at(specs, index)
            instants = (base + due / 1_000_000, base + start_by / 1_000_000)
            if known.kind == NOOP:
                batch.noops.setdefault(instants, []).append(key)
            else:
                job = replace(_job(key, known.spec, at, previous, some.get(row, Parameters())), start_by=instants[1])
                batch.others.append(Assigned(key, job, known.kind, *instants))
        return batch

    def _spec(self, encoded: bytes) -> _Spec:
        known = self._specs.get(encoded)
        if known is None:
            if len(self._specs) >= KNOWN_SPECS:
                self._specs.clear()
            known = self._specs[encoded] = _read_spec(encoded)
        return known


def _read_at(message: Assignments, received_at: float, clock: DistantClock) -> float:
    """Monotonic time of the reading, or of a little later: work may start late, never early."""
    latest = received_at - message.age / 1_000_000
    shown = clock.latest(message.read_at) if message.read_at is not None else None
    return latest if shown is None or shown < latest - LONGEST_WAY else min(shown, latest)


def _at(specs: list[_Spec], index: int) -> _Spec:
    if not 0 <= index < len(specs):
        raise InvalidArgument.of("spec_index", "column.index", f"{index} is none of the {len(specs)} specs")
    return specs[index]


def _read_spec(encoded: bytes) -> _Spec:
    try:
        spec = WorkSpec.parse(encoded)
    except Exception:  # noqa: BLE001 - whatever is wrong with it costs its own attempts, and no others
        return _Spec(WorkSpec(), "")
    return _Spec(spec, which_one_of(spec.kind, "kind")[0] if spec.kind is not None else "")


def _rows(message: Assignments) -> Iterator[tuple[Key, int, int, int, int, int]]:
    keys = key_columns(message.run_ids, message.attempts)
    rows = len(keys)
    return zip(
        keys,
        unpack("q", message.start_in, rows=rows, field="start_in"),
        unpack("q", message.start_by_in, rows=rows, field="start_by_in"),
        unpack("i", message.spec_index, rows=rows, field="spec_index"),
        unpack("q", message.scheduled_at, rows=rows, field="scheduled_at"),
        unpack("q", message.previous_success_at, rows=rows, field="previous_success_at"),
        strict=True,
    )


def one_row(assigned: Assigned, *, now: float) -> Assignments:
    """An attempt as a message that was received now; for `read_row`."""
    job = assigned.job
    return Assignments(
        run_ids=assigned.key[0],
        attempts=pack("i", [job.attempt]),
        scheduled_at=pack("q", [to_micros(job.scheduled_at)]),
        start_in=pack("q", [round((assigned.due - now) * 1_000_000)]),
        start_by_in=pack("q", [round((assigned.start_by - now) * 1_000_000) or 1]),
        previous_success_at=pack("q", [to_micros(job.previous_success_at) if job.previous_success_at else 0]),
        spec_index=pack("i", [0]),
        specs=[bytes(job.spec)],
        parameters=[Parameters(parameters=dict(job.parameters), image_digest=job.image_digest)]
        if job.parameters or job.image_digest
        else [],
    )


def read_row(reader: AssignmentReader, message: Assignments, *, written_at: float, clock: DistantClock) -> Assigned:
    """What `one_row` made of an attempt then. Earlier releases wrote no start deadline: there is none."""
    [assigned] = reader.read(message, received_at=written_at, clock=clock).others
    if any(message.start_by_in):
        return assigned
    return replace(assigned, start_by=math.inf, job=replace(assigned.job, start_by=math.inf))


def _job(key: Key, spec: WorkSpec, scheduled_at: int, previous: int, own: Parameters) -> Job:
    return Job(
        run_id=UUID(bytes=key[0]),
        attempt=key[1],
        scheduled_at=from_micros(scheduled_at),
        previous_success_at=from_micros(previous) if previous else None,
        spec=spec,
        parameters=own.parameters,
        image_digest=own.image_digest,
    )
