"""Messages to channels: in words for people, and as JSON for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from dts.domain.alerts import Telling
from dts.domain.durations import format_duration
from dts.domain.words import word
from dts.pb.dts.v1 import TaskEvent

SHOWN = 500
"""So many characters of what a run's message says are passed on."""

LISTED = 100
"""So many messages stand in a digest."""

_LESSER = frozenset(f"task.{word(event)}" for event in (TaskEvent.SKIPPED, TaskEvent.STARTED, TaskEvent.SUCCEEDED))
"""What makes room for other news in a digest, as it does in the outbox."""

_FIRST = {
    TaskEvent.FAILED: "failed",
    TaskEvent.SKIPPED: "was skipped",
    TaskEvent.MISSED: "missed ticks",
    TaskEvent.LATE: "is late",
    TaskEvent.STUCK: "does not come to an end",
    TaskEvent.RECOVERED: "has recovered",
    TaskEvent.STARTED: "has started",
    TaskEvent.SUCCEEDED: "succeeded",
}
_AGAIN = {
    TaskEvent.FAILED: "is still failing",
    TaskEvent.SKIPPED: "is still being skipped",
    TaskEvent.MISSED: "still misses ticks",
    TaskEvent.LATE: "is still late",
    TaskEvent.STUCK: "still does not come to an end",
}


def message_of(telling: Telling) -> str:
    """A message as JSON: `type` and `timestamp` as Standard Webhooks asks, and `data`."""
    notice = telling.notice
    data: dict[str, Any] = {
        "task": notice.task,
        "run_id": str(notice.run_id),
        "scheduled_at": _stamp(notice.scheduled_at),
        "reason": notice.reason,
        "message": notice.message[:SHOWN],
        "again": telling.again,
        "since": _stamp(telling.since) if telling.since else None,
        "troubles": telling.troubles,
        "title": _title(telling),
        "text": _text(telling),
    }
    return _message(telling.event, notice.at, data)


def digest_of(bodies: Sequence[str], now: datetime) -> str:
    """Several messages as one. Of more than a hundred, lesser news is left out first, and counted by its type.

    Troubles and their ends come before lesser news, each in the order in which they happened.
    """
    messages = sorted((json.loads(body) for body in bodies), key=_is_lesser)
    listed, left_out = messages[:LISTED], Counter(message["type"] for message in messages[LISTED:])
    lines = [f"{message['timestamp']} {message['data']['title']}" for message in listed]
    if left_out:
        kinds = ", ".join(f"{number} {kind.removeprefix('task.')}" for kind, number in sorted(left_out.items()))
        lines.append(f"and {left_out.total()} more: {kinds}")
    data = {
        "title": f"dts: {len(messages)} messages",
        "text": "\n".join(lines),
        "messages": listed,
        "left_out": dict(sorted(left_out.items())),
    }
    return _message(TaskEvent.DIGEST, now, data)


def _is_lesser(message: dict[str, Any]) -> bool:
    return message["type"] in _LESSER


def trial_message(channel: str, now: datetime) -> str:
    """What `dts channel test` sends."""
    text = f"dts reaches the channel {channel}. Nothing is wrong: somebody is trying it."
    return _message(TaskEvent.TEST, now, {"channel": channel, "title": f"A test of {channel}", "text": text})


def _message(event: TaskEvent, at: datetime, data: dict[str, Any]) -> str:
    kind = f"{'channel' if event in {TaskEvent.TEST, TaskEvent.DIGEST} else 'task'}.{word(event)}"
    return json.dumps({"type": kind, "timestamp": _stamp(at), "data": data}, ensure_ascii=False)


def _title(telling: Telling) -> str:
    verbs = _AGAIN if telling.again else _FIRST
    return f"{telling.notice.task} {verbs[telling.event]}"


def _text(telling: Telling) -> str:
    notice = telling.notice
    lines = [f"Run {str(notice.run_id)[:8]} of {_stamp(notice.scheduled_at)}"]
    if telling.event is TaskEvent.MISSED:
        lines = [f"{notice.ticks} tick{'s' if notice.ticks > 1 else ''} from {_stamp(notice.scheduled_at)}"]
    if why := notice.message[:SHOWN] or notice.reason:
        lines[0] += f": {why}"
    if telling.again:
        lines.append(f"{telling.troubles} times since it was last told; in trouble since {_stamp(telling.since)}.")
    if telling.event is TaskEvent.RECOVERED and telling.since is not None:
        lines.append(f"It was in trouble for {format_duration(_whole_seconds(notice.at, telling.since))}.")
    lines.append(f"dts explain {notice.task}")
    return "\n".join(lines)


def _whole_seconds(until: datetime, since: datetime) -> timedelta:
    return timedelta(seconds=max(0, round((until - since).total_seconds())))


def _stamp(instant: datetime | None) -> str:
    assert instant is not None
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
