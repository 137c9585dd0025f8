"""Two executors that say they are the same node displace each other: both say so in their log."""

from __future__ import annotations

import logging

from dts.pb.dts.v1 import Node
from dts.roles.executor.rivals import IN_A_ROW, RivalWatch
from support.executors import running
from support.polling import eventually
from support.scheduler import ScriptedScheduler

NODE = Node(id="a1", hostname="alpha")


def errors(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]


def test_it_is_said_once_and_again_when_it_begins_again(caplog):
    watch = RivalWatch()
    for _ in range(IN_A_ROW - 1):
        watch.ended(NODE, seconds=0.5)
    assert errors(caplog) == []
    for _ in range(IN_A_ROW):
        watch.ended(NODE, seconds=0.5)
    (said,) = errors(caplog)
    assert "the node alpha (a1), too" in said
    watch.ended(NODE, seconds=60)
    for _ in range(IN_A_ROW):
        watch.ended(NODE, seconds=0.5)
    assert len(errors(caplog)) == 2


def test_connections_that_last_are_no_sign(caplog):
    watch = RivalWatch()
    for _ in range(3 * IN_A_ROW):
        watch.ended(NODE, seconds=60)
    assert errors(caplog) == []


async def test_an_executor_that_is_displaced_over_and_over_says_so(tmp_path, caplog):
    scheduler = ScriptedScheduler()
    async with running(scheduler, tmp_path):
        for number in range(1, IN_A_ROW + 1):
            await eventually(lambda number=number: scheduler.attached and len(scheduler.hellos) >= number)
            scheduler.drop()
        await eventually(lambda: errors(caplog))
