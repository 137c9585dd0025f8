"""Channel Service: who is told what became of tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from dts.domain.channels import check_channel, complete, shown_of
from dts.domain.errors import InvalidArgument
from dts.domain.ids import uuid7
from dts.domain.messages import trial_message
from dts.domain.webhooks import key_word, new_key
from dts.pb.dts.v1 import (
    AllChannelsRequest,
    ChangeChannelRequest,
    Channel,
    ChannelKind,
    ChannelSecrets,
    ChannelServiceBase,
    CreateChannelRequest,
    CreateChannelResponse,
    DeleteChannelRequest,
    DeleteChannelResponse,
    Delivery,
    DropChannelRequest,
    FindChannelRequest,
    ListChannelsRequest,
    ListChannelsResponse,
    SealedChannel,
    StoreChannelRequest,
    TaskEvent,
    TryChannelRequest,
    TryChannelResponse,
    UpdateChannelRequest,
    UpdateChannelResponse,
)
from dts.roles.scheduler.ports import ChannelStore
from dts.roles.scheduler.postman import Postman
from dts.roles.scheduler.seal import Seal

KEY_LENGTH = 63


class ChannelService(ChannelServiceBase):
    """The only way to change who is told.

    Args:
        store: the database.
        postman: who tries a channel.
        seal: closes what the database must not know.
        now: the wall clock, for ids and messages.
        rand: so many random bits that nobody can guess.
        actor: who channels are made by.
    """

    def __init__(
        self,
        store: ChannelStore,
        postman: Postman,
        seal: Seal,
        *,
        now: Callable[[], datetime],
        rand: Callable[[int], int],
        actor: Callable[[], str],
    ) -> None:
        self._store = store
        self._postman = postman
        self._seal = seal
        self._now = now
        self._rand = rand
        self._actor = actor

    async def create_channel(self, message: CreateChannelRequest) -> CreateChannelResponse:
        """Makes a channel; only the answer has the key it signs with."""
        given = message.channel or Channel()
        if wrong := check_channel(given, message.target):
            raise InvalidArgument(wrong)
        channel = replace(
            complete(given),
            id=str(uuid7(self._now(), self._rand(80))),
            shown=shown_of(given.kind, message.target),
            created_by=self._actor(),
        )
        key = new_key(self._rand)
        sealed = self._seal.closed(channel.id, ChannelSecrets(target=message.target, signing_key=key))
        request = StoreChannelRequest(channel=SealedChannel(channel=channel, sealed=sealed))
        stored = (await self._store.store_channel(request)).channel
        return CreateChannelResponse(
            channel=stored, signing_key=key_word(key) if given.kind is ChannelKind.WEBHOOK else ""
        )

    async def list_channels(self, message: ListChannelsRequest) -> ListChannelsResponse:  # noqa: ARG002 - the contract has one
        """Lists channels."""
        return ListChannelsResponse(channels=(await self._store.all_channels(AllChannelsRequest())).channels)

    async def update_channel(self, message: UpdateChannelRequest) -> UpdateChannelResponse:
        """Changes a channel, and seals it anew: with another key, if there is another one by now."""
        _check_key(message.channel)
        found = (await self._store.find_channel(FindChannelRequest(channel=message.channel))).channel or SealedChannel()
        old = found.channel or Channel()
        secrets = self._seal.opened(old.id, found.sealed)
        target = message.target or secrets.target
        rule = replace(message.rule or Channel(), id=old.id, name=old.name, kind=old.kind)
        if wrong := check_channel(rule, target):
            raise InvalidArgument(wrong)
        channel = replace(complete(rule), shown=shown_of(old.kind, target))
        sealed = self._seal.closed(old.id, replace(secrets, target=target))
        request = ChangeChannelRequest(channel=SealedChannel(channel=channel, sealed=sealed))
        return UpdateChannelResponse(channel=(await self._store.change_channel(request)).channel)

    async def delete_channel(self, message: DeleteChannelRequest) -> DeleteChannelResponse:
        """Deletes a channel."""
        _check_key(message.channel)
        dropped = await self._store.drop_channel(DropChannelRequest(channel=message.channel))
        return DeleteChannelResponse(channel=dropped.channel)

    async def try_channel(self, message: TryChannelRequest) -> TryChannelResponse:
        """Sends a message now. A ping is sent as a success: whoever waits for it sees it come."""
        _check_key(message.channel)
        found = (await self._store.find_channel(FindChannelRequest(channel=message.channel))).channel
        to = found or SealedChannel()
        channel = to.channel or Channel()
        now = self._now()
        trial = Delivery(
            id=str(uuid7(now, self._rand(80))),
            attempt=1,
            channel=to,
            event=TaskEvent.TEST,
            body=trial_message(channel.name, now),
        )
        async with self._postman.turn(trial):
            failure = await self._postman.send(trial)
        return TryChannelResponse(channel=channel, failure=failure)


def _check_key(key: str) -> None:
    if not 1 <= len(key) <= KEY_LENGTH or not key.isprintable():
        raise InvalidArgument.of("channel", "channel.key", f"is a name or id: 1 to {KEY_LENGTH} characters")
