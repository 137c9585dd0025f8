"""Carries one message to where its channel leads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import datetime

from yarl import URL

from dts.domain.errors import FailedPrecondition
from dts.domain.node_policy import NodePolicy, allowed_address, http_denials
from dts.domain.webhooks import signed
from dts.pb.dts.v1 import Channel, ChannelKind, ChannelSecrets, Delivery, SealedChannel, TaskEvent
from dts.roles.scheduler.seal import Seal
from dts.runtime.outbound import Request, RequestFailed, addresses_of, sent

SEND_SECONDS = 10.0
"""What one message may take."""

APPRISE_AT_ONCE = 4
"""So many processes of Apprise run at once: each takes tens of megabytes, and half a second to begin."""

SHOWN = 300

_BELOW = {TaskEvent.STARTED: "/start", TaskEvent.FAILED: "/fail"}

Tell = Callable[[str, str, str, NodePolicy], Awaitable[str]]
"""Sends to a target of Apprise: target, title, text, and where it may go; answers why it did not arrive, if so."""


class Postman:
    """Sends messages.

    Args:
        seal: opens what channels send to and sign with.
        now: the wall clock, for signatures.
        policy: where messages of this process may go.
        apprise: see `Tell`.
    """

    def __init__(
        self, seal: Seal, *, now: Callable[[], datetime], policy: Callable[[], NodePolicy], apprise: Tell
    ) -> None:
        self._seal = seal
        self._now = now
        self._policy = policy
        self._apprise = apprise
        self._apprise_turns = asyncio.Semaphore(APPRISE_AT_ONCE)

    def turn(self, delivery: Delivery) -> AbstractAsyncContextManager[None]:
        """Is entered before a message is sent: for one by Apprise that may take a while."""
        return self._apprise_turns if channel_of(delivery).kind is ChannelKind.APPRISE else nullcontext()

    async def send(self, delivery: Delivery) -> str:
        """Tries once; answers why the message did not arrive, or with nothing. The target is in no answer."""
        to = delivery.channel or SealedChannel()
        channel = to.channel or Channel()
        try:
            secrets = self._seal.opened(channel.id, to.sealed)
            async with asyncio.timeout(SEND_SECONDS):
                if channel.kind is ChannelKind.APPRISE:
                    data = json.loads(delivery.body)["data"]
                    return (await self._apprise(secrets.target, data["title"], data["text"], self._policy()))[:SHOWN]
                return await self._post(_request(delivery, secrets, channel.kind, self._now()))
        except FailedPrecondition as sealed:
            return sealed.message
        except TimeoutError:
            return f"no answer within {SEND_SECONDS:g} s"

    async def _post(self, request: Request) -> str:
        policy = self._policy()
        if denied := http_denials(policy, request.host):
            return f"the policy of this process does not allow {denied[0]}"[:SHOWN]
        try:
            found = await addresses_of(request.host, request.port)
            allowed = [address for address in found if allowed_address(policy, address[1])]
            if not allowed:
                shown = ", ".join(address for _, address in found[:4])
                return f"{request.host}: its address {shown} is not a public one (private_addresses)"
            async with sent(request, allowed) as response:
                return "" if 200 <= response.status < 300 else f"{request.host} answered {response.status}"
        except RequestFailed as failed:
            return failed.message[:SHOWN]


def _request(delivery: Delivery, secrets: ChannelSecrets, kind: ChannelKind, now: datetime) -> Request:
    if kind is ChannelKind.PING:
        return _ping(delivery, secrets.target)
    headers = {"Content-Type": "application/json"}
    headers |= signed(f"msg_{delivery.id}", now, delivery.body.encode(), secrets.signing_key)
    return Request("POST", URL(secrets.target, encoded=True), headers, delivery.body)


def _ping(delivery: Delivery, target: str) -> Request:
    """rid: so that starts and ends of runs that overlap are told apart."""
    address = target + _BELOW.get(delivery.event, "")
    query = f"?rid={delivery.run_id}" if delivery.run_id else ""
    text = "" if delivery.event is TaskEvent.STARTED else str(json.loads(delivery.body)["data"]["text"])
    return Request("POST", URL(address + query, encoded=True), {"Content-Type": "text/plain; charset=utf-8"}, text)


def channel_of(delivery: Delivery) -> Channel:
    """The channel that a message is for."""
    return (delivery.channel or SealedChannel()).channel or Channel()
