"""`dts channel test`: what it waits for, and what it says meanwhile."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from dts.cli.main import run
from dts.domain.errors import DeadlineExceeded
from dts.pb.dts.v1 import TryChannelResponse
from dts.roles.scheduler.postman import SEND_SECONDS
from dts.rpc.stubs import UNARY_SECONDS

HANGS = "no answer within 10 s"


class Channels:
    """Answers as a server does whose target hangs: after all of its time, unless its caller has less patience."""

    async def try_channel(self, _request, *, timeout=UNARY_SECONDS):  # noqa: ASYNC109 - as a stub has it
        if timeout <= SEND_SECONDS + UNARY_SECONDS:  # what the look for the channel may take comes on top
            raise DeadlineExceeded("no answer from here:1 in time")
        return TryChannelResponse(failure=HANGS)


@pytest.fixture
def shown(monkeypatch):
    said: list[str] = []

    @contextmanager
    def progress(what, **_options):
        said.append(what)
        yield

    client = SimpleNamespace(channels=Channels())
    monkeypatch.setattr("dts.cli.client.call", lambda work: asyncio.run(work(client)))
    monkeypatch.setattr("dts.cli.progress.progress", progress)
    return said


def test_a_target_that_hangs_is_told_as_a_failure_and_not_as_a_server_that_is_away(shown, capsys):
    assert run(["channel", "test", "ops"]) == 1
    assert capsys.readouterr().err == f"the message did not arrive: {HANGS}\n"
    assert shown == ["sending to ops"]
