"""Task Scheduler Service: what executors and people may ask of the scheduler."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from uuid import UUID

from dts.domain.errors import FailedPrecondition, NotFound
from dts.domain.explain import Facts, explain
from dts.domain.ids import MICROSECOND
from dts.domain.runs import FINAL
from dts.domain.schedule import CompiledSchedule, Tick, compile_schedule
from dts.pb.dts.v1 import (
    AttachRequest,
    AttachResponse,
    BackfillTaskRequest,
    BackfillTaskResponse,
    CancelRunRequest,
    CancelRunResponse,
    DescribeDatabaseRequest,
    DrainNodeRequest,
    DrainNodeResponse,
    ExplainTaskRequest,
    ExplainTaskResponse,
    FindNodesRequest,
    FindTasksRequest,
    FindTickRequest,
    GetRunRequest,
    GetRunResponse,
    GetStatusRequest,
    GetStatusResponse,
    ListNodesRequest,
    ListNodesResponse,
    ListRunsRequest,
    ListRunsResponse,
    ListUpcomingRequest,
    ListUpcomingResponse,
    Overlap,
    PageRunsRequest,
    RequestCancelRequest,
    RequestedRun,
    RequestRunsRequest,
    ResumeNodeRequest,
    ResumeNodeResponse,
    RetryRunRequest,
    RetryRunResponse,
    Run,
    SchedulerServiceBase,
    SetNodeDrainRequest,
    TailLogsRequest,
    TailLogsResponse,
    Task,
    Trigger,
    TriggerTaskRequest,
    TriggerTaskResponse,
    WatchRunRequest,
    WatchRunResponse,
)
from dts.roles.scheduler import checks, logs, status, upcoming
from dts.roles.scheduler.hub import Hub
from dts.roles.scheduler.ports import Answers
from dts.roles.scheduler.wakes import Wakes

UPCOMING_WITHIN = timedelta(hours=24)
UPCOMING_LIMIT = 1000
BACKFILL_LISTED = 1000
LOOK_BACK = timedelta(days=366 * 5)
"""How far back the tick before an instant is looked for: a leap day comes every four years, rarely eight."""


class SchedulerService(SchedulerServiceBase):
    """The scheduler's face; its duties run beside it."""

    def __init__(
        self, database: Answers, hub: Hub, wakes: Wakes, *, actor: Callable[[], str], new_id: Callable[[], UUID]
    ) -> None:
        self._database = database
        self._hub = hub
        self._wakes = wakes
        self._actor = actor
        self._new_id = new_id

    async def attach(self, messages: AsyncIterator[AttachRequest]) -> AsyncIterator[AttachResponse]:
        """Attaches an executor."""
        async for response in self._hub.attach(messages):
            yield response

    async def trigger_task(self, message: TriggerTaskRequest) -> TriggerTaskResponse:
        """Runs a task now."""
        checks.check_parameters(message.parameters)
        overlap = checks.known_overlap(message.overlap)
        run_id = checks.request_id(message.request_id) or self._new_id()
        task = await self._task(message.task)
        runs = await self._request(
            task,
            Trigger.MANUAL,
            [RequestedRun(id=str(run_id), parameters=dict(message.parameters))],
            overlap,
        )
        return TriggerTaskResponse(run=runs[0])

    async def backfill_task(self, message: BackfillTaskRequest) -> BackfillTaskResponse:
        """Runs the ticks of a past range."""
        overlap = checks.known_overlap(message.overlap) or Overlap.QUEUE_ALL
        task = await self._task(message.task)
        ticks = await self._past_ticks(task, message)
        if message.dry_run or not ticks:
            return BackfillTaskResponse(ticks=len(ticks))
        wanted = [RequestedRun(id=str(self._new_id()), scheduled_at=tick.at) for tick in ticks]
        runs = await self._request(task, Trigger.BACKFILL, wanted, overlap)
        return BackfillTaskResponse(ticks=len(ticks), runs=runs[:BACKFILL_LISTED])

    async def cancel_run(self, message: CancelRunRequest) -> CancelRunResponse:
        """Asks that a run be stopped."""
        run = await logs.find_run(self._database, message.run)
        if run.state in FINAL:
            raise FailedPrecondition(f"run {run.id[:8]} is over already: {_word(run)}", code="run.over")
        request = RequestCancelRequest(run_ids=[run.id], actor=self._actor())
        response = await self._database.request_cancel(request)
        return CancelRunResponse(run=response.runs[0])

    async def retry_run(self, message: RetryRunRequest) -> RetryRunResponse:
        """Runs a finished run again, under the task's current definition."""
        run = await logs.find_run(self._database, message.run)
        if run.state not in FINAL:
            raise FailedPrecondition(f"run {run.id[:8]} is not over yet: {_word(run)}", code="run.live")
        task = await self._task(run.task_id)
        again = RequestedRun(id=str(self._new_id()), scheduled_at=run.scheduled_at, parameters=dict(run.parameters))
        runs = await self._request(task, Trigger.RETRY, [again], Overlap.UNSPECIFIED)
        return RetryRunResponse(run=runs[0])

    async def get_run(self, message: GetRunRequest) -> GetRunResponse:
        """Gets a run by its id or a beginning of it."""
        return GetRunResponse(run=await logs.find_run(self._database, message.run))

    async def list_runs(self, message: ListRunsRequest) -> ListRunsResponse:
        """Lists runs, newest first."""
        query = checks.runs_query(message)
        if query.task:
            query.task = (await self._task(query.task, deleted=True)).id
        page = await self._database.page_runs(PageRunsRequest(query=query))
        return ListRunsResponse(runs=page.runs, next_page_token=page.next_page_token)

    async def watch_run(self, message: WatchRunRequest) -> AsyncIterator[WatchRunResponse]:
        """Sends a run whenever it changes."""
        async for response in logs.watch(self._database, message.run):
            yield response

    async def tail_logs(self, message: TailLogsRequest) -> AsyncIterator[TailLogsResponse]:
        """Sends what a run printed."""
        async for response in logs.tail(self._database, self._wakes, message):
            yield response

    async def list_upcoming(self, message: ListUpcomingRequest) -> ListUpcomingResponse:
        """Lists the coming ticks."""
        limit = checks.upcoming_limit(message.limit) or UPCOMING_LIMIT
        now = await self._now()
        until = now + checks.upcoming_within(message.within or UPCOMING_WITHIN)
        if message.task:
            tasks = [await self._task(message.task)]
        else:
            tasks = [task async for task in upcoming.due_tasks(self._database, until)]
        enabled = [task for task in tasks if task.enabled]
        ticks, more = upcoming.merge(enabled, after=now, until=until, limit=limit)
        return ListUpcomingResponse(ticks=ticks, more=more)

    async def explain_task(self, message: ExplainTaskRequest) -> ExplainTaskResponse:
        """Says why a task ran, did not run, or has not yet."""
        checks.moment("at", message.at)
        task = await self._task(message.task, deleted=True)
        now = await self._now()
        schedule = _compiled(task)
        tick = _tick_at(schedule, message.at, now, born=task.created_at or now)
        at = tick.at if tick else message.at
        row = await self._database.find_tick(FindTickRequest(task_id=task.id, at=at if message.at else None))
        run = row.run
        if run is not None and message.at is None:
            tick = _tick_at(schedule, run.scheduled_at, now, born=now) if run.trigger is Trigger.SCHEDULE else None
        nodes = await self._database.find_nodes(FindNodesRequest())
        return explain(
            Facts(task=task, schedule=schedule, now=now, at=message.at, tick=tick, run=run, nodes=nodes.nodes)
        )

    async def list_nodes(self, message: ListNodesRequest) -> ListNodesResponse:  # noqa: ARG002 - the contract has one
        """Lists nodes."""
        return ListNodesResponse(nodes=(await self._database.find_nodes(FindNodesRequest())).nodes)

    async def drain_node(self, message: DrainNodeRequest) -> DrainNodeResponse:
        """Lets a node take nothing new."""
        request = SetNodeDrainRequest(node=checks.node_key(message.node), drain=True, note=checks.note(message.note))
        return DrainNodeResponse(node=(await self._database.set_node_drain(request)).node)

    async def resume_node(self, message: ResumeNodeRequest) -> ResumeNodeResponse:
        """Lets a node take work again."""
        request = SetNodeDrainRequest(node=checks.node_key(message.node), drain=False)
        return ResumeNodeResponse(node=(await self._database.set_node_drain(request)).node)

    async def get_status(self, message: GetStatusRequest) -> GetStatusResponse:  # noqa: ARG002 - the contract has one
        """Says whether every part is well."""
        return GetStatusResponse(parts=await status.parts(self._database))

    async def _request(self, task: Task, trigger: Trigger, wanted: list[RequestedRun], overlap: Overlap) -> list[Run]:
        request = RequestRunsRequest(task_id=task.id, trigger=trigger, runs=wanted, overlap=overlap)
        return (await self._database.request_runs(request)).runs

    async def _past_ticks(self, task: Task, message: BackfillTaskRequest) -> list[Tick]:
        schedule = _compiled(task)
        if schedule is None:
            raise FailedPrecondition("the task has no schedule, so no range has ticks", code="task.no_schedule")
        since, until = checks.backfill_range(message.since, message.until, now=await self._now())
        found = schedule.between(since - MICROSECOND, until - MICROSECOND, limit=checks.BACKFILL_MAX + 1)
        ticks = [tick for tick in found if not tick.excluded]
        checks.check_backfill_size(len(found))
        return ticks

    async def _task(self, text: str, *, deleted: bool = False) -> Task:
        request = FindTasksRequest(tasks=[checks.task_key(text)], deleted=deleted)
        found = await self._database.find_tasks(request)
        if not found.tasks:
            raise NotFound(f"no task named {text!r}", code="task.unknown")
        return found.tasks[0]

    async def _now(self) -> datetime:
        """The database's clock: it alone decides what is due."""
        described = await self._database.describe_database(DescribeDatabaseRequest())
        if described.now is None:
            raise NotFound("the database did not say what time it is")
        return described.now


def _compiled(task: Task) -> CompiledSchedule | None:
    if task.spec is None or task.spec.schedule is None:
        return None
    return compile_schedule(task.spec.schedule, key=task.spec.name)


def _tick_at(schedule: CompiledSchedule | None, at: datetime | None, now: datetime, *, born: datetime) -> Tick | None:
    """The tick at or before an instant. Without an instant: the latest since the task was born, else the next one."""
    if schedule is None:
        return None
    if at is not None:
        return schedule.last_before(at, after=at - LOOK_BACK)
    return schedule.last_before(now, after=max(now - LOOK_BACK, born)) or schedule.next_after(now)


def _word(run: Run) -> str:
    return (run.state.name or "").lower()
