"""Database Service, over both transports."""

import asyncio
import zlib
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from contract import Cases, methods, reached, refusal, released

from dts.domain import errors
from dts.domain.columns import pack, pack_ids, pack_keys, unpack_ids, unpack_keys
from dts.domain.ids import to_micros, uuid7
from dts.pb.dts.v1 import (
    AccessToken,
    AllChannelsRequest,
    AllTokensRequest,
    AppendLogsRequest,
    Capacity,
    ChangeChannelRequest,
    ClaimRequest,
    DatabaseServiceBase,
    DatabaseServiceStub,
    DeliveryResult,
    DescribeDatabaseRequest,
    DropChannelRequest,
    EndTokenRequest,
    FindChannelRequest,
    FindDurationsRequest,
    FindLastSuccessesRequest,
    FindNodesRequest,
    FindOutcomesRequest,
    FindOverdueRequest,
    FindRecallsRequest,
    FindRunCountsRequest,
    FindRunRequest,
    FindTasksRequest,
    FindTaskVersionsRequest,
    FindTickRequest,
    FindTokenRequest,
    Hello,
    ListOutcomesRequest,
    ListRunCountsRequest,
    ListRunsRequest,
    ListTasksRequest,
    LogBatch,
    LogChunk,
    LogEntry,
    LogStream,
    MaintainRequest,
    MaterialiseRequest,
    Node,
    NodeLease,
    NodeOffer,
    NodeState,
    PageRunsRequest,
    PageTasksRequest,
    ReadClockRequest,
    ReadLogsRequest,
    Reason,
    RecordRequest,
    RegisterNodeRequest,
    RenewLeasesRequest,
    ReportDetail,
    Reports,
    RequestCancelRequest,
    RequestedRun,
    RequestRunsRequest,
    Resources,
    RunState,
    SaveTasksRequest,
    Scope,
    SetNodeDrainRequest,
    SettleDeliveriesRequest,
    StoreChannelRequest,
    StoreSwarmRequest,
    StoreTokenRequest,
    SwarmNode,
    SweepRequest,
    TakeBackRequest,
    TakeDeliveriesRequest,
    TaskAction,
    TaskChange,
    TaskEvent,
    TaskSpec,
    TendOutboxRequest,
    TokenState,
    Trigger,
    WatchRequest,
    WorkSpec,
)
from dts.roles.database.service import DatabaseService
from support.ledger import LEASE, NOOP, PROCESS, Ledger, every
from support.outbox import SEAL, channel
from support.polling import eventually

HOUR = timedelta(hours=1)
HORIZON = timedelta(minutes=5)
LEAD = timedelta(seconds=2)
NOBODY = str(UUID(int=7))

case = Cases()


@pytest.fixture
def world(database):
    """Makes the state that a case needs, past the transport."""
    return Ledger.on(database)


@pytest.fixture
async def db(transport, world):
    service = DatabaseService(world.store)
    async with reached(transport, DatabaseServiceBase, DatabaseServiceStub, service) as contract:
        yield contract


@pytest.mark.parametrize("method", methods(DatabaseServiceBase))
async def test_every_call_of_the_database_keeps_its_contract(method, db, world):
    await case[method](db, world)
    assert db.was_called(method)


def test_no_case_is_left_over():
    assert set(case) == set(methods(DatabaseServiceBase))


def new_id():
    return str(uuid7(datetime.now(UTC), uuid4().int >> 48))


def changing(action, task_id, **fields):
    return SaveTasksRequest(changes=[TaskChange(action=action, task_id=task_id, **fields)], actor="tester")


def asking(task_id, *run_ids, **fields):
    runs = [RequestedRun(id=str(run_id), **fields) for run_id in run_ids]
    return RequestRunsRequest(task_id=task_id, trigger=Trigger.MANUAL, runs=runs)


async def held(world, *, kind=PROCESS, name="t", **policies):
    """The one attempt that the node alpha holds."""
    task_id = await world.task(name, kind=kind, **policies)
    await world.node()
    run_id = await world.trigger(task_id)
    assert await world.claim() == [(run_id, 1)]
    return run_id


async def ended(world):
    run_id = await held(world)
    await world.report([(run_id, 1)])
    return await world.run(run_id)


# -- definitions


@case
async def save_tasks(db, world):  # noqa: ARG001 - every case is given the same
    task_id = new_id()
    spec = TaskSpec(name="backup", kind=PROCESS, schedule=every(60, timezone="Europe/Berlin"), labels={"team": "ops"})
    (made,) = (await db.save_tasks(changing(TaskAction.CREATE, task_id, spec=spec))).tasks
    assert (made.id, made.version, made.enabled, made.spec.labels) == (task_id, 1, True, {"team": "ops"})
    changed = TaskSpec(name="backup-2", kind=NOOP)
    (updated,) = (await db.save_tasks(changing(TaskAction.UPDATE, task_id, spec=changed, expected_version=1))).tasks
    assert (updated.version, updated.spec.name) == (2, "backup-2")
    (paused,) = (await db.save_tasks(changing(TaskAction.PAUSE, task_id, note="moving"))).tasks
    assert (paused.enabled, paused.pause_note, paused.paused_by) == (False, "moving", "tester")
    (resumed,) = (await db.save_tasks(changing(TaskAction.RESUME, task_id))).tasks
    assert resumed.enabled
    (gone,) = (await db.save_tasks(changing(TaskAction.DELETE, task_id))).tasks
    assert gone.id == task_id


@case
async def find_tasks(db, world):
    first, second = await world.task("one", every(60)), await world.task("two")
    await world.trigger(second)
    request = FindTasksRequest(tasks=["two", first, "three"], with_last_run=True)
    found = (await db.find_tasks(request)).tasks
    assert [task.id for task in found] == [second, first]
    assert found[0].last_run.state is RunState.PENDING
    assert found[1].next_due_at is not None


@case
async def page_tasks(db, world):
    for name in ("a1", "a2", "b1"):
        await world.task(name)
    query = ListTasksRequest(page_size=1, name_prefix="a")
    page = await db.page_tasks(PageTasksRequest(query=query))
    assert [task.spec.name for task in page.tasks] == ["a1"]
    query.page_token = page.next_page_token
    page = await db.page_tasks(PageTasksRequest(query=query))
    assert ([task.spec.name for task in page.tasks], page.next_page_token) == (["a2"], "")
    assert (await db.page_tasks(PageTasksRequest(query=ListTasksRequest(labels={"team": "ops"})))).tasks == []


@case
async def find_task_versions(db, world):
    task_id = await world.task("t")
    await world.change(TaskChange(action=TaskAction.PAUSE, task_id=task_id, note="why not"))
    newest, oldest = (await db.find_task_versions(FindTaskVersionsRequest(task_id=task_id))).versions
    assert (newest.change, newest.note, newest.actor) == ("pause", "why not", "tester")
    assert (oldest.version, oldest.spec.name) == (1, "t")


# -- hot calls


@case
async def materialise(db, world):
    task_id = await world.task("t", every(1))
    await world.rewind(task_id, await world.now() - timedelta(seconds=5))
    answer = await db.materialise(MaterialiseRequest(horizon=HORIZON, limit=10))
    assert answer.tasks == 1
    assert answer.runs > 5
    assert len(await world.written(task_id)) == answer.runs


@case
async def claim(db, world):
    resources = Resources(cpus=1.5, memory=1 << 30)
    heavy, light = await world.task("heavy", resources=resources), await world.task("light", kind=NOOP)
    incarnation = await world.node()
    run = await world.trigger(heavy)
    await db.request_runs(asking(light, uuid4(), parameters={"SIZE": "3"}))
    free = Capacity(slots=10, resources=Resources(cpus=64, memory=1 << 36))
    offer = NodeOffer(node_id="alpha", incarnation=incarnation, free=free, free_window=100)
    answer = await db.claim(ClaimRequest(offers=[offer], lead=LEAD, limit=10))
    (work,) = answer.assignments
    assert (answer.seen, work.node_id) == (2, "alpha")
    assert {WorkSpec.parse(spec).task for spec in work.assignments.specs} == {"heavy", "light"}
    assert [each.parameters for each in work.assignments.parameters] == [{"SIZE": "3"}]
    assert unpack_keys(work.weights.attempts) == [(run, 1)]
    assert (work.weights.cpus_milli, work.weights.memory) == (pack("i", [1500]), pack("q", [1 << 30]))
    later = await db.claim(ClaimRequest(offers=[offer], lead=LEAD, limit=10))
    assert (later.assignments, later.seen) == ([], 0)


def report(world, run_id, state, reason, **detail):
    """One report of the first attempt of a run."""
    over = state is not RunState.RUNNING
    reports = Reports(
        run_ids=pack_ids([run_id]),
        attempts=pack("i", [1]),
        states=pack("B", [state]),
        reasons=pack("B", [reason]),
        exit_codes=pack("i", [3 if over else -1]),
        started_ago=pack("q", [2_000_000]),
        finished_ago=pack("q", [1_000_000 if over else -1]),
        cpu_time=pack("q", [250_000]),
        peak_memory=pack("q", [4096]),
        details=[ReportDetail(index=0, **detail)] if detail else [],
    )
    return RecordRequest(node_id="alpha", incarnation=world.nodes["alpha"], reports=reports)


@case
async def record(db, world):
    run_id = await held(world)
    running = await db.record(report(world, run_id, RunState.RUNNING, Reason.UNSPECIFIED))
    assert (unpack_keys(running.settled), unpack_keys(running.fenced)) == ([], [])
    final = report(world, run_id, RunState.FAILED, Reason.EXIT_CODE, message="exit code 3", log_bytes=12)
    for _ in range(2):  # the answer to the first may have been lost
        answer = await db.record(final)
        assert unpack_keys(answer.settled) == [(run_id, 1)]
    (attempt,) = (await db.find_run(FindRunRequest(run=str(run_id)))).run.attempts
    assert (attempt.exit_code, attempt.cpu_time, attempt.log_bytes) == (3, timedelta(seconds=0.25), 12)


@case
async def sweep(db, world):
    assert await db.sweep(SweepRequest()) is not None
    run_id = await held(world)
    await db.record(report(world, run_id, RunState.RUNNING, Reason.UNSPECIFIED))
    answer = await db.sweep(SweepRequest(now=await world.now() + 2 * LEASE))
    assert answer.unknown == 1


@case
async def maintain(db, world):
    now = await world.now() + timedelta(days=90)
    answer = await db.maintain(MaintainRequest(keep=timedelta(days=30), now=now))
    assert any(name.startswith("log_chunk_") for name in answer.created)
    again = await db.maintain(MaintainRequest(keep=timedelta(days=30), now=now + timedelta(days=60)))
    assert set(again.dropped) >= set(answer.created)


# -- runs


@case
async def request_runs(db, world):
    task_id = await world.task("t")
    run_id, at = uuid4(), datetime(2026, 3, 29, 0, 30, 0, 1, tzinfo=UTC)
    for _ in range(2):  # the same request twice makes one run
        request = asking(task_id, run_id, scheduled_at=at, parameters={"A": "ä\n"})
        (run,) = (await db.request_runs(request)).runs
        assert (run.id, run.scheduled_at, run.parameters) == (str(run_id), at, {"A": "ä\n"})
        assert (run.trigger, run.state, run.exit_code) == (Trigger.MANUAL, RunState.PENDING, None)


@case
async def request_cancel(db, world):
    running = await held(world, name="a")
    pending = await world.trigger(await world.task("b"))
    request = RequestCancelRequest(run_ids=[str(pending), str(running)], actor="ann")
    first, second = (await db.request_cancel(request)).runs
    assert (first.state, first.message) == (RunState.CANCELLED, "cancelled by ann")
    assert (second.state, second.cancel_requested) == (RunState.ASSIGNED, True)


@case
async def find_recalls(db, world):
    run_id = await held(world)
    assert (await db.find_recalls(FindRecallsRequest(node_ids=["alpha", "beta"]))).recalls == []
    await db.request_cancel(RequestCancelRequest(run_ids=[str(run_id)]))
    (found,) = (await db.find_recalls(FindRecallsRequest(node_ids=["alpha", "beta"]))).recalls
    assert (found.node_id, found.recall.reason) == ("alpha", Reason.CANCELLED)
    assert unpack_keys(found.recall.attempts) == [(run_id, 1)]


@case
async def find_overdue(db, world):
    run_id = await held(world)
    request = FindOverdueRequest(node_ids=["alpha", "beta"], grace=timedelta(minutes=2))
    assert (await db.find_overdue(request)).node_ids == []
    await world.pool.execute(
        "UPDATE run SET not_before = now() - interval '3 min', assigned_at = now() - interval '3 min'"
    )
    assert (await db.find_overdue(request)).node_ids == ["alpha"]
    assert (await db.find_overdue(replace(request, node_ids=["beta"]))).node_ids == []
    await world.report([(run_id, 1)], RunState.RUNNING)
    assert (await db.find_overdue(request)).node_ids == []


@case
async def take_back(db, world):
    run_id = await held(world)
    request = TakeBackRequest(
        node_id="alpha", incarnation=world.nodes["alpha"], attempts=pack_keys([(run_id, 1), (uuid4(), 1)])
    )
    answer = await db.take_back(request)
    assert (answer.returned, answer.ended) == (1, 0)
    assert (await world.run(run_id)).state is RunState.PENDING


@case
async def find_run(db, world):
    run_id = await held(world)
    for text in (str(run_id), str(run_id)[:13], run_id.hex):
        run = (await db.find_run(FindRunRequest(run=text))).run
        assert (run.id, run.state, run.attempt, run.node) == (str(run_id), RunState.ASSIGNED, 1, "alpha")


@case
async def find_tick(db, world):
    task_id = await world.task("t", every(3600))
    assert (await db.find_tick(FindTickRequest(task_id=task_id))).run is None
    due = (await world.now()).replace(minute=0, second=0, microsecond=0)
    await world.rewind(task_id, due - HOUR)
    await world.materialise()
    latest = (await db.find_tick(FindTickRequest(task_id=task_id))).run
    assert (await db.find_tick(FindTickRequest(task_id=task_id, at=latest.scheduled_at))).run == latest
    assert (await db.find_tick(FindTickRequest(task_id=task_id, at=due - 900 * HOUR))).run is None


@case
async def find_durations(db, world):
    task_id = await world.task("t")
    run_id = await world.trigger(task_id)
    assert (await db.find_durations(FindDurationsRequest(task_ids=[task_id]))).tasks == []
    await world.node()
    await world.claim()
    await world.report([(run_id, 1)], RunState.FAILED)
    [found] = (await db.find_durations(FindDurationsRequest(task_ids=[task_id, NOBODY]))).tasks
    assert (found.task_id, found.runs, found.median) == (task_id, 1, found.p95)


@case
async def page_runs(db, world):
    task_id = await world.task("t")
    ids = [str(await world.trigger(task_id)) for _ in range(3)]
    query = ListRunsRequest(task=task_id, page_size=2)
    page = await db.page_runs(PageRunsRequest(query=query))
    query.page_token = page.next_page_token
    rest = await db.page_runs(PageRunsRequest(query=query))
    assert [run.id for run in page.runs + rest.runs] == ids[::-1]
    assert rest.next_page_token == ""
    none = ListRunsRequest(states=[RunState.FAILED, RunState.TIMED_OUT], since=datetime(2020, 1, 1, tzinfo=UTC))
    assert (await db.page_runs(PageRunsRequest(query=none))).runs == []
    assert len((await db.page_runs(PageRunsRequest())).runs) == 3


@case
async def find_outcomes(db, world):
    run = await ended(world)
    query = ListOutcomesRequest(task_ids=[run.task_id, NOBODY])
    (found,) = (await db.find_outcomes(FindOutcomesRequest(query=query))).tasks
    assert (found.task_id, found.states) == (run.task_id, [RunState.SUCCEEDED])
    assert min(found.took + found.late) >= 0


@case
async def find_run_counts(db, world):
    run = await ended(world)
    hour = timedelta(hours=1)
    query = ListRunCountsRequest(since=run.scheduled_at - hour, until=run.scheduled_at + hour, step=hour)
    for query.task in ("", run.task_id):
        counts = (await db.find_run_counts(FindRunCountsRequest(query=query))).counts
        assert (counts.steps, counts.succeeded, counts.failed) == ([1], [1], [0])


# -- logs


def entry(run, content=b"hello\n", *, compressed=False, **fields):
    chunk = {"attempt": 1, "stream": LogStream.STDOUT, "content": content, "at": datetime.now(UTC), **fields}
    return LogEntry(
        run_id=UUID(run.id).bytes,
        scheduled_at=to_micros(run.scheduled_at),
        chunk=LogChunk(**chunk),
        compressed=compressed,
        length=len(zlib.decompress(content)) if compressed else len(content),
    )


def appending(*entries, incarnation=NOBODY):
    return AppendLogsRequest(node_id="alpha", incarnation=incarnation, batch=LogBatch(entries=list(entries)))


@case
async def append_logs(db, world):
    run = await world.run(await held(world))
    pieces = [entry(run), entry(run, b"\x00\xff" * 10, stream=LogStream.STDERR, cut_before=5)]
    request = appending(*pieces, incarnation=world.nodes["alpha"])
    assert (await db.append_logs(request)).stored == 2
    assert (await db.append_logs(request)).stored == 0


@case
async def read_logs(db, world):
    run = await world.run(await held(world))
    long = b"line\n" * 1000
    pieces = [entry(run), entry(run, zlib.compress(long), compressed=True, offset=6)]
    await db.append_logs(appending(*pieces, incarnation=world.nodes["alpha"]))
    first = await db.read_logs(ReadLogsRequest(run_id=run.id, max_bytes=10))
    assert ([chunk.content for chunk in first.chunks], first.more) == ([b"hello\n"], True)
    rest = await db.read_logs(ReadLogsRequest(run_id=run.id, after=first.next, attempt=1))
    assert ([chunk.content for chunk in rest.chunks], rest.more) == ([long], False)
    assert (await db.read_logs(ReadLogsRequest(run_id=run.id, after=rest.next))).next == rest.next


# -- access tokens


def token_to_store(name="anna", secret=b"1", **fields):
    token = AccessToken(id=new_id(), name=name, scope=Scope.OPERATOR, prefix="dts_1", created_by="tester")
    return StoreTokenRequest(token=token, sha256=secret * 32, ttl=HOUR, **fields)


@case
async def store_token(db, world):  # noqa: ARG001 - every case is given the same
    request = token_to_store()
    for _ in range(2):  # the answer to the first may have been lost
        stored = (await db.store_token(request)).token
        assert (stored.id, stored.name, stored.state) == (request.token.id, "anna", TokenState.ACTIVE)
    assert isinstance(await refusal(db, "store_token", token_to_store(secret=b"2")), errors.AlreadyExists)
    admin = token_to_store("root", b"3", first_admin=True)
    admin.token.scope = Scope.ADMIN
    assert (await db.store_token(admin)).token.name == "root"
    assert (await db.store_token(token_to_store("late", b"4", first_admin=True))).token is None


@case
async def all_tokens(db, world):  # noqa: ARG001
    assert (await db.all_tokens(AllTokensRequest())).tokens == []
    await db.store_token(token_to_store())
    (token,) = (await db.all_tokens(AllTokensRequest())).tokens
    assert (token.name, token.scope, token.last_used_at) == ("anna", Scope.OPERATOR, None)


@case
async def end_token(db, world):  # noqa: ARG001
    await db.store_token(token_to_store())
    assert (await db.end_token(EndTokenRequest(token="anna"))).token.state is TokenState.REVOKED
    assert isinstance(await refusal(db, "end_token", EndTokenRequest(token="bert")), errors.NotFound)


@case
async def store_channel(db, world):  # noqa: ARG001
    made = channel()
    for _ in range(2):  # the answer to the first may have been lost
        stored = (await db.store_channel(StoreChannelRequest(channel=made))).channel
        assert (stored.id, stored.name, stored.waiting) == (made.channel.id, "ops", 0)
    again = StoreChannelRequest(channel=channel())
    assert isinstance(await refusal(db, "store_channel", again), errors.AlreadyExists)


@case
async def all_channels(db, world):  # noqa: ARG001
    for name in ("b", "a"):
        await db.store_channel(StoreChannelRequest(channel=channel(name)))
    channels = (await db.all_channels(AllChannelsRequest())).channels
    assert [one.name for one in channels] == ["a", "b"]


@case
async def find_channel(db, world):  # noqa: ARG001
    made = channel()
    await db.store_channel(StoreChannelRequest(channel=made))
    for key in ("ops", made.channel.id):
        found = (await db.find_channel(FindChannelRequest(channel=key))).channel
        assert found.sealed == made.sealed
    assert isinstance(await refusal(db, "find_channel", FindChannelRequest(channel="none")), errors.NotFound)


@case
async def change_channel(db, world):
    run_id = await failed(world)
    (told,) = (await db.take_deliveries(TakeDeliveriesRequest(limit=10, lease=LEASE))).deliveries
    other = channel(id=told.channel.channel.id, target="http://127.0.0.1:9/other", tasks=["another"])
    changed = (await db.change_channel(ChangeChannelRequest(channel=other))).channel
    assert (changed.name, changed.tasks) == ("ops", ["another"])
    found = (await db.find_channel(FindChannelRequest(channel="ops"))).channel
    assert (found.sealed, found.channel) == (other.sealed, changed)
    assert await world.pool.fetchval("SELECT count(*) FROM alert") == 0, run_id
    gone = ChangeChannelRequest(channel=channel())
    assert isinstance(await refusal(db, "change_channel", gone), errors.NotFound)


@case
async def drop_channel(db, world):  # noqa: ARG001
    await db.store_channel(StoreChannelRequest(channel=channel()))
    assert (await db.drop_channel(DropChannelRequest(channel="ops"))).channel.name == "ops"
    assert isinstance(await refusal(db, "drop_channel", DropChannelRequest(channel="ops")), errors.NotFound)


async def failed(world):
    """A run that failed, and a channel that is told of it."""
    await world.store.channels.add(channel())
    run_id = await held(world)
    await world.report([(run_id, 1)], RunState.FAILED, Reason.EXIT_CODE, exit_code=3)
    return run_id


@case
async def take_deliveries(db, world):
    run_id = await failed(world)
    request = TakeDeliveriesRequest(limit=10, lease=LEASE)
    answer = await db.take_deliveries(request)
    (delivery,) = answer.deliveries
    assert (delivery.run_id, delivery.event, delivery.attempt) == (str(run_id), TaskEvent.FAILED, 1)
    assert SEAL.opened(delivery.channel.channel.id, delivery.channel.sealed).target == "http://127.0.0.1:9/hook"
    assert answer.notices == 1
    assert (await db.take_deliveries(request)).deliveries == []


@case
async def tend_outbox(db, world):
    await failed(world)
    await db.take_deliveries(TakeDeliveriesRequest(limit=10, lease=LEASE))
    assert (await db.tend_outbox(TendOutboxRequest())).crowded == []


@case
async def settle_deliveries(db, world):
    await failed(world)
    (delivery,) = (await db.take_deliveries(TakeDeliveriesRequest(limit=10, lease=LEASE))).deliveries
    result = DeliveryResult(id=delivery.id, attempt=1, failure="503", retry_in=timedelta(days=2))
    answer = await db.settle_deliveries(SettleDeliveriesRequest(results=[result]))
    assert answer.given_up == [delivery.id]
    (listed,) = (await db.all_channels(AllChannelsRequest())).channels
    assert (listed.failure, listed.given_up) == ("503", 1)
    result.id = "none"
    refused = await refusal(db, "settle_deliveries", SettleDeliveriesRequest(results=[result]))
    assert isinstance(refused, errors.InvalidArgument)


@case
async def find_token(db, world):  # noqa: ARG001
    await db.store_token(token_to_store())
    assert (await db.find_token(FindTokenRequest(sha256=b"1" * 32))).token.name == "anna"
    assert (await db.find_token(FindTokenRequest(sha256=b"2" * 32))).token is None


# -- nodes


def hello(incarnation, keys=(), **fields):
    node = Node(id="alpha", hostname="alpha.example", incarnation=incarnation, kinds=["noop", "process"], **fields)
    request = Hello(node=node, held=pack_keys(keys), held_started_ago=pack("q", [-1] * len(keys)))
    return RegisterNodeRequest(hello=request, lease=LEASE)


@case
async def register_node(db, world):
    run_id, stranger = await held(world), uuid4()
    answer = await db.register_node(hello(str(uuid4()), [(stranger, 4)], labels={"disk": "ssd"}))
    assert (answer.node.hostname, answer.node.labels) == ("alpha.example", {"disk": "ssd"})
    assert unpack_ids(answer.resend.run_ids) == [run_id]
    (recall,) = answer.recalls
    assert (unpack_keys(recall.attempts), recall.fenced) == ([(stranger, 4)], True)
    assert unpack_keys(answer.weights.attempts) == [(run_id, 1)]


@case
async def renew_leases(db, world):
    old = await world.node("alpha")
    await world.node("alpha")
    beta = await world.node("beta")
    await db.set_node_drain(SetNodeDrainRequest(node="beta", drain=True))
    leases = [NodeLease(node_id="alpha", incarnation=old), NodeLease(node_id="beta", incarnation=beta)]
    answer = await db.renew_leases(RenewLeasesRequest(leases=leases, lease=LEASE))
    assert (answer.renewed, answer.draining) == (["beta"], ["beta"])


@case
async def store_swarm(db, world):
    incarnation = await world.node("beta")
    nodes = [
        SwarmNode(id="beta", hostname="b", role="worker", availability="drain", labels={"disk": "ssd"}),
        SwarmNode(id="gamma", hostname="g", role="manager", availability="active"),
    ]
    await db.store_swarm(StoreSwarmRequest(nodes=nodes))
    beta, gamma = (await db.find_nodes(FindNodesRequest())).nodes
    assert (beta.state, beta.drain_note, beta.labels) == (NodeState.DRAINING, "drained in the Swarm", {"disk": "ssd"})
    assert (gamma.hostname, gamma.state) == ("g", NodeState.NO_EXECUTOR)
    leases = [NodeLease(node_id="beta", incarnation=incarnation)]
    assert (await db.renew_leases(RenewLeasesRequest(leases=leases, lease=LEASE))).draining == ["beta"]
    await db.store_swarm(StoreSwarmRequest(nodes=[replace(nodes[0], availability="active")]))
    [beta] = (await db.find_nodes(FindNodesRequest())).nodes
    assert beta.state is NodeState.READY
    await db.store_swarm(StoreSwarmRequest(nodes=nodes, node_id="beta"))  # a worker, which cannot know
    [beta] = (await db.find_nodes(FindNodesRequest())).nodes
    assert (beta.state, beta.role) == (NodeState.READY, "worker")
    with pytest.raises(errors.InvalidArgument):
        await db.store_swarm(StoreSwarmRequest())


@case
async def find_nodes(db, world):
    assert (await db.find_nodes(FindNodesRequest())).nodes == []
    await world.node("beta")
    await world.node("alpha", engine_labels={"zone": "b"}, missing_kinds={"container": "no engine"})
    first, second = (await db.find_nodes(FindNodesRequest())).nodes
    assert (first.hostname, first.state, first.missing_kinds) == ("alpha", NodeState.READY, {"container": "no engine"})
    assert (second.hostname, second.capacity.resources.memory) == ("beta", 1 << 36)


@case
async def set_node_drain(db, world):
    await world.node()
    drained = (await db.set_node_drain(SetNodeDrainRequest(node="alpha", drain=True, note="new disk"))).node
    assert (drained.state, drained.drain_note) == (NodeState.DRAINING, "new disk")
    back = (await db.set_node_drain(SetNodeDrainRequest(node="alpha"))).node
    assert (back.state, back.drain_note) == (NodeState.READY, "")


# -- the rest


@case
async def watch(db, world):
    task_id = await world.task("t")
    async with aclosing(db.watch(WatchRequest())) as hints:
        first = asyncio.create_task(anext(hints))
        await eventually(lambda: world.store.wakeups._watchers)
        await db.request_runs(asking(task_id, uuid4()))
        assert (await asyncio.wait_for(first, 5)).topic == "runs"
        world.store.wakeups.wake("logs", "x")
        hint = await asyncio.wait_for(anext(hints), 5)
        assert (hint.topic, hint.key) == ("logs", "x")
    await released(db, "watch")
    assert not world.store.wakeups._watchers


@case
async def find_last_successes(db, world):
    await world.node()
    for name, state in (("b", RunState.SUCCEEDED), ("a", RunState.FAILED), ("never", None)):
        task_id = await world.task(name, every(3600))
        if state is not None:
            await world.trigger(task_id)
            await world.report(await world.claim(), state, Reason.OK)
    found = (await db.find_last_successes(FindLastSuccessesRequest(limit=10))).successes
    assert [(one.task, one.at is None) for one in found] == [("a", True), ("b", False)]
    assert abs(found[1].at - await world.now()) < HOUR
    await world.pool.execute("""UPDATE task SET labels = '{"metrics": ""}' WHERE name = 'b'""")
    (first,) = (await db.find_last_successes(FindLastSuccessesRequest(limit=1))).successes
    assert first.task == "b"


@case
async def read_clock(db, world):
    before = await world.now()
    read = await db.read_clock(ReadClockRequest())
    assert before <= read.now <= await world.now()


@case
async def describe_database(db, world):
    await world.trigger(await world.task("t"))
    described = await db.describe_database(DescribeDatabaseRequest())
    assert described.schema_version >= 1
    assert described.server_version
    assert abs(described.now - datetime.now(UTC)) < HOUR
    assert described.live_runs == 1
    assert (described.unsent, described.oldest_unsent) == (0, None)
    await world.store.channels.add(channel())
    await world.node()
    (key,) = await world.claim()
    await world.report([key], RunState.FAILED, Reason.EXIT_CODE, exit_code=3)
    described = await db.describe_database(DescribeDatabaseRequest())
    assert described.unsent == 1
    assert timedelta(0) <= described.oldest_unsent < HOUR


async def test_a_watcher_that_is_cancelled_releases_the_database(db, world):
    async def follow():
        async for _ in db.watch(WatchRequest()):
            pass

    following = asyncio.create_task(follow())
    await eventually(lambda: world.store.wakeups._watchers)
    following.cancel()
    await asyncio.wait([following])
    await released(db, "watch")
    assert not world.store.wakeups._watchers


SAVED = "11111111-1111-7111-8111-111111111111"
SPEC = TaskSpec(name="saved", kind=NOOP)
RUN = "22222222-2222-4222-8222-222222222222"
CHUNK = LogChunk(attempt=1, stream=LogStream.STDOUT, content=b"x", at=datetime(2026, 1, 1, tzinfo=UTC))
LONE = LogEntry(run_id=UUID(RUN).bytes, chunk=CHUNK, length=1)

REFUSED = {
    "a name that is taken": (
        "save_tasks",
        changing(TaskAction.CREATE, NOBODY, spec=SPEC),
        errors.AlreadyExists,
    ),
    "another version than expected": (
        "save_tasks",
        changing(TaskAction.UPDATE, SAVED, spec=SPEC, expected_version=9),
        errors.Conflict,
    ),
    "a change of a task that is not there": ("save_tasks", changing(TaskAction.PAUSE, NOBODY), errors.NotFound),
    "versions of what is no id": ("find_task_versions", FindTaskVersionsRequest(task_id="x"), errors.InvalidArgument),
    "a run of a task that is not there": ("request_runs", asking(NOBODY, uuid4()), errors.NotFound),
    "a run of a version that is not there": (
        "request_runs",
        asking(SAVED, uuid4(), task_version=9),
        errors.FailedPrecondition,
    ),
    "a cancel of a run that is not there": ("request_cancel", RequestCancelRequest(run_ids=[NOBODY]), errors.NotFound),
    "a run that is not there": ("find_run", FindRunRequest(run=NOBODY), errors.NotFound),
    "a beginning that is too short": ("find_run", FindRunRequest(run="222"), errors.InvalidArgument),
    "a beginning that is no number": ("find_run", FindRunRequest(run="zzzz"), errors.InvalidArgument),
    "a node that is not there": ("set_node_drain", SetNodeDrainRequest(node="gamma"), errors.NotFound),
    "a node without an id": ("register_node", RegisterNodeRequest(), errors.InvalidArgument),
    "held attempts of unequal columns": (
        "register_node",
        RegisterNodeRequest(hello=Hello(node=Node(id="n"), held=pack_keys([(UUID(int=1), 1)]))),
        errors.InvalidArgument,
    ),
    "reports of unequal columns": (
        "record",
        RecordRequest(node_id="n", reports=Reports(run_ids=bytes(16))),
        errors.InvalidArgument,
    ),
    "half an id": (
        "take_back",
        TakeBackRequest(attempts=pack_keys([]).__class__(run_ids=bytes(8))),
        errors.InvalidArgument,
    ),
    "the log of a run that is not there": ("read_logs", ReadLogsRequest(run_id=NOBODY), errors.NotFound),
    "a piece of no run": ("append_logs", appending(LogEntry(chunk=CHUNK)), errors.InvalidArgument),
    "a piece of no stream": (
        "append_logs",
        appending(LogEntry(run_id=UUID(RUN).bytes, chunk=LogChunk(at=CHUNK.at))),
        errors.InvalidArgument,
    ),
    "a piece that is no zlib data": (
        "append_logs",
        appending(LogEntry(run_id=UUID(RUN).bytes, chunk=CHUNK, length=1, compressed=True)),
        errors.InvalidArgument,
    ),
    "a page that nobody gave": (
        "page_runs",
        PageRunsRequest(query=ListRunsRequest(page_token="x")),
        errors.InvalidArgument,
    ),
}

UNCHECKED = {
    "ticks of what is no id": ("find_tick", FindTickRequest(task_id="x"), errors.InvalidArgument),
    "runs of what is no id": ("request_runs", asking("x", uuid4()), errors.InvalidArgument),
    "a run whose id is none": ("request_runs", asking(SAVED, "x"), errors.InvalidArgument),
    "a cancel of what is no id": ("request_cancel", RequestCancelRequest(run_ids=["x"]), errors.InvalidArgument),
    "a list of what is no id": ("page_runs", PageRunsRequest(query=ListRunsRequest(task="x")), errors.InvalidArgument),
    "the log of what is no id": ("read_logs", ReadLogsRequest(run_id="x"), errors.InvalidArgument),
    "a change of what is no id": ("save_tasks", changing(TaskAction.PAUSE, "x"), errors.InvalidArgument),
    "a piece from the end of time": (
        "append_logs",
        appending(LogEntry(run_id=UUID(RUN).bytes, scheduled_at=2**62, chunk=CHUNK, length=1)),
        errors.InvalidArgument,
    ),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_the_database_refuses_is_refused_alike(what, db, world):
    await refused(db, world, *REFUSED[what])


@pytest.mark.parametrize("what", UNCHECKED)
async def test_what_is_no_id_is_refused_by_the_database(what, db, world):
    await refused(db, world, *UNCHECKED[what])


async def refused(db, world, method, request, kind):
    await world.change(TaskChange(action=TaskAction.CREATE, task_id=SAVED, spec=SPEC))
    error = await refusal(db, method, request)
    assert type(error) is kind
    assert (kind is errors.InvalidArgument) == bool(getattr(error, "violations", ()))
