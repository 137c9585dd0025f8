"""What a request may say beside a definition: keys, notes, versions, pages."""

from __future__ import annotations

import re
from datetime import datetime

from dts.domain.errors import Conflict, InvalidArgument, Violation
from dts.domain.localtime import FIRST
from dts.domain.validate_schedule import LATEST
from dts.domain.validate_text import Findings, text_trouble, under
from dts.pb.dts.v1 import ListTasksRequest, Task

KEY_LENGTH = 63
NOTE_LENGTH = 500
PAGE_MAX = 1000
LABELS_MAX = 64

_PREFIX = re.compile(rf"[a-z0-9._-]{{0,{KEY_LENGTH}}}", re.ASCII)


def check_key(key: str) -> None:
    """The name or id of a task: what could be neither is not looked for.

    Raises:
        InvalidArgument: it could be neither.
    """
    if not key or not is_short(key):
        raise InvalidArgument.of("task", "task.key", f"is a name or id: 1 to {KEY_LENGTH} characters")


def is_short(text: str) -> bool:
    """Whether text can be shown as it is."""
    return 0 < len(text) <= KEY_LENGTH and text.isascii() and text.isprintable()


def check_note(note: str) -> None:
    """Free text that goes with a change.

    Raises:
        InvalidArgument: it is too long, or no text.
    """
    if text_trouble(note) or len(note) > NOTE_LENGTH:
        raise InvalidArgument.of("note", "text.length", f"is text of at most {NOTE_LENGTH} characters")


def check_limit(limit: int) -> None:
    """How many of something are asked for.

    Raises:
        InvalidArgument: less than nothing.
    """
    if limit < 0:
        raise InvalidArgument.of("limit", "limit.range", "is at least 1; 0 means all")


def check_query(query: ListTasksRequest) -> None:
    """What is to be listed.

    Raises:
        InvalidArgument: with every field that is wrong.
    """
    found = Findings()
    if not 0 <= query.page_size <= PAGE_MAX:
        found.refuse("page_size", "page_size.range", f"is between 1 and {PAGE_MAX}; 0 means 100")
    if not _PREFIX.fullmatch(query.page_token):
        found.refuse("page_token", "page_token.invalid", "is not from an earlier answer")
    if not _PREFIX.fullmatch(query.name_prefix):
        found.refuse("name_prefix", "name.invalid", "is the beginning of a name: a-z, 0-9, '.', '_' and '-'")
    if not _PREFIX.fullmatch(query.name_part):
        found.refuse("name_part", "name.invalid", "is a part of a name: a-z, 0-9, '.', '_' and '-'")
    if len(query.labels) > LABELS_MAX:
        found.refuse("labels", "labels.many", f"are {len(query.labels)}; at most {LABELS_MAX} are allowed")
    for key, value in query.labels.items():
        if trouble := text_trouble(key) or text_trouble(value):
            found.refuse(under("labels", key), "text.characters", trouble)
    refuse(found.violations)


def check_version(task: Task, expected: int) -> None:
    """The version that was read; 0 means any.

    Raises:
        InvalidArgument: there is no such version.
        Conflict: the task is in another version by now.
    """
    if expected < 0:
        raise InvalidArgument.of("expected_version", "version.range", "is at least 1; 0 means any")
    if expected not in {0, task.version}:
        raise Conflict(f"task {name_of(task)} is in version {task.version} by now, not {expected}; read it again")


def check_start(after: datetime | None, now: datetime) -> datetime:
    """The instant after which ticks are asked for: now if none is given; time itself begins with the zones' tables.

    Raises:
        InvalidArgument: it lies too far ahead.
    """
    if after is not None and after > LATEST:
        raise InvalidArgument.of("after", "after.range", f"is an instant before {LATEST.year}")
    return max(after, FIRST) if after is not None else now


def refuse(violations: list[Violation]) -> None:
    """Nothing, if nothing is wrong.

    Raises:
        InvalidArgument: something is.
    """
    if violations:
        raise InvalidArgument(violations)


def name_of(task: Task) -> str:
    """The name of a stored task."""
    return task.spec.name if task.spec else ""
