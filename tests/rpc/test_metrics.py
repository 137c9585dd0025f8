"""What a process tells of itself, in the format of Prometheus."""

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from dts.app import figures
from dts.domain.columns import pack, pack_ids
from dts.domain.errors import Unavailable
from dts.pb.dts.v1 import (
    Assignments,
    ClaimRequest,
    ClaimResponse,
    DescribeDatabaseResponse,
    GetRunRequest,
    GetRunResponse,
    MaterialiseRequest,
    MaterialiseResponse,
    NodeAssignments,
    Reason,
    RecordRequest,
    RecordResponse,
    Reports,
    RunState,
    SchedulerServiceBase,
    SchedulerServiceStub,
    SweepRequest,
    SweepResponse,
    Tally,
)
from dts.roles.scheduler.counted import counted
from dts.rpc.http import HttpServer
from dts.rpc.stubs import stub
from dts.runtime.exposition import Exposition
from dts.runtime.loop import Loop
from dts.runtime.metrics import Metrics
from support.rpc import LOOPBACK, TOKEN, connect_to, listening


async def told(metrics):
    """Every figure by its name and labels, as Prometheus's own parser reads them."""
    text = (await Exposition(metrics).text()).decode()
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_counts_gauges_and_distributions_are_told():
    metrics = Metrics()
    counts = metrics.counts("dts_things_total", "Things.", "kind")
    spread = metrics.spread("dts_wait_seconds", "Waits.", bounds=(1.0, 2.0))
    metrics.gauge("dts_room", "Room.", lambda: 7)
    counts.add("a")
    counts.add("a", by=2)
    spread.add(1.0)
    spread.add(1.5, times=3)
    spread.add(9)
    found = await told(metrics)
    assert found["dts_things_total", "a"] == 3
    assert found["dts_room",] == 7
    assert [found["dts_wait_seconds_bucket", bound] for bound in ("1", "2", "+Inf")] == [1, 4, 5]
    assert (found["dts_wait_seconds_count",], found["dts_wait_seconds_sum",]) == (5, 14.5)


async def test_the_process_and_its_build_are_told():
    metrics = Metrics()
    figures.of_build(metrics, version="1.2", roles={"b", "a"})
    text = (await Exposition(metrics).text()).decode()
    assert "process_resident_memory_bytes" in text
    assert 'roles="a,b",version="1.2"} 1.0' in text


async def test_labels_that_need_it_are_escaped():
    metrics = Metrics()
    metrics.counts("dts_things_total", "Things.", "kind").add('a"\n\\b')
    assert (await told(metrics))["dts_things_total", 'a"\n\\b'] == 1


async def test_loops_are_told():
    fails = iter([Unavailable("away"), None])

    async def tick():
        if error := next(fails):
            raise error

    loop = Loop(tick, name="claim", every=timedelta(seconds=1))
    metrics = Metrics()
    figures.of_loops(metrics, [loop])
    await loop.turn()
    found = await told(metrics)
    assert (found["dts_loop_passes_total", "claim"], found["dts_loop_failing_passes", "claim"]) == (1, 1)
    await loop.turn()
    found = await told(metrics)
    assert (found["dts_loop_failures_total", "claim"], found["dts_loop_failing_passes", "claim"]) == (1, 0)
    assert found["dts_loop_busy_seconds_total", "claim"] > 0


class Runs(SchedulerServiceBase):
    async def get_run(self, message: GetRunRequest) -> GetRunResponse:
        if message.run == "gone":
            raise Unavailable("away")
        return GetRunResponse()


async def test_calls_are_told_by_route_and_status_and_strangers_add_no_names():
    metrics = Metrics()
    async with listening(Runs()) as (server, port):
        figures.of_rpc(metrics, server)
        with connect_to(port) as channel:
            runs = stub(SchedulerServiceStub, channel)
            await runs.get_run(GetRunRequest(run="r"))
            with pytest.raises(Unavailable):
                await runs.get_run(GetRunRequest(run="gone"))
        with connect_to(port, token="wrong") as channel:
            for method in ("GetRun", "NoSuchMethod", "Another"):
                with pytest.raises(Exception, match="token"):
                    await stub(SchedulerServiceStub, channel)._unary_unary(
                        f"/dts.v1.SchedulerService/{method}", GetRunRequest(), GetRunResponse
                    )
        found = await told(metrics)
    route = "/dts.v1.SchedulerService/GetRun"
    calls = {key[1:]: value for key, value in found.items() if key[0] == "dts_rpc_calls_total"}
    assert calls == {
        tuple(sorted(("OK", route))): 1,
        tuple(sorted(("UNAVAILABLE", route))): 1,
        tuple(sorted(("UNAUTHENTICATED", route))): 1,
        tuple(sorted(("UNAUTHENTICATED", "other"))): 2,
    }
    assert found["dts_rpc_call_seconds_count", route] == 2
    assert found["dts_rpc_calls_under_way", "unary"] == 0


class Ledger:
    def __init__(self):
        self.described = 0

    async def claim(self, _message):
        given = Assignments(
            run_ids=pack_ids(UUID(int=n) for n in range(3)), start_in=pack("q", [1_000_000, -20_000, -90_000_000])
        )
        return ClaimResponse(assignments=[NodeAssignments(node_id="n", assignments=given)])

    async def record(self, _message):
        return RecordResponse(ended=[Tally(state=RunState.SUCCEEDED, reason=Reason.OK, ticks=2)])

    async def sweep(self, _message):
        return SweepResponse(lost=2)

    async def materialise(self, _message):
        missed = Tally(state=RunState.SKIPPED, reason=Reason.MISSED, ticks=40)
        return MaterialiseResponse(tasks=1, runs=5, ended=[missed])

    async def describe_database(self, _message):
        self.described += 1
        if self.described > 1:
            raise Unavailable("away")
        return DescribeDatabaseResponse(live_runs=9, oldest_wait=timedelta(seconds=3))


async def test_the_schedulers_work_is_told():
    now = [0.0]
    ledger, metrics = Ledger(), Metrics()
    counting = counted(ledger, metrics, lambda: now[0])
    await counting.materialise(MaterialiseRequest())
    await counting.claim(ClaimRequest())
    states = bytes([RunState.SUCCEEDED, RunState.SUCCEEDED, RunState.FAILED, 250])
    reasons = bytes([Reason.OK, Reason.OK, Reason.EXIT_CODE, 251])
    await counting.record(RecordRequest(reports=Reports(states=states, reasons=reasons)))
    await counting.sweep(SweepRequest())
    found = await told(metrics)
    assert found["dts_scheduler_materialised_runs_total",] == 5
    assert found["dts_scheduler_claimed_runs_total",] == 3
    assert [found["dts_scheduler_claim_lateness_seconds_bucket", le] for le in ("0.01", "0.025", "60", "300")] == [
        1,
        2,
        2,
        3,
    ]
    assert found["dts_scheduler_reports_total", "ok", "succeeded"] == 2
    assert found["dts_scheduler_reports_total", "exit_code", "failed"] == 1
    assert found["dts_scheduler_reports_total", "other", "other"] == 1
    assert found["dts_scheduler_swept_runs_total", "lost"] == 2
    assert found["dts_ticks_total", "ok", "succeeded"] == 2
    assert found["dts_ticks_total", "missed", "skipped"] == 40
    assert (found["dts_scheduler_live_runs",], found["dts_scheduler_oldest_wait_seconds",]) == (9, 3)


async def test_the_database_is_asked_seldom_and_what_it_does_not_say_is_not_told():
    now = [0.0]
    ledger, metrics = Ledger(), Metrics()
    counted(ledger, metrics, lambda: now[0])
    for _ in range(3):
        assert ("dts_scheduler_live_runs",) in await told(metrics)
    assert ledger.described == 1
    now[0] = 60.0
    assert ("dts_scheduler_live_runs",) not in await told(metrics)


async def test_a_figure_that_takes_too_long_does_not_keep_the_others_back(monkeypatch):
    monkeypatch.setattr("dts.runtime.exposition.ASK_SECONDS", 0.05)
    metrics = Metrics()
    metrics.before.append(asyncio.Event().wait)
    metrics.gauge("dts_room", "Room.", lambda: 7)
    assert (await told(metrics))["dts_room",] == 7


@asynccontextmanager
async def http(metrics):
    async def status():
        return []

    server = HttpServer(status=status, figures=Exposition(metrics).text)
    port = await server.start(LOOPBACK, 0)
    try:
        async with aiohttp.ClientSession(f"http://{LOOPBACK}:{port}") as session:
            yield session
    finally:
        await server.stop()


async def test_figures_are_a_page_and_one_answer_is_good_for_a_second():
    asked = 0

    def read():
        nonlocal asked
        asked += 1
        return 1.0

    metrics = Metrics()
    metrics.gauge("dts_room", "Room.", read)
    async with http(metrics) as session:
        for _ in range(5):
            async with session.get("/metrics") as response:
                assert response.status == 200
                assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
                assert "dts_room 1.0" in await response.text()
    assert asked == 1
    assert TOKEN not in str(metrics)
