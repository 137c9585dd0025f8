"""Channel Service, over both transports."""

from __future__ import annotations

import re
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta

import pytest
from contract import Cases, methods, reached, refusal

from dts.domain import errors
from dts.domain.channels import PINGED, USUAL
from dts.pb.dts.v1 import (
    Channel,
    ChannelKind,
    ChannelServiceBase,
    ChannelServiceStub,
    CreateChannelRequest,
    DeleteChannelRequest,
    ListChannelsRequest,
    QuietHours,
    TaskEvent,
    TryChannelRequest,
    UpdateChannelRequest,
)
from dts.roles.database.service import DatabaseService
from dts.roles.scheduler.channels import ChannelService
from dts.rpc.direct import in_process
from dts.runtime import clock
from support.ledger import Ledger
from support.outbox import SEAL
from support.rpc import both_transports

TARGET = "https://hooks.example.com/services/s3cret"

case = Cases()
pytestmark = both_transports


class Postman:
    """Notes what it is given; says what it is told to say."""

    def __init__(self):
        self.sent = []
        self.says = ""

    def turn(self, _):
        return nullcontext()

    async def send(self, delivery):
        self.sent.append(delivery)
        return self.says


class World:
    def __init__(self, database):
        self.ledger = Ledger.on(database)
        self.postman = Postman()


@pytest.fixture
def world(database):
    return World(database)


@pytest.fixture
async def channels(transport, world):
    store = in_process(DatabaseService(world.ledger.store))
    service = ChannelService(store, world.postman, SEAL, now=clock.now, rand=clock.random_bits, actor=lambda: "tester")
    async with reached(transport, ChannelServiceBase, ChannelServiceStub, service) as contract:
        yield contract


@pytest.mark.parametrize("method", methods(ChannelServiceBase))
async def test_every_call_about_channels_keeps_its_contract(method, channels, world):
    await case[method](channels, world)
    assert channels.was_called(method)


def creating(name="ops", target=TARGET, kind=ChannelKind.WEBHOOK, **fields):
    return CreateChannelRequest(channel=Channel(name=name, kind=kind, **fields), target=target)


async def refused(channels, request):
    """The fields that are wrong."""
    error = await refusal(channels, "create_channel", request)
    assert isinstance(error, errors.InvalidArgument)
    assert "s3cret" not in str(error)
    return {violation.field for violation in error.violations}


@case
async def create_channel(channels, world):
    made = await channels.create_channel(creating())
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", made.signing_key)
    channel = made.channel
    assert (channel.shown, channel.created_by) == ("https://hooks.example.com", "tester")
    assert tuple(channel.events) == USUAL
    assert (channel.late_after, channel.remind_every) == (timedelta(minutes=1), timedelta(hours=4))
    stored = await world.ledger.store.channels.find("ops")
    assert b"s3cret" not in stored.sealed
    assert SEAL.opened(channel.id, stored.sealed).target == TARGET
    assert isinstance(await refusal(channels, "create_channel", creating()), errors.AlreadyExists)
    ping = await channels.create_channel(creating("dead-man", kind=ChannelKind.PING, tasks=["backup"]))
    assert (set(ping.channel.events), ping.signing_key) == (set(PINGED), "")
    mail = await channels.create_channel(creating("mail", "mailto://me:s3cret@example.com", ChannelKind.APPRISE))
    assert (mail.channel.shown, mail.signing_key) == ("mailto://", "")
    assert await refused(channels, creating("Ops", kind=ChannelKind.UNSPECIFIED)) == {"name", "kind"}
    for target in ("", "s3cret", "ftp://s3cret", "https://me:s3cret@example.com", "https://s3cret\n", "h" * 5000):
        assert await refused(channels, creating("a", target)) == {"target"}, target
    assert await refused(channels, creating("a", kind=ChannelKind.PING)) == {"tasks"}
    assert await refused(channels, creating("a", events=[TaskEvent.TEST])) == {"events"}
    assert await refused(channels, creating("a", tasks=["No Name"], labels={"a\n": ""})) == {"tasks", "labels"}
    times = dict.fromkeys(("late_after", "stuck_after", "remind_every", "digest_every"), timedelta(seconds=1))
    assert await refused(channels, creating("a", **times)) == set(times)
    ping = {"kind": ChannelKind.PING, "tasks": ["backup"], "digest_every": timedelta(hours=1)}
    assert await refused(channels, creating("a", **ping)) == {"digest_every"}
    quiet = QuietHours(start="25:00", end="7", zone="Europe/Zurch")
    assert await refused(channels, creating("a", quiet=quiet)) == {"quiet.start", "quiet.end", "quiet.zone"}


@case
async def list_channels(channels, world):  # noqa: ARG001 - every case is given the same
    for name in ("b", "a"):
        await channels.create_channel(creating(name))
    listed = (await channels.list_channels(ListChannelsRequest())).channels
    assert [channel.name for channel in listed] == ["a", "b"]
    assert "s3cret" not in str(listed)


@case
async def update_channel(channels, world):
    made = await channels.create_channel(creating(tasks=["backup"], digest_every=timedelta(hours=1)))

    async def secrets():
        return SEAL.opened(made.channel.id, (await world.ledger.store.channels.find("ops")).sealed)

    before = await secrets()
    rule = Channel(events=[TaskEvent.FAILED], labels={"team": "db"}, name="other", kind=ChannelKind.PING, shown="x")
    changed = (await channels.update_channel(UpdateChannelRequest(channel="ops", rule=rule))).channel
    assert (changed.name, changed.kind, changed.created_by) == ("ops", ChannelKind.WEBHOOK, "tester")
    assert (changed.events, changed.tasks, changed.labels) == ([TaskEvent.FAILED], [], {"team": "db"})
    assert (changed.digest_every, changed.late_after, changed.shown) == (None, timedelta(minutes=1), made.channel.shown)
    assert await secrets() == before
    moved = UpdateChannelRequest(channel=changed.id, rule=rule, target="https://other.example.com/s3cret")
    assert (await channels.update_channel(moved)).channel.shown == "https://other.example.com"
    assert await secrets() == replace(before, target=moved.target)
    for wrong in (replace(moved, target="s3cret"), replace(moved, rule=Channel(events=[TaskEvent.TEST]))):
        error = await refusal(channels, "update_channel", wrong)
        assert isinstance(error, errors.InvalidArgument)
        assert "s3cret" not in str(error)
    nobody = UpdateChannelRequest(channel="nobody")
    assert isinstance(await refusal(channels, "update_channel", nobody), errors.NotFound)


@case
async def delete_channel(channels, world):  # noqa: ARG001
    made = (await channels.create_channel(creating())).channel
    assert (await channels.delete_channel(DeleteChannelRequest(channel="ops"))).channel.id == made.id
    again = DeleteChannelRequest(channel=made.id)
    assert isinstance(await refusal(channels, "delete_channel", again), errors.NotFound)
    assert isinstance(await refusal(channels, "delete_channel", DeleteChannelRequest()), errors.InvalidArgument)


@case
async def try_channel(channels, world):
    await channels.create_channel(creating())
    answer = await channels.try_channel(TryChannelRequest(channel="ops"))
    (sent,) = world.postman.sent
    assert (answer.channel.name, answer.failure) == ("ops", "")
    assert SEAL.opened(answer.channel.id, sent.channel.sealed).target == TARGET
    assert sent.event is TaskEvent.TEST
    world.postman.says = "hooks.example.com answered 503"
    assert (await channels.try_channel(TryChannelRequest(channel="ops"))).failure == world.postman.says
    assert isinstance(await refusal(channels, "try_channel", TryChannelRequest(channel="x")), errors.NotFound)
