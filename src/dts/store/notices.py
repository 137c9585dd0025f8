"""The outbox: news that was written with what happened becomes messages, and messages are sent until they arrive."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from dts.domain.alerts import Alert, Listener, Notice, Telling, hear
from dts.domain.channels import events_of, mask_of
from dts.domain.deliveries import FIRST_PAUSE, GIVE_UP, told_at
from dts.domain.ids import parse_id
from dts.domain.messages import digest_of, message_of
from dts.pb.dts.v1 import (
    ChannelKind,
    CrowdedChannel,
    Delivery,
    QuietHours,
    SettleDeliveriesRequest,
    SettleDeliveriesResponse,
    TakeDeliveriesRequest,
    TakeDeliveriesResponse,
    TaskEvent,
    TendOutboxRequest,
    TendOutboxResponse,
)
from dts.store.channels import quiet_of, sealed_of
from dts.store.pool import Connection
from dts.store.queries import sql
from dts.store.tending import drop_beyond, notice_late, notice_stuck
from dts.store.transactions import in_transaction

BATCH = 500
CHANNELS = 20
"""Messages are lent for so many channels at once where nothing is said."""

Key = tuple[UUID, UUID]
"""A task, and a channel that listens to it."""


class NoticeStore:
    """Tables notice, alert and delivery."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def take(self, request: TakeDeliveriesRequest) -> TakeDeliveriesResponse:
        """Looks at the news and lends out messages that are due. Safe to run anywhere, any number at once."""
        looked_at = await in_transaction(self._pool, lambda connection: _look(connection, request))
        rows = await in_transaction(self._pool, lambda connection: _lend(connection, request))
        return TakeDeliveriesResponse(deliveries=[_delivery(row) for row in rows], notices=looked_at)

    async def tend(self, request: TendOutboxRequest) -> TendOutboxResponse:
        """Gives up what is beyond the most that may wait, and notices runs that are late or stuck."""
        gone = await in_transaction(self._pool, lambda connection: drop_beyond(connection, request.now))
        # One transaction for each: whoever decides about news locks troubles in their order, and two looks would not.
        await in_transaction(self._pool, lambda connection: notice_late(connection, request.now))
        await in_transaction(self._pool, lambda connection: notice_stuck(connection, request.now))
        return TendOutboxResponse(crowded=[CrowdedChannel(channel=name, given_up=number) for name, number in gone])

    async def settle(self, request: SettleDeliveriesRequest) -> SettleDeliveriesResponse:
        """Notes what arrived and what did not."""
        gone = await in_transaction(self._pool, lambda connection: _settle(connection, request))
        return SettleDeliveriesResponse(given_up=[str(message_id) for message_id in gone])


@dataclass(frozen=True, slots=True)
class _Listening:
    listener: Listener
    quiet: QuietHours | None
    digest_every: timedelta | None


async def _look(connection: Connection, request: TakeDeliveriesRequest) -> int:
    """Decides about the oldest news; answers how much there was."""
    if not await connection.fetchval(sql("try_lock_notices")):
        return 0
    now: datetime = request.now or await connection.fetchval("SELECT now()")
    rows = sorted(await connection.fetch(sql("take_notices"), BATCH), key=lambda row: int(row["id"]))
    await _send_held(connection, now)  # it happened before this news
    if rows:
        listeners = await _listeners(connection, rows)
        notices = [_notice(row) for row in rows if row["channel_id"] in listeners]
        await _tell(connection, notices, listeners, now)
    return len(rows)


async def _tell(
    connection: Connection, notices: Sequence[Notice], listeners: Mapping[UUID, _Listening], now: datetime
) -> None:
    alerts: dict[Key, Alert | None] = {}
    alerts |= await _alerts(connection, dict.fromkeys((notice.task_id, notice.channel_id) for notice in notices))
    told: list[Telling] = []
    for notice in notices:
        key = notice.task_id, notice.channel_id
        alerts[key], telling = hear(listeners[notice.channel_id].listener, alerts.get(key), notice)
        if telling is not None:
            told.append(telling)
    await _keep(connection, alerts)
    await _add(connection, told, listeners, now)


async def _add(
    connection: Connection, told: Sequence[Telling], listeners: Mapping[UUID, _Listening], now: datetime
) -> None:
    messages = []
    for telling in told:
        notice, to = telling.notice, listeners[telling.notice.channel_id]
        due = told_at(to.quiet, to.digest_every, now)
        messages.append(
            _Message(
                notice.channel_id,
                to.listener.kind,
                notice.task_id,
                notice.run_id,
                telling.event,
                message_of(telling),
                due,
            )
        )
    await _write(connection, messages, now)


async def _send_held(connection: Connection, now: datetime) -> None:
    """What was gathered for a channel goes out as one message."""
    rows = sorted(await connection.fetch(sql("take_held"), now, BATCH), key=lambda row: int(row["serial"]))
    listeners = await _listeners(connection, rows)
    messages = []
    for channel_id, to in listeners.items():
        held = [row for row in rows if row["channel_id"] == channel_id]
        kind = to.listener.kind
        if len(held) == 1:
            (row,) = held
            said = (row["task_id"], row["run_id"], TaskEvent(row["event"]), row["body"])
        else:
            said = (None, None, TaskEvent.DIGEST, digest_of([row["body"] for row in held], now))
        messages.append(_Message(channel_id, kind, *said, now))
    await _write(connection, messages, now)


@dataclass(frozen=True, slots=True)
class _Message:
    channel_id: UUID
    kind: ChannelKind
    task_id: UUID | None
    run_id: UUID | None
    event: TaskEvent
    body: str
    due: datetime


async def _write(connection: Connection, messages: Sequence[_Message], now: datetime) -> None:
    if not messages:
        return
    await connection.execute(
        sql("add_deliveries"),
        [message.channel_id for message in messages],
        [message.task_id for message in messages],
        [message.run_id for message in messages],
        [int(message.event) for message in messages],
        [message.body for message in messages],
        [message.due for message in messages],
        [message.due + GIVE_UP[message.kind] for message in messages],
        now,
        FIRST_PAUSE,
    )


async def _listeners(connection: Connection, rows: Sequence[asyncpg.Record]) -> dict[UUID, _Listening]:
    """The channels of these notices; some may be gone."""
    ids = list({row["channel_id"] for row in rows})
    if not ids:
        return {}
    return {
        row["id"]: _Listening(
            Listener(ChannelKind(row["kind"]), frozenset(events_of(row["events"])), row["remind_every"]),
            quiet_of(row),
            row["digest_every"],
        )
        for row in await connection.fetch(sql("listeners"), ids)
    }


async def _alerts(connection: Connection, keys: Collection[Key]) -> dict[Key, Alert]:
    tasks, channels = [task for task, _ in keys], [channel for _, channel in keys]
    return {
        (row["task_id"], row["channel_id"]): Alert(
            row["since"], frozenset(events_of(row["told"])), row["told_at"], row["troubles"], row["lasts"]
        )
        for row in await connection.fetch(sql("alerts_of"), tasks, channels)
    }


async def _keep(connection: Connection, alerts: Mapping[Key, Alert | None]) -> None:
    kept = {key: alert for key, alert in alerts.items() if alert is not None}
    over = [key for key, alert in alerts.items() if alert is None]
    if kept:
        await connection.execute(
            sql("keep_alerts"),
            [task for task, _ in kept],
            [channel for _, channel in kept],
            [alert.since for alert in kept.values()],
            [mask_of(alert.told) for alert in kept.values()],
            [alert.told_at for alert in kept.values()],
            [alert.troubles for alert in kept.values()],
        )
    if over:
        await connection.execute(sql("close_alerts"), [task for task, _ in over], [channel for _, channel in over])


async def _lend(connection: Connection, request: TakeDeliveriesRequest) -> list[asyncpg.Record]:
    now: datetime = request.now or await connection.fetchval("SELECT now()")
    busy = [parse_id(channel_id, field="busy") for channel_id in request.busy]
    channels = await connection.fetch(sql("lock_due_channels"), now, busy, request.channels or CHANNELS)
    if not channels:
        return []
    lease = request.lease or timedelta(0)
    ids = [row["id"] for row in channels]
    return await connection.fetch(sql("take_deliveries"), now, lease, request.limit, ids)


async def _settle(connection: Connection, request: SettleDeliveriesRequest) -> list[UUID]:
    now: datetime = request.now or await connection.fetchval("SELECT now()")
    ids = {result.id: parse_id(result.id, field="results.id") for result in request.results}
    arrived = [ids[result.id] for result in request.results if not result.failure]
    failed = [result for result in request.results if result.failure]
    if arrived:
        await connection.execute(sql("deliveries_arrived"), arrived, now)
    if not failed:
        return []
    rows = await connection.fetch(
        sql("deliveries_failed"),
        [ids[result.id] for result in failed],
        [result.attempt for result in failed],
        [result.failure for result in failed],
        [result.retry_in or timedelta(0) for result in failed],
        now,
    )
    return [row["id"] for row in rows]


def _notice(row: asyncpg.Record) -> Notice:
    return Notice(
        channel_id=row["channel_id"],
        task_id=row["task_id"],
        task=row["task"],
        run_id=row["run_id"],
        scheduled_at=row["scheduled_at"],
        event=TaskEvent(row["event"]),
        reason=row["reason"],
        message=row["message"],
        ticks=row["ticks"],
        at=row["at"],
    )


def _delivery(row: asyncpg.Record) -> Delivery:
    return Delivery(
        id=str(row["delivery_id"]),
        attempt=row["attempts"],
        channel=sealed_of(row),
        event=TaskEvent(row["event"]),
        run_id=str(row["run_id"] or ""),
        body=row["body"],
    )
