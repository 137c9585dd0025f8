"""Channels: stored, found, deleted. Their secrets leave only where they are asked for by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import asyncpg

from dts.domain.channels import events_of, mask_of
from dts.domain.errors import AlreadyExists, NotFound
from dts.domain.ids import parse_id
from dts.pb.dts.v1 import Channel, ChannelKind, QuietHours, SealedChannel
from dts.store.pool import errors
from dts.store.queries import sql

LISTED = 1000

Row = asyncpg.Record | Mapping[str, Any]


class ChannelStore:
    """Table channel."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def add(self, given: SealedChannel) -> Channel:
        """Stores a channel; a second time it changes nothing.

        Raises:
            AlreadyExists: another one has this name.
        """
        channel = given.channel or Channel()
        channel_id = parse_id(channel.id, field="channel.id")
        with errors():
            await self._pool.execute(
                sql("store_channel"),
                channel_id,
                channel.name,
                int(channel.kind),
                *_rule(channel),
                given.sealed,
                channel.created_by,
            )
        stored = channel_of(await self._row(channel.name))
        if stored.id != str(channel_id):
            raise AlreadyExists(f"a channel named {channel.name} exists already", code="channel.exists")
        return stored

    async def change(self, given: SealedChannel) -> Channel:
        """Changes all but name, kind and who made it.

        Raises:
            NotFound: there is no channel with this id.
        """
        channel = given.channel or Channel()
        with errors():
            await self._pool.execute(
                sql("change_channel"), parse_id(channel.id, field="channel.id"), *_rule(channel), given.sealed
            )
        return channel_of(await self._row(channel.id))

    async def all(self) -> list[Channel]:
        """Channels by name, without secrets."""
        with errors():
            return [channel_of(row) for row in await self._pool.fetch(sql("all_channels"), LISTED)]

    async def find(self, key: str) -> SealedChannel:
        """A channel by name or id.

        Raises:
            NotFound: there is none.
        """
        return sealed_of(await self._row(key))

    async def drop(self, key: str) -> Channel:
        """Deletes a channel by name or id, with all that was still to be sent to it.

        Raises:
            NotFound: there is none.
        """
        row = await self._row(key)
        with errors():
            await self._pool.execute(sql("drop_channel"), row["id"])
        return channel_of(row)

    async def _row(self, key: str) -> asyncpg.Record:
        with errors():
            row = await self._pool.fetchrow(sql("find_channel"), key)
        if row is None:
            raise NotFound(f"no channel named {key!r}", code="channel.unknown")
        return row


def _rule(channel: Channel) -> tuple[object, ...]:
    """What may change, in the order of the statements."""
    return (
        mask_of(channel.events),
        channel.tasks,
        dict(channel.labels),
        channel.late_after,
        channel.stuck_after,
        channel.remind_every,
        bytes(channel.quiet) if channel.quiet is not None else None,
        channel.digest_every,
        channel.shown,
    )


def channel_of(row: Row) -> Channel:
    """A row of channel, with how many deliveries wait."""
    return Channel(
        id=str(row["id"]),
        name=row["name"],
        kind=ChannelKind(row["kind"]),
        events=events_of(row["events"]),
        tasks=list(row["tasks"]),
        labels=row["labels"],
        late_after=row["late_after"],
        stuck_after=row["stuck_after"],
        remind_every=row["remind_every"],
        quiet=quiet_of(row),
        digest_every=row["digest_every"],
        shown=row["shown"],
        created_at=row["created_at"],
        created_by=row["created_by"],
        delivered_at=row["delivered_at"],
        failed_at=row["failed_at"],
        failure=row["failure"],
        given_up=row["given_up"],
        waiting=row["waiting"],
    )


def sealed_of(row: Row) -> SealedChannel:
    """The same, with what it sends to and signs with, sealed."""
    return SealedChannel(channel=channel_of(row), sealed=row["sealed"])


def quiet_of(row: Row) -> QuietHours | None:
    """When the people behind it are left in peace."""
    return QuietHours.parse(row["quiet"]) if row["quiet"] is not None else None
