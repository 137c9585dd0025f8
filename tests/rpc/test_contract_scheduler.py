"""Task Scheduler Service, over both transports."""

import asyncio
from contextlib import aclosing, suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from contract import Cases, methods, reached, refusal, released

from dts.domain import errors
from dts.domain.columns import pack, pack_keys, unpack_keys
from dts.domain.ids import to_micros
from dts.pb.dts.v1 import (
    AppendLogsRequest,
    AttachRequest,
    AttemptKeys,
    BackfillTaskRequest,
    CancelRunRequest,
    Capacity,
    DrainNodeRequest,
    ExplainTaskRequest,
    GetRunRequest,
    GetStatusRequest,
    Heartbeat,
    Hello,
    ListDurationsRequest,
    ListNodesRequest,
    ListOutcomesRequest,
    ListRunCountsRequest,
    ListRunsRequest,
    ListTickCountsRequest,
    ListUpcomingRequest,
    LogBatch,
    LogChunk,
    LogEntry,
    LogStream,
    Node,
    NodeState,
    Overlap,
    Resources,
    ResumeNodeRequest,
    RetryRunRequest,
    RunState,
    SchedulerServiceBase,
    SchedulerServiceStub,
    TailLogsRequest,
    TaskAction,
    TaskChange,
    Trigger,
    TriggerTaskRequest,
    WatchRunRequest,
)
from dts.roles.database.service import DatabaseService
from dts.roles.scheduler.forecast import Forecast
from dts.roles.scheduler.hub import Hub
from dts.roles.scheduler.service import SchedulerService
from dts.roles.scheduler.wakes import Wakes
from dts.rpc.direct import in_process
from dts.runtime import clock
from support.ledger import Ledger, every
from support.polling import eventually

HOUR = timedelta(hours=1)
NOBODY = str(UUID(int=7))
FIRST, LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, tzinfo=UTC)

case = Cases()


@pytest.fixture
def world(database):
    """Makes the state that a case needs, past the transport."""
    return Ledger.on(database)


@pytest.fixture
def hub(world):
    return Hub(in_process(DatabaseService(world.store)), monotonic=clock.monotonic)


@pytest.fixture
async def scheduler(transport, world, hub):
    database = in_process(DatabaseService(world.store))
    forecast = Forecast(database, monotonic=clock.monotonic)
    service = SchedulerService(database, hub, Wakes(database), forecast, actor=lambda: "ann", new_id=uuid4)
    counting = asyncio.create_task(forecast.run())
    async with reached(transport, SchedulerServiceBase, SchedulerServiceStub, service) as contract:
        yield contract
    counting.cancel()


@pytest.mark.parametrize("method", methods(SchedulerServiceBase))
async def test_every_call_of_the_scheduler_keeps_its_contract(method, scheduler, world, hub):
    await case[method](scheduler, world, hub)
    assert scheduler.was_called(method)


def test_no_case_is_left_over():
    assert set(case) == set(methods(SchedulerServiceBase))


async def held(world, name="t"):
    """The one attempt that the node alpha holds."""
    run_id = await world.trigger(await world.task(name))
    await world.node()
    assert await world.claim() == [(run_id, 1)]
    return run_id


async def ended(world, name="t", state=RunState.SUCCEEDED):
    run_id = await held(world, name)
    await world.report([(run_id, 1)], state)
    return run_id


# -- runs


@case
async def trigger_task(scheduler, world, hub):  # noqa: ARG001 - every case is given the same
    await world.task("t")
    chosen = str(uuid4())
    request = TriggerTaskRequest(task="t", parameters={"SIZE": "ä"}, request_id=chosen, overlap=Overlap.QUEUE_ALL)
    for _ in range(2):  # the same request twice makes one run
        run = (await scheduler.trigger_task(request)).run
        assert (run.id, run.trigger, run.parameters) == (chosen, Trigger.MANUAL, {"SIZE": "ä"})
    assert (await scheduler.trigger_task(TriggerTaskRequest(task="t"))).run.id != chosen


@case
async def backfill_task(scheduler, world, hub):  # noqa: ARG001
    await world.task("t", every(3600))
    until = (await world.now()).replace(minute=0, second=0, microsecond=0) - HOUR
    request = BackfillTaskRequest(task="t", since=until - 3 * HOUR, until=until, dry_run=True)
    answer = await scheduler.backfill_task(request)
    assert (answer.ticks, answer.runs) == (3, [])
    request.dry_run = False
    answer = await scheduler.backfill_task(request)
    assert {run.trigger for run in answer.runs} == {Trigger.BACKFILL}
    assert [run.scheduled_at for run in answer.runs] == sorted(run.scheduled_at for run in answer.runs)
    assert len(answer.runs) == 3
    request.request_id = str(uuid4())
    first, again = [
        (await scheduler.backfill_task(request)).runs for _ in range(2)
    ]  # the same twice, and it is done once
    assert ids(again) == ids(first)
    assert not set(ids(first)) & set(ids(answer.runs))
    assert len((await scheduler.list_runs(ListRunsRequest(task="t", until=until))).runs) == 6
    await world.task("u", every(3600))
    request.task = "u"
    assert not set(ids((await scheduler.backfill_task(request)).runs)) & set(ids(first))


async def test_a_backfill_without_an_end_goes_up_to_now_by_the_servers_clock(scheduler, world):
    await world.task("t", every(3600))
    before = await world.now()
    since = before.replace(minute=0, second=0, microsecond=0) - 2 * HOUR
    planned = await scheduler.backfill_task(BackfillTaskRequest(task="t", since=since, dry_run=True))
    assert before <= planned.until <= await world.now()
    request = BackfillTaskRequest(task="t", since=since, until=planned.until)
    made = await scheduler.backfill_task(request)
    assert (made.ticks, made.until, len(made.runs)) == (planned.ticks, planned.until, planned.ticks)


def ids(runs):
    return [run.id for run in runs]


@case
async def cancel_run(scheduler, world, hub):  # noqa: ARG001
    running = await held(world, "a")
    assert (await scheduler.cancel_run(CancelRunRequest(run=str(running)))).run.cancel_requested
    pending = await world.trigger(await world.task("b"))
    cancelled = (await scheduler.cancel_run(CancelRunRequest(run=str(pending)))).run
    assert (cancelled.state, cancelled.message) == (RunState.CANCELLED, "cancelled by ann")


@case
async def retry_run(scheduler, world, hub):  # noqa: ARG001
    over = await ended(world, state=RunState.FAILED)
    again = (await scheduler.retry_run(RetryRunRequest(run=str(over)))).run
    assert (again.trigger, again.state) == (Trigger.RETRY, RunState.PENDING)
    assert again.id != str(over)
    request = RetryRunRequest(run=str(over), request_id=str(uuid4()))
    for _ in range(2):  # the same request twice makes one run
        assert (await scheduler.retry_run(request)).run.id == request.request_id


@case
async def get_run(scheduler, world, hub):  # noqa: ARG001
    run_id = await ended(world)
    run = (await scheduler.get_run(GetRunRequest(run=str(run_id)[:8]))).run
    assert (run.id, run.state, run.exit_code, len(run.attempts)) == (str(run_id), RunState.SUCCEEDED, 0, 1)


@case
async def list_runs(scheduler, world, hub):  # noqa: ARG001
    task_id = await world.task("t")
    ids = [str(await world.trigger(task_id)) for _ in range(3)]
    request = ListRunsRequest(task="t", page_size=2)
    page = await scheduler.list_runs(request)
    request.page_token = page.next_page_token
    rest = await scheduler.list_runs(request)
    assert [run.id for run in page.runs + rest.runs] == ids[::-1]
    assert (await scheduler.list_runs(ListRunsRequest(states=[RunState.FAILED]))).runs == []
    live = await scheduler.list_runs(ListRunsRequest(states=[RunState.PENDING, RunState.RUNNING]))
    assert [run.id for run in live.runs] == ids[::-1]


@case
async def list_outcomes(scheduler, world, hub):  # noqa: ARG001
    first, second = await ended(world, "a"), await ended(world, "b", RunState.FAILED)
    ids = [(await world.run(run)).task_id for run in (first, second)]
    answer = await scheduler.list_outcomes(ListOutcomesRequest(task_ids=[*ids, NOBODY], count=5))
    found = {task.task_id: task for task in answer.tasks}
    assert [found[task].states for task in ids] == [[RunState.SUCCEEDED], [RunState.FAILED]]
    assert min(found[ids[0]].took[0], found[ids[0]].late[0]) >= 0


@case
async def list_run_counts(scheduler, world, hub):  # noqa: ARG001
    await ended(world, "a")
    failed = await ended(world, "b", RunState.FAILED)
    at = (await world.run(failed)).scheduled_at
    asked = {"since": at - HOUR, "until": at + HOUR, "step": HOUR}
    of_all = await scheduler.list_run_counts(ListRunCountsRequest(**asked, by_node=True))
    assert (sum(of_all.succeeded), sum(of_all.failed), set(of_all.nodes)) == (1, 1, {"alpha"})
    of_one = await scheduler.list_run_counts(ListRunCountsRequest(**asked, task="b"))
    assert (of_one.steps, of_one.succeeded, of_one.failed, of_one.nodes) == ([1], [0], [1], [])
    assert 0 <= of_one.took_median[0] <= of_one.took_p95[0]
    assert of_one.counted_since is None


@case
async def watch_run(scheduler, world, hub):  # noqa: ARG001
    run_id = await held(world)
    states = []
    async for answer in scheduler.watch_run(WatchRunRequest(run=str(run_id))):
        states.append(answer.run.state)
        if states == [RunState.ASSIGNED]:
            await world.report([(run_id, 1)])
    assert states == [RunState.ASSIGNED, RunState.SUCCEEDED]


async def printed(world, run_id, *texts):
    run = await world.run(run_id)
    offset = 0
    for text in texts:
        chunk = LogChunk(attempt=1, stream=LogStream.STDOUT, offset=offset, content=text, at=datetime.now(UTC))
        entry = LogEntry(run_id=run_id.bytes, scheduled_at=to_micros(run.scheduled_at), chunk=chunk, length=len(text))
        batch = LogBatch(entries=[entry])
        incarnation = world.nodes["alpha"]
        await world.store.logs.append(AppendLogsRequest(node_id="alpha", incarnation=incarnation, batch=batch))
        offset += len(text)


async def contents(answers):
    return [chunk.content async for answer in answers for chunk in answer.chunks]


@case
async def tail_logs(scheduler, world, hub):  # noqa: ARG001
    run_id = await held(world)
    await printed(world, run_id, b"one\n", b"\x00\xff\n")
    request = TailLogsRequest(run=str(run_id))
    assert await contents(scheduler.tail_logs(request)) == [b"one\n", b"\x00\xff\n"]
    request.follow = True
    follower = asyncio.create_task(contents(scheduler.tail_logs(request)))
    await eventually(lambda: scheduler.seen("tail_logs").answers)
    assert not follower.done()
    await world.report([(run_id, 1)])
    assert await asyncio.wait_for(follower, 5) == [b"one\n", b"\x00\xff\n"]


# -- schedule


@case
async def list_upcoming(scheduler, world, hub):  # noqa: ARG001
    await world.task("t", every(3600, timezone="Europe/Berlin"))
    answer = await scheduler.list_upcoming(ListUpcomingRequest(within=10 * HOUR, limit=4))
    assert (len(answer.ticks), answer.more) == (4, True)
    assert {(tick.task, tick.timezone) for tick in answer.ticks} == {("t", "Europe/Berlin")}
    assert (await scheduler.list_upcoming(ListUpcomingRequest(task="t"))).more is False
    paused = await world.task("paused", every(60))
    await world.change(TaskChange(action=TaskAction.PAUSE, task_id=paused))
    await world.task("sooner", every(60))
    await world.materialise()  # what is in the ledger already is still to come
    request = ListUpcomingRequest(within=10 * HOUR, first_of_each=True)
    firsts = (await scheduler.list_upcoming(request)).ticks
    everything = (await scheduler.list_upcoming(ListUpcomingRequest(within=10 * HOUR))).ticks
    assert [tick.task for tick in firsts] == ["sooner", "t"]
    assert all(tick in everything for tick in firsts)


@case
async def list_durations(scheduler, world, hub):  # noqa: ARG001
    await ended(world, "took")
    took = (await scheduler.list_runs(ListRunsRequest())).runs[0].task_id
    never = await world.task("never")
    answer = await scheduler.list_durations(ListDurationsRequest(task_ids=[took, never]))
    [found] = answer.tasks
    assert (found.task_id, found.runs) == (took, 1)
    assert found.median == found.p95 >= timedelta(0)


@case
async def list_tick_counts(scheduler, world, hub):  # noqa: ARG001
    await world.node("alpha", slots=4)
    await world.task("each-minute", every(60))
    await world.task("each-hour", every(3600))

    async def counted():
        answer = await scheduler.list_tick_counts(ListTickCountsRequest(within=2 * HOUR, step=HOUR))
        return answer if answer.complete else None

    answer = await eventually(counted)
    assert (answer.ticks, answer.tasks) == ([61, 61], 2)
    assert (answer.herds[0].ticks, sorted(answer.herds[0].tasks)) == (2, ["each-hour", "each-minute"])
    assert answer.herds[0].at.minute == 0
    assert answer.since.second == 0
    [alpha] = answer.nodes
    assert (alpha.hostname, alpha.slots, min(alpha.peaks), max(alpha.peaks)) == ("alpha", 4, 1, 2)
    assert len(alpha.peaks) == (8 if answer.since.minute % 15 == 0 else 9)


@case
async def explain_task(scheduler, world, hub):  # noqa: ARG001
    await ended(world, "ran")
    explained = await scheduler.explain_task(ExplainTaskRequest(task="ran"))
    assert (explained.task, explained.verdict, explained.run.state) == ("ran", "ran", RunState.SUCCEEDED)
    await world.task("due", every(3600))
    coming = (await world.now()).replace(minute=0, second=0, microsecond=0) + 5 * HOUR
    explained = await scheduler.explain_task(ExplainTaskRequest(task="due", at=coming))
    assert (explained.verdict, explained.run) == ("not_yet", None)
    between = await scheduler.explain_task(ExplainTaskRequest(task="due", at=coming + HOUR / 2))
    assert (between.verdict, between.at) == ("not_due", coming + HOUR / 2)
    assert explained.steps
    asked_for = await ended(world, "asked-for")
    explained = await scheduler.explain_task(ExplainTaskRequest(run=str(asked_for)[:8]))
    assert (explained.task, explained.verdict, explained.run.id) == ("asked-for", "ran", str(asked_for))


# -- nodes


@case
async def list_nodes(scheduler, world, hub):  # noqa: ARG001
    await world.node("beta", labels={"disk": "ssd"})
    await world.node("alpha")
    first, second = (await scheduler.list_nodes(ListNodesRequest())).nodes
    assert (first.hostname, second.hostname, second.labels) == ("alpha", "beta", {"disk": "ssd"})


@case
async def drain_node(scheduler, world, hub):  # noqa: ARG001
    await world.node()
    node = (await scheduler.drain_node(DrainNodeRequest(node="alpha", note="new disk"))).node
    assert (node.state, node.drain_note) == (NodeState.DRAINING, "new disk")


@case
async def resume_node(scheduler, world, hub):  # noqa: ARG001
    await world.node()
    await scheduler.drain_node(DrainNodeRequest(node="alpha"))
    assert (await scheduler.resume_node(ResumeNodeRequest(node="alpha"))).node.state is NodeState.READY


@case
async def get_status(scheduler, world, hub):  # noqa: ARG001
    await world.node()
    parts = (await scheduler.get_status(GetStatusRequest())).parts
    assert [part.part for part in parts] == ["database", "scheduler", "executor alpha"]
    assert all(part.well and part.detail for part in parts)


# -- executors


class Line:
    """What an executor says; ends when it is told to."""

    def __init__(self, *messages):
        self._queue = asyncio.Queue()
        for message in messages:
            self.say(message)

    def say(self, message):
        self._queue.put_nowait(message)

    async def __aiter__(self):
        while (message := await self._queue.get()) is not None:
            yield message


def hello(keys=()):
    capacity = Capacity(slots=4, resources=Resources(cpus=2, memory=1 << 30))
    node = Node(id="n1", hostname="here", incarnation=str(uuid4()), kinds=["noop"], capacity=capacity)
    return AttachRequest(hello=Hello(node=node, held=pack_keys(keys), held_started_ago=pack("q", [-1] * len(keys))))


@case
async def attach(scheduler, world, hub):  # noqa: ARG001
    stranger = (uuid4(), 1)
    line = Line(hello([stranger]))
    async with aclosing(scheduler.attach(aiter(line))) as answers:
        welcome = (await anext(answers)).welcome
        assert welcome.heartbeat < welcome.lease
        recall = (await anext(answers)).recall
        assert (unpack_keys(recall.attempts), recall.fenced) == ([stranger], True)
        line.say(AttachRequest(heartbeat=Heartbeat(sequence=7, used=Capacity(slots=1))))
        line.say(AttachRequest(recalled=pack_keys([stranger])))
        await eventually(lambda: len(scheduler.seen("attach").requests) == 3)
        line.say(None)
        assert [answer async for answer in answers] == []
    assert [request.heartbeat for request in scheduler.seen("attach").requests][1].sequence == 7
    await released(scheduler, "attach")
    assert hub.sessions == []


async def test_an_executor_that_vanishes_is_forgotten(scheduler, hub):
    line = Line(hello())

    async def stay():
        async for _ in scheduler.attach(aiter(line)):
            pass

    staying = asyncio.create_task(stay())
    await eventually(lambda: hub.sessions)
    staying.cancel()
    await asyncio.wait([staying])
    await released(scheduler, "attach")
    assert hub.sessions == []


async def test_a_scheduler_that_stops_ends_the_line_of_its_executors(scheduler, hub):
    async with aclosing(scheduler.attach(aiter(Line(hello())))) as answers:
        assert (await anext(answers)).welcome
        hub.close()
        assert [answer async for answer in answers] == []
    error = await refusal(scheduler, "attach", aiter(Line(hello())))
    assert (type(error), error.code) == (errors.FailedPrecondition, "scheduler.stopping")


@pytest.mark.parametrize(
    "first", [AttachRequest(heartbeat=Heartbeat()), AttachRequest(hello=Hello()), None], ids=["beat", "nobody", "none"]
)
async def test_an_executor_that_does_not_say_who_it_is_is_refused(first, scheduler):
    error = await refusal(scheduler, "attach", aiter(Line(first, None)))
    assert type(error) is errors.InvalidArgument


async def test_an_executor_whose_columns_are_broken_is_refused(scheduler):
    broken = AttachRequest(recalled=AttemptKeys(run_ids=bytes(5)))
    error = await refusal(scheduler, "attach", aiter(Line(hello(), broken)))
    assert type(error) is errors.InvalidArgument


@pytest.mark.parametrize("method", ["watch_run", "tail_logs"])
async def test_a_follower_that_leaves_is_released(method, scheduler, world):
    run_id = await held(world)
    await printed(world, run_id, b"one\n")
    request = WatchRunRequest if method == "watch_run" else TailLogsRequest
    options = {} if method == "watch_run" else {"follow": True}
    async with aclosing(getattr(scheduler, method)(request(run=str(run_id), **options))) as answers:
        await anext(answers)
    await released(scheduler, method)


# -- refusals

PAST = datetime(2026, 1, 1, tzinfo=UTC)
REFUSED = {
    "a task that is not there": ("trigger_task", TriggerTaskRequest(task="gone"), errors.NotFound),
    "no task": ("trigger_task", TriggerTaskRequest(), errors.InvalidArgument),
    "an id that is none": ("trigger_task", TriggerTaskRequest(task="t", request_id="x"), errors.InvalidArgument),
    "names of parameters": (
        "trigger_task",
        TriggerTaskRequest(task="t", parameters={"1": "x", "ok": "y\0"}),
        errors.InvalidArgument,
    ),
    "a policy that is none": (
        "trigger_task",
        TriggerTaskRequest(task="t", overlap=Overlap(99)),
        errors.InvalidArgument,
    ),
    "a range without ends": ("backfill_task", BackfillTaskRequest(task="t"), errors.InvalidArgument),
    "a range turned round": (
        "backfill_task",
        BackfillTaskRequest(task="t", since=PAST, until=PAST - HOUR),
        errors.InvalidArgument,
    ),
    "a range of the future": (
        "backfill_task",
        BackfillTaskRequest(task="t", since=PAST, until=datetime(2999, 1, 1, tzinfo=UTC)),
        errors.InvalidArgument,
    ),
    "a range of too many": (
        "backfill_task",
        BackfillTaskRequest(task="t", since=PAST - 20_000 * HOUR, until=PAST),
        errors.InvalidArgument,
    ),
    "a range of what has no schedule": (
        "backfill_task",
        BackfillTaskRequest(task="manual", since=PAST, until=PAST + HOUR),
        errors.FailedPrecondition,
    ),
    "a cancel of what is over": ("cancel_run", CancelRunRequest(run="OVER"), errors.FailedPrecondition),
    "a cancel of what is not there": ("cancel_run", CancelRunRequest(run=NOBODY), errors.NotFound),
    "a retry of what is not there": ("retry_run", RetryRunRequest(run=NOBODY), errors.NotFound),
    "a retry of what lives": ("retry_run", RetryRunRequest(run="LIVE"), errors.FailedPrecondition),
    "a run that is not there": ("get_run", GetRunRequest(run=NOBODY), errors.NotFound),
    "a run that is no id": ("get_run", GetRunRequest(run="no id"), errors.InvalidArgument),
    "runs of what is not there": ("list_runs", ListRunsRequest(task="gone"), errors.NotFound),
    "outcomes of very many": ("list_outcomes", ListOutcomesRequest(task_ids=[NOBODY] * 101), errors.InvalidArgument),
    "very many outcomes": ("list_outcomes", ListOutcomesRequest(count=201), errors.InvalidArgument),
    "outcomes of what is no id": ("list_outcomes", ListOutcomesRequest(task_ids=["t"]), errors.InvalidArgument),
    "counts of no time": ("list_run_counts", ListRunCountsRequest(step=HOUR), errors.InvalidArgument),
    "counts without a step": (
        "list_run_counts",
        ListRunCountsRequest(since=FIRST, until=FIRST + HOUR),
        errors.InvalidArgument,
    ),
    "counts in very many steps": (
        "list_run_counts",
        ListRunCountsRequest(since=FIRST, until=FIRST + 1001 * HOUR, step=HOUR),
        errors.InvalidArgument,
    ),
    "counts of ticks of a year": (
        "list_tick_counts",
        ListTickCountsRequest(within=366 * 24 * HOUR),
        errors.InvalidArgument,
    ),
    "counts of ticks by the second": (
        "list_tick_counts",
        ListTickCountsRequest(step=timedelta(seconds=1)),
        errors.InvalidArgument,
    ),
    "a run and a task to explain": ("explain_task", ExplainTaskRequest(run="1234", task="t"), errors.InvalidArgument),
    "a run to explain that is not there": ("explain_task", ExplainTaskRequest(run=NOBODY), errors.NotFound),
    "a page that is too large": ("list_runs", ListRunsRequest(page_size=1001), errors.InvalidArgument),
    "a page that nobody gave": ("list_runs", ListRunsRequest(page_token="x"), errors.InvalidArgument),
    "a state that is none": ("list_runs", ListRunsRequest(states=[RunState(99)]), errors.InvalidArgument),
    "very many states": ("list_runs", ListRunsRequest(states=[RunState.FAILED] * 49_000), errors.InvalidArgument),
    "a watch of what is not there": ("watch_run", WatchRunRequest(run=NOBODY), errors.NotFound),
    "a watch of what is no id": ("watch_run", WatchRunRequest(), errors.InvalidArgument),
    "a log of what is not there": ("tail_logs", TailLogsRequest(run=NOBODY), errors.NotFound),
    "a look too far ahead": ("list_upcoming", ListUpcomingRequest(within=9000 * HOUR), errors.InvalidArgument),
    "a look at too much": ("list_upcoming", ListUpcomingRequest(limit=10_001), errors.InvalidArgument),
    "durations of what is no id": ("list_durations", ListDurationsRequest(task_ids=["t"]), errors.InvalidArgument),
    "durations of too many": (
        "list_durations",
        ListDurationsRequest(task_ids=[str(uuid4())] * 1001),
        errors.InvalidArgument,
    ),
    "a look at what is not there": ("list_upcoming", ListUpcomingRequest(task="gone"), errors.NotFound),
    "a question about what is not there": ("explain_task", ExplainTaskRequest(task="gone"), errors.NotFound),
    "a node that is not there": ("drain_node", DrainNodeRequest(node="gone"), errors.NotFound),
    "a note that is too long": ("drain_node", DrainNodeRequest(node="alpha", note="x" * 501), errors.InvalidArgument),
    "a node to resume that is not there": ("resume_node", ResumeNodeRequest(node="gone"), errors.NotFound),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_the_scheduler_refuses_is_refused_alike(what, scheduler, world):
    over, live = await ended(world, "over"), await world.trigger(await world.task("t", every(3600)))
    await world.task("manual")
    method, request, kind = REFUSED[what]
    if getattr(request, "run", "") in {"OVER", "LIVE"}:
        request = type(request)(run=str({"OVER": over, "LIVE": live}[request.run]))
    error = await refusal(scheduler, method, request)
    assert type(error) is kind
    assert (kind is errors.InvalidArgument) == bool(getattr(error, "violations", ()))


ODD = {
    "a list from the first day to the last": ("list_runs", ListRunsRequest(since=FIRST, until=LAST)),
    "a run with a NUL": ("get_run", GetRunRequest(run="abcd\0")),
    "a task with a NUL": ("explain_task", ExplainTaskRequest(task="t\0")),
    "an attempt that cannot be": ("tail_logs", TailLogsRequest(run="LIVE", attempt=-(2**31))),
    "a look back": ("list_upcoming", ListUpcomingRequest(within=-HOUR)),
}
INCIDENTS = {
    "an explanation of the first day": ("explain_task", ExplainTaskRequest(task="t", at=FIRST)),
    "an explanation of the last day": ("explain_task", ExplainTaskRequest(task="t", at=LAST)),
    "a backfill from the first day": ("backfill_task", BackfillTaskRequest(task="t", since=FIRST, until=PAST)),
    "a node with a NUL": ("drain_node", DrainNodeRequest(node="a\0")),
    "a node to resume with a NUL": ("resume_node", ResumeNodeRequest(node="a\0")),
}


@pytest.mark.parametrize("what", ODD)
async def test_what_is_odd_is_answered_or_refused_but_never_an_incident(what, scheduler, world):
    await answered_or_refused(scheduler, world, *ODD[what])


@pytest.mark.parametrize("what", INCIDENTS)
async def test_the_ends_of_time_and_nodes_with_a_nul_are_no_incidents(what, scheduler, world):
    await answered_or_refused(scheduler, world, *INCIDENTS[what])


async def answered_or_refused(scheduler, world, method, request):
    live = await world.trigger(await world.task("t", every(3600)))
    if getattr(request, "run", "") == "LIVE":
        request = type(request)(run=str(live), attempt=request.attempt)
    with suppress(errors.InvalidArgument, errors.NotFound):
        outcome = getattr(scheduler, method)(request)
        await (contents(outcome) if method == "tail_logs" else outcome)
