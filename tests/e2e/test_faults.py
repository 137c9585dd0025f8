"""Faults of single parts: what runs is what the ledger says, and the ledger has every instant once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from dts.domain.errors import FailedPrecondition
from dts.domain.runs import FINAL
from dts.pb.dts.v1 import (
    CancelRunRequest,
    CreateTaskRequest,
    DeleteTaskRequest,
    GetRunRequest,
    Interval,
    Kind,
    ListNodesRequest,
    NodeLoss,
    NodeState,
    Overlap,
    PauseTaskRequest,
    Policies,
    ProcessKind,
    Reason,
    Rule,
    Run,
    RunState,
    Schedule,
    TailLogsRequest,
    TaskSpec,
    TriggerTaskRequest,
    UpdateTaskRequest,
)
from support.cables import cable
from support.faults import Work, another, frozen
from support.polling import eventually
from support.postgres import open_directory
from support.system import Calls, System, five


@pytest.fixture
async def data() -> AsyncIterator[Path]:
    with open_directory() as directory:
        yield directory


@pytest.fixture
async def system(data: Path, database_dsn: str) -> AsyncIterator[System]:
    async with five(data, environment={"DTS_DSN": database_dsn}) as running:
        yield running


@pytest.fixture
async def database(database_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def calls(system: System) -> AsyncIterator[Calls]:
    async with system.calls() as services:
        yield services


async def triggered(calls: Calls, work: Work, policies: Policies | None = None) -> str:
    """The id of a run of the work."""
    spec = TaskSpec(name="work", kind=Kind(process=ProcessKind(command=work.command)), policies=policies)
    await calls.tasks.create_task(CreateTaskRequest(spec=spec))
    answer = await calls.scheduler.trigger_task(TriggerTaskRequest(task="work"))
    assert answer.run is not None
    return answer.run.id


async def shown(calls: Calls, run_id: str) -> Run:
    answer = await calls.scheduler.get_run(GetRunRequest(run=run_id))
    assert answer.run is not None
    return answer.run


async def nodes_are_ready(calls: Calls, count: int) -> bool:
    nodes = (await calls.scheduler.list_nodes(ListNodesRequest())).nodes
    return sum(node.state is NodeState.READY for node in nodes) == count


async def has_state(calls: Calls, run_id: str, state: RunState) -> bool:
    run = await shown(calls, run_id)
    assert run.state is state, run
    return True


async def is_assigned(calls: Calls, run_id: str) -> bool:
    return (await shown(calls, run_id)).state is RunState.ASSIGNED


async def test_work_that_was_claimed_for_a_node_and_never_handed_over_reaches_it(
    system: System, calls: Calls, data: Path
):
    """The answer to a claim is lost after its commit: nobody would ever speak of the run again."""
    work = Work.within(data)
    await system.programs["executor"].stop()
    async with (
        cable(system.programs["database"].grpc) as wire,
        another("scheduler", system, database=wire.at) as scheduler,
        another("executor", system, scheduler=scheduler.grpc),
    ):
        await eventually(lambda: nodes_are_ready(calls, 1), within=20)
        wire.hold()
        run_id = await triggered(calls, work)
        wire.answer_until(lambda: is_assigned(calls, run_id))
        await eventually(lambda: is_assigned(calls, run_id), within=20)
        wire.cut()
        wire.mend()
        work.go(1)
        await eventually(lambda: has_state(calls, run_id, RunState.SUCCEEDED), within=20)
    assert [line[:2] for line in work.said()] == [["begin", "1"], ["end", "1"]]


async def test_a_scheduler_that_thaws_late_starts_nothing_again_and_keeps_nothing_for_itself(
    system: System, calls: Calls, data: Path, database: asyncpg.Connection
):
    """Its node has gone to the other one, while it still believes to have it and what it had claimed for it."""
    folder = Work.within(data).folder
    first = system.programs["scheduler"]
    await system.programs["executor"].stop()
    async with another("scheduler", system) as second:
        addresses = f"{first.grpc},{second.grpc}"
        async with another("executor", system, scheduler=addresses):
            await eventually(lambda: nodes_are_ready(calls, 1), within=20)
            await calls.tasks.create_task(CreateTaskRequest(spec=witness(folder)))
            await eventually(lambda: assigned_ahead(database), within=20)
            holder = first if "attached (incarnation" in first.log.read_text() else second
            with frozen(holder):
                await eventually(lambda: leases_are_over(database), within=30)
                moment = await database.fetchval("SELECT now()")
                # The gateway may call the frozen one: the database says it.
                await eventually(lambda: has_succeeded_after(database, moment), within=30)
            thawed = await database.fetchval("SELECT now()")
            await eventually(lambda: has_succeeded_after(database, thawed + timedelta(seconds=3)), within=20)
            rows = await database.fetch("SELECT * FROM run WHERE scheduled_at < $1", thawed)
            assert [dict(row) for row in rows] == []
    ran = [line[:19] for line in (folder / "ran").read_text().splitlines()]
    assert len(set(ran)) == len(ran)
    rows = await database.fetch("SELECT scheduled_at FROM run_history WHERE state = 'succeeded'")
    assert {f"{row['scheduled_at']:%Y-%m-%dT%H:%M:%S}" for row in rows} <= set(ran)
    assert await database.fetchval("SELECT count(*) FROM run_history WHERE state = 'failed'") == 0


def witness(folder: Path) -> TaskSpec:
    """Writes down each instant that it really ran for."""
    schedule = Schedule(rules=[Rule(every=Interval(period=timedelta(seconds=1)))])
    command = ["sh", "-c", f'echo "$DTS_SCHEDULED_AT" >> {folder}/ran']
    policies = Policies(overlap=Overlap.ALLOW)
    return TaskSpec(
        name="witness", schedule=schedule, kind=Kind(process=ProcessKind(command=command)), policies=policies
    )


async def has_succeeded_after(database: asyncpg.Connection, moment: datetime) -> bool:
    statement = "SELECT count(*) FROM run_history WHERE state = 'succeeded' AND scheduled_at > $1"
    return await database.fetchval(statement, moment) > 0


@pytest.mark.parametrize("meanwhile", ["it goes on", "it ends"])
async def test_an_executor_that_thaws_late_neither_keeps_nor_reports_what_was_given_to_another(
    system: System, calls: Calls, data: Path, meanwhile: str
):
    work = Work.within(data)
    run_id = await triggered(calls, work, Policies(on_node_loss=NodeLoss.RERUN))
    await eventually(lambda: work.begun(1), within=20)
    async with another("executor", system) as other:
        with frozen(system.programs["executor"]):
            await eventually(lambda: work.begun(2), within=30)
            assert work.alive(1)
            if meanwhile == "it ends":
                work.go(1)
                await eventually(lambda: not work.alive(1))
        await eventually(lambda: not work.alive(1), within=20)
        assert work.ended(1) == (meanwhile == "it ends")
        run = await shown(calls, run_id)
        assert run.state is RunState.RUNNING
        work.go(2)
        await eventually(lambda: has_state(calls, run_id, RunState.SUCCEEDED), within=20)
        assert other.process.returncode is None
    run = await shown(calls, run_id)
    assert [(attempt.number, attempt.reason) for attempt in run.attempts] == [(1, Reason.NODE_LOST), (2, Reason.OK)]
    answers = [answer async for answer in calls.scheduler.tail_logs(TailLogsRequest(run=run_id))]
    assert [number for answer in answers for number in answer.incomplete] == [1]


@pytest.mark.parametrize("policy", [NodeLoss.RERUN, NodeLoss.FAIL])
async def test_a_scheduler_that_was_away_for_longer_than_a_lease_gives_up_no_run_of_a_node_that_lives(
    system: System, calls: Calls, data: Path, database: asyncpg.Connection, policy: NodeLoss
):
    """Nobody could renew the lease: that it is over says nothing about the node."""
    work = Work.within(data)
    run_id = await triggered(calls, work, Policies(on_node_loss=policy))
    await eventually(lambda: work.begun(1), within=20)
    with frozen(system.programs["scheduler"]):
        await eventually(lambda: leases_are_over(database, timedelta(seconds=6)), within=30)
    # Whoever decides first: a sweep that finds the lease over, or the node that says hello.
    await eventually(lambda: nodes_are_ready(calls, 1), within=20)
    work.go(1)
    await eventually(lambda: has_state(calls, run_id, RunState.SUCCEEDED), within=20)
    assert [line[:2] for line in work.said()] == [["begin", "1"], ["end", "1"]]


async def test_status_is_told_by_those_who_answer(system: System):
    """Who asks how it is wants to know most of all when something is not."""
    await system.programs["scheduler"].stop()
    done = await system.dts("status")
    assert (done.code, done.err) == (1, "")
    [definition, scheduler] = done.out.splitlines()[1:]
    assert definition.split() == ["definition", "well", "answers"]
    assert scheduler.startswith("scheduler   NOT WELL")
    assert system.programs["scheduler"].grpc in scheduler

    await system.programs["definition"].stop()
    assert (await system.dts("status")).out.count("NOT WELL") == 2
    await system.programs["gateway"].stop()
    done = await system.dts("status")
    assert (done.code, done.out, "is it running" in done.err) == (4, "", True)


async def leases_are_over(database: asyncpg.Connection, since: timedelta = timedelta(0)) -> bool:
    over: bool = await database.fetchval("SELECT bool_and(lease_until < now() - $1::interval) FROM node", since)
    return over


@pytest.mark.parametrize("longer_than_a_lease", [False, True], ids=["for a moment", "for longer than a lease"])
async def test_work_outlives_a_network_that_is_cut_and_its_result_comes_when_it_is_mended(
    system: System, calls: Calls, data: Path, longer_than_a_lease: bool
):
    """It ends while nobody can be told."""
    work = Work.within(data)
    await system.programs["executor"].stop()
    async with (
        cable(system.programs["scheduler"].grpc) as wire,
        another("executor", system, scheduler=wire.at) as executor,
    ):
        await eventually(lambda: nodes_are_ready(calls, 1), within=20)
        run_id = await triggered(calls, work)
        await eventually(lambda: work.begun(1), within=20)
        wire.cut()
        if longer_than_a_lease:
            await eventually(lambda: has_state(calls, run_id, RunState.UNKNOWN), within=30)
        work.go(1)
        await eventually(lambda: work.ended(1), within=20)
        assert (await shown(calls, run_id)).state is not RunState.SUCCEEDED
        wire.mend()
        await eventually(lambda: has_state(calls, run_id, RunState.SUCCEEDED), within=20)
        assert executor.process.returncode is None
    assert [line[:2] for line in work.said()] == [["begin", "1"], ["end", "1"]]
    assert (await shown(calls, run_id)).attempt == 1


async def test_a_network_that_swallows_everything_is_noticed_and_what_was_on_its_way_starts_once(
    system: System, calls: Calls, data: Path
):
    """No connection ends; the work is given to a node that does not hear of it, and comes long after its lease."""
    work = Work.within(data)
    work.go(1)
    work.go(2)
    await system.programs["executor"].stop()
    async with cable(system.programs["scheduler"].grpc) as wire, another("executor", system, scheduler=wire.at):
        await eventually(lambda: nodes_are_ready(calls, 1), within=20)
        wire.hold()
        run_id = await triggered(calls, work)
        await eventually(lambda: has_state(calls, run_id, RunState.UNKNOWN), within=30)
        assert not work.begun(1)
        wire.mend()
        await eventually(lambda: has_state(calls, run_id, RunState.SUCCEEDED), within=30)
    assert [line[:2] for line in work.said()] == [["begin", "1"], ["end", "1"]]


AT = """
SELECT state::text, task_version FROM run WHERE scheduled_at = $1
UNION ALL SELECT state::text, task_version FROM run_history WHERE scheduled_at = $1
"""
CHANGES = {
    "pause": lambda calls: calls.tasks.pause_task(PauseTaskRequest(task="work")),
    "delete": lambda calls: calls.tasks.delete_task(DeleteTaskRequest(task="work")),
}


@pytest.mark.parametrize("change", sorted(CHANGES))
async def test_a_run_given_to_a_node_ahead_of_its_instant_does_not_start_after_a_change(
    calls: Calls, data: Path, database: asyncpg.Connection, change: str
):
    work = Work.within(data)
    work.go(1)
    for _ in range(5):
        await calls.tasks.create_task(CreateTaskRequest(spec=every_four_seconds(work)))
        ahead = await eventually(lambda: assigned_ahead(database), within=20)
        await CHANGES[change](calls)
        changed = await database.fetchval("SELECT clock_timestamp()")
        if changed < ahead:
            break
        await calls.tasks.delete_task(DeleteTaskRequest(task="work"))  # a busy machine: it was not ahead any more
    await eventually(lambda: clock_shows(database, ahead + timedelta(seconds=2)), within=20)
    rows = await database.fetch(AT, ahead)
    begun = sum(line[:1] == ["begin"] for line in work.said())
    succeeded = await database.fetchval("SELECT count(*) FROM run_history WHERE state = 'succeeded'")
    assert begun == succeeded
    assert [row["state"] for row in rows if row["state"] != "skipped"] == []


async def assigned_ahead(database: asyncpg.Connection) -> datetime | None:
    """The instant of a run that a node was given ahead of it."""
    statement = "SELECT scheduled_at FROM run WHERE state = 'assigned' AND scheduled_at > now() + interval '1 second'"
    at: datetime | None = await database.fetchval(statement)
    return at


async def clock_shows(database: asyncpg.Connection, moment: datetime) -> bool:
    shows: bool = await database.fetchval("SELECT clock_timestamp() >= $1", moment)
    return shows


async def test_a_run_given_to_a_node_ahead_of_its_instant_runs_once_as_an_edit_says(
    calls: Calls, data: Path, database: asyncpg.Connection
):
    old, new = data / "old", data / "new"
    old.mkdir()
    new.mkdir()
    before, after = Work.within(old), Work.within(new)
    for attempt in (1, 2):  # the one that is taken back counts
        before.go(attempt)
        after.go(attempt)
    await calls.tasks.create_task(CreateTaskRequest(spec=every_four_seconds(before)))
    for _ in range(5):
        ahead = await eventually(lambda: assigned_ahead(database), within=20)
        await calls.tasks.update_task(UpdateTaskRequest(task="work", spec=every_four_seconds(after)))
        if await database.fetchval("SELECT clock_timestamp()") < ahead:
            break
        await calls.tasks.update_task(UpdateTaskRequest(task="work", spec=every_four_seconds(before)))
    await eventually(lambda: are(database, ahead, ["succeeded"]), within=20)
    stamp = f"{ahead:%Y-%m-%dT%H:%M:%S}"
    assert not [line for line in before.said() if line[0] == "begin" and line[3].startswith(stamp)]
    assert len([line for line in after.said() if line[0] == "begin" and line[3].startswith(stamp)]) == 1


async def test_runs_that_end_while_they_are_cancelled_are_what_they_were(calls: Calls, data: Path):
    """Success is said of none that did not come to its end, and every run is over in the end."""
    work = Work.within(data)
    work.go(1)
    command = ["sh", "-c", f'sleep 0.$(($$ % 4)); echo "$DTS_RUN_ID" >> {work.folder}/ended']
    spec = TaskSpec(
        name="short", kind=Kind(process=ProcessKind(command=command)), policies=Policies(overlap=Overlap.ALLOW)
    )
    await calls.tasks.create_task(CreateTaskRequest(spec=spec))

    async def crossed(turn: int) -> Run:
        answer = await calls.scheduler.trigger_task(TriggerTaskRequest(task="short"))
        assert answer.run is not None
        # The earlier ones meet the cancel before they are given to a node, the later ones at their end.
        for _ in range(turn):
            await shown(calls, answer.run.id)
        with suppress(FailedPrecondition):
            await calls.scheduler.cancel_run(CancelRunRequest(run=answer.run.id))
        return await eventually(lambda: over(calls, answer.run.id), within=20)

    runs = [await crossed(turn) for turn in range(30)]
    ended = set((work.folder / "ended").read_text().split())
    states = {run.id: run.state for run in runs}
    assert set(states.values()) <= {RunState.CANCELLED, RunState.SUCCEEDED}
    assert {run_id for run_id, state in states.items() if state is RunState.SUCCEEDED} <= ended


async def over(calls: Calls, run_id: str) -> Run | None:
    run = await shown(calls, run_id)
    return run if run.state in FINAL else None


async def are(database: asyncpg.Connection, at: datetime, states: list[str]) -> bool:
    rows = [row["state"] for row in await database.fetch(AT, at)]
    assert rows == states
    return True


def every_four_seconds(work: Work) -> TaskSpec:
    schedule = Schedule(rules=[Rule(every=Interval(period=timedelta(seconds=4)))])
    return TaskSpec(name="work", schedule=schedule, kind=Kind(process=ProcessKind(command=work.command)))
