"""Messages on their way: to a real server on loopback, signed, within the policy, and no secret in any word."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from dts.domain.errors import Unavailable
from dts.domain.node_policy import NodePolicy
from dts.pb.dts.v1 import (
    ChannelKind,
    CrowdedChannel,
    Delivery,
    SettleDeliveriesResponse,
    TakeDeliveriesResponse,
    TaskEvent,
    TendOutboxResponse,
)
from dts.roles.scheduler.postman import APPRISE_AT_ONCE, Postman
from dts.roles.scheduler.telling import BEGIN_SECONDS, PATIENCE_SECONDS, SHARE, Telling
from dts.runtime.loop import Again
from dts.runtime.metrics import Metrics
from support.inbox import receiving
from support.outbox import SEAL, channel
from support.polling import eventually

OPEN = NodePolicy(private_addresses=(ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1")))
AT = datetime(2026, 3, 1, 2, 30, tzinfo=UTC)
BODY = json.dumps({"type": "task.failed", "data": {"title": "backup failed", "text": "Run 1: exit_code\n"}})


@pytest.fixture
async def inbox():
    async with receiving() as inbox:
        yield inbox


async def no_apprise(*_):
    raise AssertionError


def postman(policy=OPEN, apprise=no_apprise):
    return Postman(SEAL, now=lambda: AT, policy=lambda: policy, apprise=apprise)


def delivery(target, name="ops", event=TaskEvent.FAILED, number=1, **fields):
    to = channel(name, target, **fields)
    return Delivery(id=f"id-{number}", attempt=1, channel=to, event=event, run_id="run-1", body=BODY)


async def test_a_webhook_is_signed_so_that_the_receiver_can_check_it(inbox):
    assert await postman().send(delivery(f"{inbox.address}/hook/s3cret?x=1")) == ""
    (arrival,) = inbox.arrivals
    assert (arrival.path, arrival.body.decode()) == ("/hook/s3cret?x=1", BODY)
    headers = arrival.headers
    assert headers["webhook-id"] == "msg_id-1"
    assert headers["webhook-timestamp"] == str(int(AT.timestamp()))
    # As a receiver does it, by the text of the convention.
    signed = b".".join([b"msg_id-1", str(int(AT.timestamp())).encode(), arrival.body])
    expected = base64.b64encode(hmac.new(b"k" * 32, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


@pytest.mark.parametrize(
    ("event", "path"),
    [
        (TaskEvent.STARTED, "/ping/u/start?rid=run-1"),
        (TaskEvent.SUCCEEDED, "/ping/u?rid=run-1"),
        (TaskEvent.FAILED, "/ping/u/fail?rid=run-1"),
    ],
)
async def test_a_ping_goes_where_healthchecks_looks_for_it(inbox, event, path):
    given = delivery(f"{inbox.address}/ping/u", event=event, kind=ChannelKind.PING, tasks=["backup"])
    assert await postman().send(given) == ""
    (arrival,) = inbox.arrivals
    assert arrival.path == path
    assert "webhook-signature" not in arrival.headers


async def test_what_is_refused_is_said_without_the_target(inbox):
    inbox.status = 410
    said = await postman().send(delivery(f"{inbox.address}/hook/s3cret"))
    assert said == "127.0.0.1 answered 410"


async def test_a_redirection_is_not_followed(inbox):
    inbox.status, inbox.location = 302, f"{inbox.address}/elsewhere"
    assert await postman().send(delivery(f"{inbox.address}/hook")) == "127.0.0.1 answered 302"
    assert len(inbox.arrivals) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"])
async def test_a_private_address_is_refused_unless_the_policy_opens_it(inbox, host):
    port = inbox.address.rpartition(":")[2]
    said = await postman(NodePolicy()).send(delivery(f"http://{host}:{port}/s3cret"))
    assert "is not a public one (private_addresses)" in said
    assert "s3cret" not in said
    assert inbox.arrivals == []


async def test_a_host_that_the_policy_leaves_out_is_refused(inbox):
    policy = NodePolicy(hosts=("*.example.com",), private_addresses=OPEN.private_addresses)
    said = await postman(policy).send(delivery(f"{inbox.address}/s3cret"))
    assert "does not allow the host 127.0.0.1" in said
    assert inbox.arrivals == []


class Lender:
    """An outbox that lends what it is given, once, and nothing of a channel that is busy."""

    def __init__(self, *deliveries):
        self.deliveries = list(deliveries)
        self.settled = []
        self.crowded = []
        self.busy = []
        self.on_settled = asyncio.Event()
        self.fails = None

    async def take_deliveries(self, message):
        self.busy = list(message.busy)
        free = [one for one in self.deliveries if one.channel.channel.id not in message.busy]
        lent = [one for one in free if free.index(one) < message.limit]
        self.deliveries = [one for one in self.deliveries if one not in lent]
        return TakeDeliveriesResponse(deliveries=lent)

    async def tend_outbox(self, _):
        return TendOutboxResponse(crowded=self.crowded)

    async def settle_deliveries(self, message):
        if self.fails is not None:
            raise self.fails
        self.settled += [(result.id, result.failure, result.retry_in) for result in message.results]
        self.on_settled.set()
        return SettleDeliveriesResponse(given_up=[result.id for result in message.results if result.failure])


def telling(lender, *, policy=OPEN, monotonic=lambda: 0.0, patience=PATIENCE_SECONDS):
    return Telling(lender, postman(policy), Metrics(), monotonic=monotonic, rand=lambda: 0.0, patience=patience)


@pytest.fixture
async def hanging():
    """A receiver that answers only when it is let go, and the event for that."""
    async with receiving() as inbox:
        free, reached = asyncio.Event(), asyncio.Event()

        async def hang():
            reached.set()
            await free.wait()

        inbox.before_answer = hang
        yield inbox, free, reached
        free.set()


async def test_a_channel_that_hangs_keeps_only_itself_waiting(inbox, hanging):
    deaf, free, reached = hanging
    first, second = (delivery(f"{deaf.address}/{number}", "deaf", number=number) for number in (1, 2))
    second.channel = first.channel
    lender = Lender(first, delivery(f"{inbox.address}/3", "fine", number=3))
    duty = telling(lender, patience=0)
    await duty.tell()
    await reached.wait()
    await lender.on_settled.wait()
    lender.on_settled.clear()
    # While that lasts, others are sent what comes; nothing more is begun where somebody hangs.
    lender.deliveries = [second, delivery(f"{inbox.address}/4", "fine", number=4)]
    await duty.tell()
    await lender.on_settled.wait()
    assert [settled for settled, *_ in lender.settled] == ["id-3", "id-4"]
    assert lender.deliveries == [second]
    assert deaf.paths == ["/1"]
    lender.on_settled.clear()
    free.set()
    await lender.on_settled.wait()
    await asyncio.sleep(0)  # the sender ends
    await telling(lender).tell()
    assert [settled for settled, *_ in lender.settled] == ["id-3", "id-4", "id-1", "id-2"]


async def test_few_processes_of_apprise_run_at_once_and_nobody_else_waits_for_them(inbox):
    running, free, late = [], asyncio.Event(), 0.0

    async def hang(target, *_):
        running.append(target)
        await free.wait()
        return "no"

    slow = [delivery(f"mailto://{n}", f"mail-{n}", number=n, kind=ChannelKind.APPRISE) for n in range(9)]
    lender = Lender(*slow, delivery(f"{inbox.address}/", "hook", number=9))
    sends = postman(apprise=hang)
    duty = Telling(lender, sends, Metrics(), monotonic=lambda: late, rand=lambda: 0.0, patience=0)
    await duty.tell()
    await lender.on_settled.wait()
    assert [settled for settled, *_ in lender.settled] == ["id-9"]
    assert len(running) == APPRISE_AT_ONCE
    # Their turn comes when what they hold may be lent to others again: they leave it.
    late = BEGIN_SECONDS + 1
    free.set()

    async def done():
        await duty.tell()
        return lender.busy == []

    await eventually(done)
    assert len(running) == APPRISE_AT_ONCE
    assert len(lender.settled) == 1 + APPRISE_AT_ONCE


async def test_what_a_sender_met_fails_the_pass_and_the_next_one_goes_on(inbox):
    lender = Lender(delivery(f"{inbox.address}/1"))
    duty = telling(lender)
    lender.fails = Unavailable("the database is away")
    with pytest.raises(Unavailable):
        await duty.tell()
    lender.fails = None
    lender.deliveries = [delivery(f"{inbox.address}/2", number=2)]
    await duty.tell()
    assert inbox.paths == ["/1", "/2"]


async def test_closing_breaks_off_what_hangs(hanging):
    deaf, _, reached = hanging
    lender = Lender(delivery(f"{deaf.address}/1"))
    duty = telling(lender, patience=0)
    await duty.tell()
    await reached.wait()
    await duty.close()
    assert lender.settled == []


def to_one(inbox, number):
    """So many messages to one channel."""
    deliveries = [delivery(f"{inbox.address}/", number=number) for number in range(number)]
    to = deliveries[0].channel
    return [replace(one, channel=to) for one in deliveries]


async def test_messages_of_a_channel_arrive_in_their_order_and_are_settled(inbox):
    lender = Lender(*to_one(inbox, 3))
    assert await telling(lender).tell() is None
    assert len(inbox.arrivals) == 3
    assert lender.settled == [(f"id-{number}", "", None) for number in range(3)]


async def test_a_channel_that_refuses_is_asked_once_in_a_pass_and_another_goes_on(inbox, caplog):
    async with receiving() as broken:
        broken.status = 500
        lender = Lender(
            delivery(f"{broken.address}/s3cret", "broken", number=1),
            delivery(f"{broken.address}/s3cret", "broken", number=2),
            delivery(f"{inbox.address}/fine", "fine", number=3),
        )
        lender.deliveries[1].channel = lender.deliveries[0].channel
        await telling(lender).tell()
        assert len(broken.arrivals) == 1
    assert len(inbox.arrivals) == 1
    failures = {name: failure for name, failure, _ in lender.settled}
    assert failures == {"id-1": "127.0.0.1 answered 500", "id-2": "127.0.0.1 answered 500", "id-3": ""}
    assert "a message to the channel broken is given up" in caplog.text
    assert "s3cret" not in caplog.text


async def test_what_was_lent_too_long_ago_is_left_to_others(inbox):
    times = iter([0.0, 1.0, BEGIN_SECONDS + 1])
    lender = Lender(*to_one(inbox, 2))
    await telling(lender, monotonic=lambda: next(times)).tell()
    assert len(inbox.arrivals) == 1
    assert len(lender.settled) == 1


async def test_a_full_share_is_followed_by_another_at_once(inbox):
    lender = Lender(*to_one(inbox, SHARE + 1))
    duty = telling(lender)
    assert await duty.tell() is Again.NOW
    assert await duty.tell() is None
    assert len(inbox.arrivals) == SHARE + 1


async def test_who_refuses_a_full_share_is_not_sent_the_next_one_at_once(inbox):
    inbox.status = 503
    assert await telling(Lender(*to_one(inbox, SHARE + 1))).tell() is None
    assert len(inbox.arrivals) == 1


async def test_what_is_too_much_for_a_channel_is_counted_and_said(caplog):
    lender = Lender()
    lender.crowded = [CrowdedChannel(channel="ops", given_up=7)]
    metrics = Metrics()
    await Telling(lender, postman(), metrics, monotonic=lambda: 0.0, rand=lambda: 0.0).tend()
    assert "7 messages to the channel ops are given up" in caplog.text
    (counted,) = metrics.families
    assert counted.read() == {("given_up",): 7}
