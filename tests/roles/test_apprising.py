"""Apprise, in its own process, to a real server on loopback."""

from __future__ import annotations

import ipaddress

import pytest

from dts.domain.node_policy import NodePolicy
from dts.roles.scheduler.apprising import by_apprise
from support.inbox import receiving

OPEN = NodePolicy(private_addresses=(ipaddress.ip_network("127.0.0.0/8"),))


@pytest.fixture
async def inbox():
    async with receiving() as inbox:
        inbox.status = 200  # what Apprise takes for a success
        yield inbox


async def test_a_message_arrives_and_a_refusal_is_told_without_the_target(inbox):
    target = f"json://someone:s3cretword@127.0.0.1:{inbox.port}/s3cretpath"
    assert await by_apprise(target, "backup failed", "exit code 3", OPEN) == ""
    assert '"title": "backup failed"' in inbox.arrivals[0].body.decode()
    inbox.status = 403
    said = await by_apprise(target, "backup failed", "exit code 3", OPEN)
    assert "403" in said
    assert "s3cret" not in said


async def test_the_policy_holds_also_where_a_redirection_leads(inbox):
    target = f"json://127.0.0.1:{inbox.port}/moved"
    said = await by_apprise(target, "t", "b", NodePolicy())
    assert said == "its address 127.0.0.1 is not a public one (private_addresses)"
    assert inbox.arrivals == []
    inbox.status, inbox.location = 307, f"http://127.0.0.2:{inbox.port}/s3cret"
    only = NodePolicy(private_addresses=(ipaddress.ip_network("127.0.0.1/32"),))
    said = await by_apprise(target, "t", "b", only)
    assert len(inbox.arrivals) == 1
    assert said == "its address 127.0.0.2 is not a public one (private_addresses)"


@pytest.mark.parametrize("target", ["syslog://", "dbus://", "nothing://s3cret"])
async def test_a_target_of_this_machine_or_of_nobody_takes_nothing(target):
    said = await by_apprise(target, "t", "b", OPEN)
    assert said
    assert "s3cret" not in said
