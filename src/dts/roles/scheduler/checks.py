"""What the scheduler accepts of people and of executors, and what it says otherwise."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from dts.domain.errors import InvalidArgument, Violation
from dts.domain.ids import parse_id
from dts.pb.dts.v1 import (
    Capacity,
    Hello,
    ListOutcomesRequest,
    ListRunCountsRequest,
    ListRunsRequest,
    Node,
    Overlap,
    Resources,
    RunState,
    Targets,
)

BACKFILL_MAX = 10_000
PAGE_MAX = 1000
UPCOMING_MAX = 10_000
UPCOMING_LONGEST = timedelta(days=366)
OUTCOMES_TASKS = 100
OUTCOMES_MAX = 200
COUNTS_STEPS = 1000
COUNTED_LONGEST = timedelta(days=7)
COUNTED_STEPS = 2000
MINUTE = timedelta(minutes=1)
PARAMETERS_MAX = 64
PARAMETER_BYTES = 4096
NOTE_LENGTH = 500
KEY_LENGTH = 63
NODE_BYTES = 64 * 1024
NODE_NAME_LENGTH = 255
TARGETS_MAX = 2000
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


def check_parameters(parameters: Mapping[str, str]) -> None:
    """Names are like variables, values are short text."""
    wrong: list[Violation] = []
    if len(parameters) > PARAMETERS_MAX:
        wrong.append(Violation("parameters", "parameters.many", f"are {len(parameters)}; {PARAMETERS_MAX} are allowed"))
    for name, value in parameters.items():
        if not _PARAMETER.fullmatch(name):
            wrong.append(
                Violation("parameters", "parameters.name", "a name has letters, digits and _, and no digit first")
            )
        elif "\0" in value or len(value.encode()) > PARAMETER_BYTES:
            text = f"has at most {PARAMETER_BYTES} bytes and no NUL"
            wrong.append(Violation(f"parameters.{name}", "parameters.value", text))
    if wrong:
        raise InvalidArgument(wrong)


def known_overlap(overlap: Overlap) -> Overlap:
    """An overlap policy that exists, or unspecified."""
    if overlap not in set(Overlap):
        raise InvalidArgument.of("overlap", "enum.unknown", f"{int(overlap)} is not an overlap policy")
    return overlap


def task_ids(texts: Sequence[str]) -> list[str]:
    """Ids of tasks, not too many."""
    if len(texts) > PAGE_MAX:
        raise InvalidArgument.of("task_ids", "task_ids.many", f"are {len(texts)}; {PAGE_MAX} are allowed")
    return [str(parse_id(text, field="task_ids")) for text in texts]


def request_id(text: str) -> UUID | None:
    """The UUID a caller chose for what it asks, if any."""
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError:
        raise InvalidArgument.of("request_id", "id.invalid", "is a UUID") from None


def task_key(text: str) -> str:
    """A task's name or id, of a possible length."""
    if not 0 < len(text) <= KEY_LENGTH or "\0" in text:
        raise InvalidArgument.of("task", "task.key", f"is a name or id: 1 to {KEY_LENGTH} characters")
    return text


def node_key(text: str) -> str:
    """A node's name or id, of a possible length."""
    if not 0 < len(text) <= KEY_LENGTH or not text.isprintable():
        raise InvalidArgument.of("node", "node.key", f"is a name or id: 1 to {KEY_LENGTH} characters")
    return text


def check_hello(hello: Hello) -> None:
    """What an executor says first."""
    check_node(hello.node or Node())
    if hello.process:
        parse_id(hello.process, field="hello.process")


def check_node(node: Node) -> None:
    """What an executor says of its node: everybody who lists nodes is told it, and each claim reads it."""
    for field, text in (("id", node.id), ("hostname", node.hostname)):
        if not 0 < len(text) <= NODE_NAME_LENGTH or not text.isprintable():
            why = f"is 1 to {NODE_NAME_LENGTH} printable characters"
            raise InvalidArgument.of(f"hello.node.{field}", "node.name", why)
    parse_id(node.incarnation, field="hello.node.incarnation")
    if len(bytes(node)) > NODE_BYTES:
        raise InvalidArgument.of("hello.node", "node.size", f"has at most {NODE_BYTES // 1024} KiB")
    capacity = node.capacity or Capacity()
    resources = capacity.resources or Resources()
    if not math.isfinite(resources.cpus) or min(capacity.slots, resources.cpus, resources.memory) < 0:
        raise InvalidArgument.of("hello.node.capacity", "node.capacity", "is nothing or more, and finite")


def possible_targets(targets: Targets | None) -> Targets | None:
    """Where commands can run, of what an executor says. A container with a strange name must not cost its node."""
    if targets is None:
        return None
    names = [name for name in targets.names if len(name) <= NODE_NAME_LENGTH and name.isprintable()]
    return Targets(names=names[:TARGETS_MAX])


def moment(field: str, at: datetime | None) -> datetime | None:
    """An instant that schedules can be asked about."""
    if at is not None and not EARLIEST <= at <= LATEST:
        raise InvalidArgument.of(field, "time.range", f"lies between {EARLIEST.year} and {LATEST.year}")
    return at


def note(text: str) -> str:
    """A short text for people."""
    if len(text) > NOTE_LENGTH or "\0" in text:
        raise InvalidArgument.of("note", "text.length", f"has at most {NOTE_LENGTH} characters")
    return text


def runs_query(query: ListRunsRequest) -> ListRunsRequest:
    """A copy that may be completed, if its numbers and states are possible."""
    if not 0 <= query.page_size <= PAGE_MAX:
        raise InvalidArgument.of("page_size", "page_size.range", f"is between 1 and {PAGE_MAX}; 0 means 50")
    if len(query.states) > len(RunState) or any(state not in set(RunState) or not state for state in query.states):
        raise InvalidArgument.of("states", "enum.unknown", "names a state that does not exist")
    return replace(query)


def outcomes_query(query: ListOutcomesRequest) -> ListOutcomesRequest:
    """Tasks and how many runs of each, within bounds."""
    if len(query.task_ids) > OUTCOMES_TASKS:
        many = f"are {len(query.task_ids)}; {OUTCOMES_TASKS} are allowed"
        raise InvalidArgument.of("task_ids", "task_ids.many", many)
    if not 0 <= query.count <= OUTCOMES_MAX:
        raise InvalidArgument.of("count", "count.range", f"is between 1 and {OUTCOMES_MAX}; 0 means 30")
    return query


def counts_query(query: ListRunCountsRequest) -> ListRunCountsRequest:
    """A copy that may be completed, if its time is one and has not too many steps."""
    if query.since is None or query.until is None or query.until <= query.since:
        raise InvalidArgument.of("since", "counts.range", "both ends of the time must be given, since before until")
    moment("since", query.since)
    moment("until", query.until)
    if query.step is None or query.step <= timedelta(0) or (query.until - query.since) / query.step > COUNTS_STEPS:
        raise InvalidArgument.of("step", "counts.step", f"is longer than nothing, and there are at most {COUNTS_STEPS}")
    return replace(query)


def upcoming_limit(limit: int) -> int:
    """How many ticks to list."""
    if not 0 <= limit <= UPCOMING_MAX:
        raise InvalidArgument.of("limit", "limit.range", f"is between 1 and {UPCOMING_MAX}; 0 means 1000")
    return limit


def counted_steps(within: timedelta, step: timedelta) -> tuple[timedelta, timedelta]:
    """How far ticks are counted, and in which steps."""
    if not timedelta(0) < within <= COUNTED_LONGEST:
        raise InvalidArgument.of(
            "within", "within.range", f"is longer than nothing and at most {COUNTED_LONGEST.days}d"
        )
    if step < MINUTE or step % MINUTE or within / step > COUNTED_STEPS:
        raise InvalidArgument.of("step", "step.range", f"is whole minutes, and there are at most {COUNTED_STEPS} steps")
    return within, step


def upcoming_within(within: timedelta) -> timedelta:
    """How far to look ahead."""
    if not timedelta(0) < within <= UPCOMING_LONGEST:
        raise InvalidArgument.of("within", "within.range", "is longer than nothing and at most 366 days")
    return within


def backfill_range(since: datetime | None, until: datetime | None, *, now: datetime) -> tuple[datetime, datetime]:
    """A range of the past: [since, until); it ends now if nothing else is said."""
    if since is None:
        raise InvalidArgument.of("since", "backfill.range", "must be given")
    until = until or now
    moment("since", since)
    moment("until", until)
    if since >= until:
        raise InvalidArgument.of("since", "backfill.range", "must be before until")
    if until > now:
        raise InvalidArgument.of(
            "until", "backfill.future", "lies in the future: only ticks that passed can be run again"
        )
    return since, until


def check_backfill_size(ticks: int) -> None:
    """So many runs are a mistake more often than a wish."""
    if ticks > BACKFILL_MAX:
        raise InvalidArgument.of(
            "since", "backfill.size", f"the range has more than {BACKFILL_MAX} ticks: take a shorter one"
        )
