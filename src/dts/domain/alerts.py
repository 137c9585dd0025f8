"""What of the news about a task is told to a channel: once, then now and then, and at the end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from dts.pb.dts.v1 import ChannelKind, TaskEvent

TROUBLES = frozenset(
    {TaskEvent.FAILED, TaskEvent.SKIPPED, TaskEvent.MISSED, TaskEvent.LATE, TaskEvent.STUCK},
)
"""Events that make an alert, or keep it up."""

PASSING = frozenset({TaskEvent.SKIPPED})
"""Troubles after which nobody needs to hear that the task recovered: a tick was left out, nothing broke."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One piece of news about a task, for one channel.

    ticks: how many ticks a MISSED stands for; else 1.
    """

    channel_id: UUID
    task_id: UUID
    task: str
    run_id: UUID
    scheduled_at: datetime
    event: TaskEvent
    reason: str
    message: str
    ticks: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Listener:
    """What of a channel decides whether it is told."""

    kind: ChannelKind
    events: frozenset[TaskEvent]
    remind_every: timedelta


@dataclass(frozen=True, slots=True)
class Alert:
    """A task in trouble, as one channel knows it.

    told: the events that it was told of. told_at: when last; None: not yet. troubles: how often since then.
    lasts: a run of it is late or stuck even now, whatever other runs do.
    """

    since: datetime
    told: frozenset[TaskEvent] = frozenset()
    told_at: datetime | None = None
    troubles: int = 0
    lasts: bool = False


@dataclass(frozen=True, slots=True)
class Telling:
    """What a channel is told.

    again: it knows already, and the trouble lasts. since: of the trouble. troubles: how often since it was last told,
    this one included.
    """

    event: TaskEvent
    notice: Notice
    again: bool = False
    since: datetime | None = None
    troubles: int = 1


def hear(listener: Listener, alert: Alert | None, notice: Notice) -> tuple[Alert | None, Telling | None]:
    """What a piece of news makes of an alert, and what is told of it.

    Args:
        listener: whom it is for.
        alert: what the channel knows of the task; None: it is well.
        notice: the news.
    """
    if listener.kind is ChannelKind.PING:
        return None, Telling(notice.event, notice) if notice.event in listener.events else None
    if notice.event in TROUBLES:
        return _trouble(listener, alert or Alert(since=notice.at), notice)
    if notice.event is TaskEvent.SUCCEEDED and not (alert and alert.lasts):
        return None, _recovered(listener, alert, notice) or _plain(listener, notice)
    return alert, _plain(listener, notice)


def _trouble(listener: Listener, alert: Alert, notice: Notice) -> tuple[Alert, Telling | None]:
    alert = replace(alert, troubles=alert.troubles + 1)
    known = notice.event in alert.told
    rested = alert.told_at is None or notice.at - alert.told_at >= listener.remind_every
    if notice.event not in listener.events or (known and not rested):
        return alert, None
    telling = Telling(notice.event, notice, again=known, since=alert.since, troubles=alert.troubles)
    return replace(alert, told=alert.told | {notice.event}, told_at=notice.at, troubles=0), telling


def _recovered(listener: Listener, alert: Alert | None, notice: Notice) -> Telling | None:
    if alert is None or not alert.told - PASSING or TaskEvent.RECOVERED not in listener.events:
        return None
    return Telling(TaskEvent.RECOVERED, notice, since=alert.since, troubles=alert.troubles)


def _plain(listener: Listener, notice: Notice) -> Telling | None:
    return Telling(notice.event, notice) if notice.event in listener.events else None
