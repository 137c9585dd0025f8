"""The duty that tells people. Every replica does it: messages are lent to one at a time.

A channel has a sender of its own while there is something to send to it, so that one that hangs keeps nobody else.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import timedelta

from dts.domain.deliveries import MOST_WAITING, pause_after
from dts.pb.dts.v1 import (
    Delivery,
    DeliveryResult,
    SettleDeliveriesRequest,
    TakeDeliveriesRequest,
    TendOutboxRequest,
)
from dts.roles.scheduler.ports import Outbox
from dts.roles.scheduler.postman import SEND_SECONDS, Postman, channel_of
from dts.runtime.loop import Again
from dts.runtime.metrics import Metrics

log = logging.getLogger(__name__)

SHARE = 10
"""So many messages a channel is sent in a row."""

CHANNELS = 20
"""To so many channels one pass begins to send."""

LEASE = timedelta(seconds=20)
"""How long a message is lent. Whoever dies with it leaves it to the next."""

PATIENCE_SECONDS = 1.0
"""So long a pass waits for its senders: most are done by then, and the next pass finds their channels free."""

BEGIN_SECONDS = LEASE.total_seconds() - SEND_SECONDS
"""So long after it was lent a message may still be begun."""


class Telling:
    """Sends what the outbox lends.

    Args:
        outbox: the database.
        postman: who sends.
        metrics: where messages are counted.
        monotonic: seconds that never go back.
        rand: in [0, 1), for the jitter of back-off.
        patience: see `PATIENCE_SECONDS`.
    """

    def __init__(
        self,
        outbox: Outbox,
        postman: Postman,
        metrics: Metrics,
        *,
        monotonic: Callable[[], float],
        rand: Callable[[], float],
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._outbox = outbox
        self._postman = postman
        self._monotonic = monotonic
        self._rand = rand
        self._patience = patience
        self._senders: dict[asyncio.Task[bool], str] = {}
        self._counts = metrics.counts(
            "dts_scheduler_messages_total", "Messages to channels that were tried, by how it went.", "outcome"
        )

    async def tell(self) -> Again | None:
        """One pass: looks at the news, and begins to send what is due."""
        self._let_go()
        lent_at = self._monotonic()
        request = TakeDeliveriesRequest(limit=SHARE, channels=CHANNELS, busy=list(self._senders.values()), lease=LEASE)
        taken = await self._outbox.take_deliveries(request)
        begun = self._begin(taken.deliveries, lent_at)
        if begun:
            await asyncio.wait(begun, timeout=self._patience)
        self._let_go()
        more = len(begun) >= CHANNELS or any(sender.done() and sender.result() for sender in begun)
        return Again.NOW if taken.notices or more else None

    async def tend(self) -> Again | None:
        """Looks for runs that are late or stuck, and for channels that do not take what they are told."""
        for channel in (await self._outbox.tend_outbox(TendOutboxRequest())).crowded:
            self._counts.add("given_up", by=channel.given_up)
            log.error(
                "%d messages to the channel %s are given up: more than %d wait for it",
                *(channel.given_up, channel.channel, MOST_WAITING),
            )
        return None

    async def close(self) -> None:
        """Breaks off what is under way: it is lent again."""
        for sender in self._senders:
            sender.cancel()
        await asyncio.gather(*self._senders, return_exceptions=True)

    def _begin(self, deliveries: Sequence[Delivery], lent_at: float) -> set[asyncio.Task[bool]]:
        """A sender for each channel."""
        by_channel: dict[str, list[Delivery]] = defaultdict(list)
        for delivery in deliveries:
            by_channel[channel_of(delivery).id].append(delivery)
        begun = {asyncio.create_task(self._send_all(share, lent_at)): to for to, share in by_channel.items()}
        self._senders |= begun
        return set(begun)

    def _let_go(self) -> None:
        """Of senders that are done. What one of them met fails this pass; what it did not settle is lent again."""
        done = [sender for sender in self._senders if sender.done()]
        for sender in done:
            del self._senders[sender]
        if failed := [error for sender in done if (error := sender.exception())]:
            raise failed[0]

    async def _send_all(self, deliveries: Sequence[Delivery], lent_at: float) -> bool:
        """Of one channel, in their order; answers whether it took a full share, so that more may be sent at once.

        What one of them is refused with would befall the others too.
        """
        failure = ""
        for delivery in deliveries:
            if not failure:
                async with self._postman.turn(delivery):
                    if self._monotonic() - lent_at > BEGIN_SECONDS:
                        return False  # others may have them already
                    failure = await self._postman.send(delivery)
            await self._settle(delivery, failure)
        return len(deliveries) >= SHARE and not failure

    async def _settle(self, delivery: Delivery, failure: str) -> None:
        result = DeliveryResult(id=delivery.id, attempt=delivery.attempt, failure=failure)
        result.retry_in = pause_after(delivery.attempt, rand=self._rand()) if failure else None
        settled = await self._outbox.settle_deliveries(SettleDeliveriesRequest(results=[result]))
        self._counts.add("failed" if failure else "arrived")
        about = {"run": delivery.run_id} if delivery.run_id else {}
        if settled.given_up:
            self._counts.add("given_up")
            log.error("a message to the channel %s is given up: %s", channel_of(delivery).name, failure, extra=about)
        elif failure:
            log.warning(
                "a message to the channel %s did not arrive: %s", channel_of(delivery).name, failure, extra=about
            )
