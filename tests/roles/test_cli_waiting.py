"""Waiting for a run on the command line, against a scheduler whose nodes do as the test says."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest

from dts.cli.backfilling import Backfill, backfilled
from dts.cli.patience import Patience
from dts.cli.progress import Progress
from dts.cli.runs import copy_logs, end_of
from dts.cli.waiting import followed
from dts.domain.errors import Unavailable
from dts.domain.ids import to_micros
from dts.pb.dts.v1 import (
    AppendLogsRequest,
    LogBatch,
    LogChunk,
    LogEntry,
    LogStream,
    NodeChoice,
    Overlap,
    Reason,
    ReportDetail,
    RunState,
    TriggerTaskRequest,
)
from dts.roles.database.service import DatabaseService
from dts.roles.scheduler import logs
from dts.roles.scheduler.forecast import Forecast
from dts.roles.scheduler.hub import Hub
from dts.roles.scheduler.service import SchedulerService
from dts.roles.scheduler.wakes import Wakes
from dts.rpc.direct import in_process
from dts.runtime import clock
from support.ledger import Ledger, every
from support.polling import eventually

ALL = ("alpha", "beta", "gamma")


@pytest.fixture
async def ledger(database) -> Ledger:
    return await Ledger.with_nodes(database, *ALL)


@pytest.fixture
def client(ledger):
    database = in_process(DatabaseService(ledger.store))
    hub, forecast = Hub(database, monotonic=clock.monotonic), Forecast(database, monotonic=clock.monotonic)
    service = SchedulerService(database, hub, Wakes(database), forecast, actor=lambda: "ann", new_id=uuid4)
    return SimpleNamespace(scheduler=in_process(service))


@pytest.mark.parametrize("follow", [False, True])
async def test_a_run_of_every_node_is_waited_for_on_each_of_them(ledger, client, capsys, follow):
    await ledger.task("sweep", node=NodeChoice.EVERY, overlap=Overlap.ALLOW)
    earlier = (await client.scheduler.trigger_task(TriggerTaskRequest(task="sweep"))).run
    run = (await client.scheduler.trigger_task(TriggerTaskRequest(task="sweep"))).run
    waiting = asyncio.create_task(followed(client, run.id, Patience(), follow=follow))
    given: dict[str, tuple] = {}

    async def all_given() -> bool:
        for key in await ledger.claim(*ALL):
            found = await ledger.run(key[0])
            if found.created_at == run.created_at:
                given[found.node] = key
            else:
                await ledger.report([key], node=found.node)
        return len(given) == len(ALL)

    await eventually(all_given)
    ends = {"alpha": RunState.SUCCEEDED, "beta": RunState.FAILED, "gamma": RunState.SUCCEEDED}
    for node, state in ends.items():
        assert not waiting.done()
        await ledger.report([given[node]], state, Reason.OK, node=node)
    ended = await asyncio.wait_for(waiting, 20)
    assert {each.node: each.state for each in ended} == ends
    assert earlier.id not in {each.id for each in ended}
    others = {f"run {each.id} on {each.node}" for each in ended[1:]}
    assert set(capsys.readouterr().err.splitlines()) == others


async def test_a_run_of_one_node_is_waited_for_alone(ledger, client):
    await ledger.task("single")
    run = (await client.scheduler.trigger_task(TriggerTaskRequest(task="single"))).run
    waiting = asyncio.create_task(followed(client, run.id, Patience(), follow=False))
    [key] = await ledger.claim(*ALL)
    await ledger.report([key], node=(await ledger.run(key[0])).node)
    assert [each.id for each in await asyncio.wait_for(waiting, 20)] == [run.id]


async def test_a_backfill_of_every_node_counts_the_runs_of_all(ledger, client):
    await ledger.task("swept", every(3600), node=NodeChoice.EVERY)
    since = (await ledger.now()).replace(minute=0, second=0, microsecond=0)
    span = {"since": since, "until": None}
    filling = asyncio.create_task(
        backfilled(client, task="swept", **span, overlap=Overlap.ALLOW, dry_run=False, wait=True, yes=True)
    )
    states = iter([RunState.FAILED, RunState.FAILED, RunState.SUCCEEDED])

    async def all_over() -> bool:
        for key in await ledger.claim(*ALL):
            await ledger.report([key], next(states), Reason.OK, node=(await ledger.run(key[0])).node)
        return filling.done()

    await eventually(all_over, within=20)
    assert await filling == Backfill(ticks=1, runs=1, succeeded=1, unsuccessful=2)


class Breaking:
    """A scheduler whose first watch breaks off after an answer. watched: what was asked for."""

    def __init__(self, scheduler) -> None:
        self._scheduler = scheduler
        self.watched: list[str] = []

    async def watch_run(self, message):
        self.watched.append(message.run)
        async for answer in self._scheduler.watch_run(message):
            yield answer
            if len(self.watched) == 1:
                raise Unavailable("the server is stopping", code="server.stopping")

    def __getattr__(self, name):
        return getattr(self._scheduler, name)


async def test_a_watch_that_breaks_off_goes_on_with_the_same_run_whatever_begins_like_it(ledger, client):
    run_id = str(await ledger.trigger(await ledger.task("watched")))
    breaking = Breaking(client.scheduler)
    waiting = asyncio.create_task(end_of(SimpleNamespace(scheduler=breaking), run_id[:8], Patience(), Progress()))
    await eventually(lambda: len(breaking.watched) == 2)
    [key] = await ledger.claim(*ALL)
    await ledger.report([key], node=(await ledger.run(key[0])).node)
    assert (await asyncio.wait_for(waiting, 20)).state is RunState.SUCCEEDED
    assert breaking.watched == [run_id] * 2


async def printed(ledger: Ledger, key: tuple[UUID, int], text: bytes, *, offset: int) -> None:
    run = await ledger.run(key[0])
    at = to_micros(run.scheduled_at)
    chunk = LogChunk(attempt=key[1], stream=LogStream.STDOUT, offset=offset, content=text, at=run.created_at)
    entry = LogEntry(run_id=key[0].bytes, scheduled_at=at, chunk=chunk, length=len(text))
    incarnation, batch = ledger.nodes[run.node], LogBatch(entries=[entry])
    await ledger.store.logs.append(AppendLogsRequest(node_id=run.node, incarnation=incarnation, batch=batch))


async def half_told(ledger: Ledger) -> tuple[tuple[UUID, int], str]:
    """A run that is over, of which half of what it printed is stored: its node was cut off from the store."""
    run_id = await ledger.trigger(await ledger.task("cut"))
    [key] = await ledger.claim(*ALL)
    node = (await ledger.run(run_id)).node
    await printed(ledger, key, b"first\n", offset=0)
    await ledger.report([key], node=node, detail=ReportDetail(log_bytes=11))
    return key, str(run_id)


async def test_a_follower_gets_the_end_of_a_log_that_comes_after_the_result(ledger, client, capsysbinary):
    key, run = await half_told(ledger)
    following = asyncio.create_task(copy_logs(client, run, Patience(), follow=True))
    out = b""

    def copied() -> bytes:
        nonlocal out
        out += capsysbinary.readouterr().out
        return out

    await eventually(copied)
    await printed(ledger, key, b"last\n", offset=6)
    await asyncio.wait_for(following, 20)
    assert copied() == b"first\nlast\n"


@pytest.mark.parametrize("follow", [False, True])
async def test_who_reads_a_log_is_told_what_is_missing_of_it(ledger, client, capsysbinary, monkeypatch, follow):
    monkeypatch.setattr(logs, "QUIET_LOOKS", 2)
    _, run = await half_told(ledger)
    await asyncio.wait_for(copy_logs(client, run, Patience(), follow=follow), 20)
    out, err = capsysbinary.readouterr()
    assert out == b"first\n"
    assert err.startswith(b"[dts: 5 bytes that attempt 1 printed are missing")
    await asyncio.wait_for(copy_logs(client, run, Patience(), follow=follow, attempt=2), 20)
    assert capsysbinary.readouterr().err == b""
