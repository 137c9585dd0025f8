"""Channels, and what comes out of the outbox."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from dts.domain.channels import complete
from dts.pb.dts.v1 import (
    Channel,
    ChannelKind,
    ChannelSecrets,
    Delivery,
    DeliveryResult,
    SealedChannel,
    SettleDeliveriesRequest,
    TakeDeliveriesRequest,
    TendOutboxRequest,
)
from dts.roles.scheduler.seal import Seal
from dts.runtime import clock
from dts.store.store import Store

LEASE = timedelta(seconds=20)
SEAL = Seal([b"s" * 32], clock.random_bits)


def channel(name: str = "ops", target: str = "http://127.0.0.1:9/hook", **fields: Any) -> SealedChannel:
    """What the scheduler gives to the store."""
    made = complete(Channel(**{"id": str(uuid4()), "name": name, "kind": ChannelKind.WEBHOOK, **fields}))
    secrets = ChannelSecrets(target=target, signing_key=b"k" * 32)
    return SealedChannel(channel=made, sealed=SEAL.closed(made.id, secrets))


@dataclass(slots=True)
class Outbox:
    """A sender, one call at a time. told: type and task of every message that was lent to it."""

    store: Store
    told: list[str] = field(default_factory=list)

    async def take(self, now: datetime | None = None, limit: int = 100, **fields: Any) -> list[Delivery]:
        """Looks for late runs and at the news, and takes what is due."""
        await self.store.notices.tend(TendOutboxRequest(now=now))
        request = TakeDeliveriesRequest(limit=limit, lease=LEASE, now=now, **fields)
        return (await self.store.notices.take(request)).deliveries

    async def settle(
        self, deliveries: list[Delivery], failure: str = "", *, retry_in: timedelta = timedelta(0), now: Any = None
    ) -> list[str]:
        """Says the same of all these; answers with those that are given up."""
        results = [
            DeliveryResult(id=delivery.id, attempt=delivery.attempt, failure=failure, retry_in=retry_in)
            for delivery in deliveries
        ]
        return (await self.store.notices.settle(SettleDeliveriesRequest(results=results, now=now))).given_up

    async def hear(self, now: datetime | None = None) -> list[str]:
        """Takes everything and says that it arrived; answers with what was told."""
        deliveries = await self.take(now)
        await self.settle(deliveries, now=now)
        words = [word(delivery) for delivery in deliveries]
        self.told += words
        return words


def word(delivery: Delivery) -> str:
    """Type and title of a message."""
    body = json.loads(delivery.body)
    return f"{body['type'].removeprefix('task.')}: {body['data']['title']}"
