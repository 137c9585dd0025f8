"""The page Now: what of the ledger it tells, and in which order."""

from __future__ import annotations

import re
from datetime import timedelta
from uuid import UUID

import pytest

from dts.pb.dts.v1 import Reason, Run, RunState
from dts.runtime import clock
from roles.front import fronting


@pytest.fixture
async def front():
    async with fronting() as found:
        found.scheduler.ledger = []
        await found.sign_in()
        yield found


def run(task, state, reason, number=0, **fields):
    at = clock.now() - timedelta(minutes=5)
    told = {"id": str(UUID(int=number)), "task": task, "task_id": f"id-{task}", "ticks": 1, "scheduled_at": at}
    return Run(state=state, reason=reason, **(told | fields))


def skips(count, reason, task="busy"):
    return [run(task, RunState.SKIPPED, reason, number, message="it was skipped") for number in range(count)]


async def part(front, name):
    _, text = await front.get("/")
    return re.search(rf'<section class="card" id="{name}">.*?</section>', text, re.DOTALL)[0]


async def test_a_failure_is_not_pushed_off_by_what_was_skipped(front):
    failed = run("backup", RunState.FAILED, Reason.EXIT_CODE, message="exit code 3")
    front.scheduler.ledger = [*skips(300, Reason.SKIPPED_OVERLAP), failed]
    shown = await part(front, "attention")
    assert "exit code 3" in shown
    assert shown.index("backup") < shown.index("busy")
    assert "at least ×100" in shown


async def test_a_failure_and_a_skip_of_one_task_are_told_apart(front):
    overlaps = skips(3, Reason.SKIPPED_OVERLAP)
    missed = run("busy", RunState.SKIPPED, Reason.MISSED, message="nothing could run", ticks=7)
    timed_out = run("busy", RunState.TIMED_OUT, Reason.TIMEOUT, message="too long")
    front.scheduler.ledger = [*overlaps, missed, timed_out]
    shown = await part(front, "attention")
    assert shown.index("too long") < shown.index("it was skipped")
    assert shown.index("nothing could run") < shown.index("it was skipped")
    assert re.findall(r"(at least )?×(\d+)", shown) == [("", "7"), ("", "3")]


@pytest.mark.parametrize("reason", [Reason.SKIPPED_PAUSED, Reason.EXCLUDED], ids=lambda reason: reason.name)
async def test_what_was_not_to_run_wants_no_attention(front, reason):
    front.scheduler.ledger = skips(4, reason)
    assert "Nothing failed, was skipped or missed." in await part(front, "attention")


async def test_what_is_due_and_waits_is_told_with_its_reason(front):
    why = "no node has room"
    waits = [run("late", RunState.PENDING, Reason.UNSPECIFIED, number, message=why) for number in range(12)]
    soon = run("soon", RunState.PENDING, Reason.UNSPECIFIED, scheduled_at=clock.now() + timedelta(hours=1))
    front.scheduler.ledger = [soon, *waits]
    shown = await part(front, "running")
    assert "Due and waiting <small>10+</small>" in shown
    assert shown.count(why) == 10
    assert "/tasks/soon" not in shown


async def test_nothing_is_said_of_waiting_where_nothing_waits(front):
    assert "Due and waiting" not in await part(front, "running")
