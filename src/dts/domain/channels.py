"""Whether a channel is possible, and what it is if only half is said."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlsplit

from dts.domain.deliveries import parse_time
from dts.domain.durations import format_duration
from dts.domain.errors import Violation
from dts.domain.localtime import find_zone
from dts.domain.validate import is_name
from dts.domain.validate_http import url_trouble
from dts.domain.validate_text import Findings, check_enum, text_trouble
from dts.domain.words import word
from dts.pb.dts.v1 import Channel, ChannelKind, QuietHours, TaskEvent

USUAL = (TaskEvent.FAILED, TaskEvent.MISSED, TaskEvent.LATE, TaskEvent.STUCK, TaskEvent.RECOVERED)
"""What a channel is told of if nothing is said."""

PINGED = (TaskEvent.FAILED, TaskEvent.STARTED, TaskEvent.SUCCEEDED)
"""What a ping is sent for, always."""

TELLABLE = frozenset(TaskEvent) - {TaskEvent.UNSPECIFIED, TaskEvent.TEST, TaskEvent.DIGEST}

LATE_AFTER = timedelta(minutes=1)
STUCK_AFTER = timedelta(hours=1)
REMIND_EVERY = timedelta(hours=4)
TARGET_LENGTH = 4096
TASKS = 100
LABELS = 16

_LEAST = timedelta(seconds=10)
_DAY = timedelta(days=1)
_RANGES = {
    "late_after": (_LEAST, _DAY),
    "stuck_after": (_LEAST, 30 * _DAY),
    "remind_every": (timedelta(minutes=1), 30 * _DAY),
    "digest_every": (timedelta(minutes=1), 7 * _DAY),
}


def complete(channel: Channel) -> Channel:
    """The channel with what is usual in place of what was not said."""
    ping = channel.kind is ChannelKind.PING
    return replace(
        channel,
        events=list(PINGED) if ping else sorted(set(channel.events)) or list(USUAL),
        late_after=channel.late_after if channel.late_after is not None else LATE_AFTER,
        stuck_after=channel.stuck_after if channel.stuck_after is not None else STUCK_AFTER,
        remind_every=channel.remind_every if channel.remind_every is not None else REMIND_EVERY,
    )


def check_channel(channel: Channel, target: str) -> list[Violation]:
    """What is wrong with a channel, as it was given."""
    findings = Findings()
    if not is_name(channel.name):
        findings.refuse("name", "channel.name", "is 1 to 63 of a-z, 0-9, '.', '_' and '-', and no id")
    check_enum("kind", channel.kind, ChannelKind, findings)
    if channel.kind is ChannelKind.UNSPECIFIED:
        findings.refuse("kind", "channel.kind", "is webhook, ping or apprise")
    _check_whom(channel, findings)
    _check_times(channel, findings)
    if trouble := _target_trouble(channel.kind, target):
        # What was given is a secret: it is not repeated.
        findings.refuse("target", "channel.target", trouble)
    return findings.violations


def shown_of(kind: ChannelKind, target: str) -> str:
    """As much of a target as people may see: of Apprise even the host may be a secret."""
    parts = urlsplit(target) if kind is not ChannelKind.APPRISE else None
    return f"{parts.scheme}://{parts.netloc}" if parts else f"{target.partition('://')[0]}://"


def mask_of(events: Iterable[TaskEvent]) -> int:
    """Events as bits: bit n is event n."""
    return sum(1 << event for event in set(events))


def events_of(mask: int) -> list[TaskEvent]:
    """The events of `mask_of`."""
    return [event for event in TaskEvent if mask >> event & 1]


def _check_whom(channel: Channel, findings: Findings) -> None:
    ping = channel.kind is ChannelKind.PING
    if unknown := [event for event in channel.events if event not in TELLABLE]:
        known = ", ".join(word(event) for event in sorted(TELLABLE))
        findings.refuse("events", "channel.events", f"{unknown[0]} is none; there are {known}")
    elif ping and not set(channel.events) <= set(PINGED):
        findings.refuse(
            "events", "channel.events", "are not to be chosen: a ping is sent for started, succeeded, failed"
        )
    if ping and (len(channel.tasks) != 1 or channel.labels):
        findings.refuse("tasks", "channel.tasks", "is one name: a ping watches over one task, and takes no labels")
    if len(channel.tasks) > TASKS or not all(is_name(task) for task in channel.tasks):
        findings.refuse("tasks", "channel.tasks", f"are at most {TASKS} names of tasks")
    if len(channel.labels) > LABELS:
        findings.refuse("labels", "channel.labels", f"are {len(channel.labels)}; at most {LABELS} are allowed")
    for text in (*channel.labels, *channel.labels.values()):
        if trouble := text_trouble(text, lines=False):
            findings.refuse("labels", "channel.labels", trouble)


def _check_times(channel: Channel, findings: Findings) -> None:
    for name, (least, most) in _RANGES.items():
        given: timedelta | None = getattr(channel, name)
        if given is not None and not least <= given <= most:
            findings.refuse(name, "channel.range", f"is from {format_duration(least)} to {format_duration(most)}")
    if channel.quiet is not None:
        _check_quiet(channel.quiet, findings)
    if channel.kind is ChannelKind.PING:
        for name in ("quiet", "digest_every"):
            if getattr(channel, name) is not None:
                why = "is not for pings: who waits for them would think the task dead"
                findings.refuse(name, "channel.ping", why)


def _check_quiet(quiet: QuietHours, findings: Findings) -> None:
    for name in ("start", "end"):
        try:
            parse_time(getattr(quiet, name))
        except ValueError:
            findings.refuse(f"quiet.{name}", "channel.quiet", "is a time of day such as 22:00")
    if quiet.start == quiet.end:
        findings.refuse("quiet.end", "channel.quiet", "is the same as the start: nothing would ever be told")
    try:
        find_zone(quiet.zone)
    except ValueError as error:
        findings.refuse("quiet.zone", "channel.quiet", str(error))


def _target_trouble(kind: ChannelKind, target: str) -> str | None:
    if not target:
        return "is empty"
    if trouble := text_trouble(target, lines=False):
        return trouble
    if len(target) > TARGET_LENGTH:
        return f"has {len(target)} characters; at most {TARGET_LENGTH} are allowed"
    if kind is ChannelKind.APPRISE:
        return None if "://" in target else "is an address of Apprise, such as mailto://user:password@example.com"
    if kind is ChannelKind.PING and ("?" in target or target.endswith("/")):
        return "is an address to which /start and /fail can be added: without ? and / at its end"
    return url_trouble(target)
