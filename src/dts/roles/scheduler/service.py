"""Task Scheduler Service: what executors and people may ask of the scheduler."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from uuid import UUID

from dts.domain.errors import FailedPrecondition, InvalidArgument, NotFound
from dts.domain.explain import explain, waiting
from dts.domain.ids import MICROSECOND, backfill_run_id
from dts.domain.runs import FINAL
from dts.domain.schedule import Tick, schedule_of
from dts.pb.dts.v1 import (
    AttachRequest,
    AttachResponse,
    BackfillTaskRequest,
    BackfillTaskResponse,
    CancelRunRequest,
    CancelRunResponse,
    DrainNodeRequest,
    DrainNodeResponse,
    ExplainTaskRequest,
    ExplainTaskResponse,
    FindDurationsRequest,
    FindNodesRequest,
    FindOutcomesRequest,
    FindRunCountsRequest,
    FindTasksRequest,
    GetRunRequest,
    GetRunResponse,
    GetStatusRequest,
    GetStatusResponse,
    ListDurationsRequest,
    ListDurationsResponse,
    ListNodesRequest,
    ListNodesResponse,
    ListOutcomesRequest,
    ListOutcomesResponse,
    ListRunCountsRequest,
    ListRunCountsResponse,
    ListRunsRequest,
    ListRunsResponse,
    ListTickCountsRequest,
    ListTickCountsResponse,
    ListUpcomingRequest,
    ListUpcomingResponse,
    NodeAnswer,
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
    RunState,
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
from dts.roles.scheduler.explaining import gathered, gathered_of
from dts.roles.scheduler.forecast import Forecast
from dts.roles.scheduler.hub import Hub
from dts.roles.scheduler.ports import Answers
from dts.roles.scheduler.wakes import Wakes

UPCOMING_WITHIN = timedelta(hours=24)
UPCOMING_LIMIT = 1000
BACKFILL_LISTED = 1000


class SchedulerService(SchedulerServiceBase):
    """The scheduler's face; its duties run beside it."""

    def __init__(
        self,
        database: Answers,
        hub: Hub,
        wakes: Wakes,
        forecast: Forecast,
        *,
        actor: Callable[[], str],
        new_id: Callable[[], UUID],
    ) -> None:
        self._database = database
        self._hub = hub
        self._wakes = wakes
        self._forecast = forecast
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
        request_id = checks.request_id(message.request_id) or self._new_id()
        task = await self._task(message.task)
        since, until = checks.backfill_range(message.since, message.until, now=await self._now())
        ticks = _past_ticks(task, since, until)
        if message.dry_run or not ticks:
            return BackfillTaskResponse(ticks=len(ticks), until=until)
        ids = [backfill_run_id(request_id, UUID(task.id), tick.at) for tick in ticks]
        wanted = [RequestedRun(id=str(i), scheduled_at=tick.at) for i, tick in zip(ids, ticks, strict=True)]
        runs = await self._request(task, Trigger.BACKFILL, wanted, overlap)
        return BackfillTaskResponse(ticks=len(ticks), runs=runs[:BACKFILL_LISTED], until=until)

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
        run_id = checks.request_id(message.request_id) or self._new_id()
        run = await logs.find_run(self._database, message.run)
        if run.state not in FINAL:
            raise FailedPrecondition(f"run {run.id[:8]} is not over yet: {_word(run)}", code="run.live")
        task = await self._task(run.task_id)
        again = RequestedRun(id=str(run_id), scheduled_at=run.scheduled_at, parameters=dict(run.parameters))
        runs = await self._request(task, Trigger.RETRY, [again], Overlap.UNSPECIFIED)
        return RetryRunResponse(run=runs[0])

    async def get_run(self, message: GetRunRequest) -> GetRunResponse:
        """Gets a run by its id or a beginning of it."""
        run = await logs.find_run(self._database, message.run)
        return GetRunResponse(run=run, nodes=await self._answers(run))

    async def list_runs(self, message: ListRunsRequest) -> ListRunsResponse:
        """Lists runs, newest first."""
        query = checks.runs_query(message)
        if query.task:
            query.task = (await self._task(query.task, deleted=True)).id
        page = await self._database.page_runs(PageRunsRequest(query=query))
        return ListRunsResponse(runs=page.runs, next_page_token=page.next_page_token)

    async def list_outcomes(self, message: ListOutcomesRequest) -> ListOutcomesResponse:
        """Says how the latest runs of tasks ended."""
        query = checks.outcomes_query(message)
        return ListOutcomesResponse(tasks=(await self._database.find_outcomes(FindOutcomesRequest(query=query))).tasks)

    async def list_run_counts(self, message: ListRunCountsRequest) -> ListRunCountsResponse:
        """Counts the finished runs of a time."""
        query = checks.counts_query(message)
        if query.task:
            query.task = (await self._task(query.task, deleted=True)).id
        found = await self._database.find_run_counts(FindRunCountsRequest(query=query))
        return found.counts or ListRunCountsResponse()

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
        if message.first_of_each and not message.task:
            ticks, more = await upcoming.first_of_each(self._database, until, limit=limit)
            return ListUpcomingResponse(ticks=ticks, more=more)
        if message.task:
            tasks = [await self._task(message.task)]
        else:
            tasks = [task async for task in upcoming.due_tasks(self._database, until, limit=limit)]
        enabled = [task for task in tasks if task.enabled]
        ticks, more = upcoming.merge(enabled, after=now, until=until, limit=1 if message.first_of_each else limit)
        return ListUpcomingResponse(ticks=ticks, more=more)

    async def list_durations(self, message: ListDurationsRequest) -> ListDurationsResponse:
        """Says how long runs of tasks took of late."""
        request = FindDurationsRequest(task_ids=checks.task_ids(message.task_ids))
        return ListDurationsResponse(tasks=(await self._database.find_durations(request)).tasks)

    async def list_tick_counts(self, message: ListTickCountsRequest) -> ListTickCountsResponse:
        """Counts the coming ticks."""
        within, step = checks.counted_steps(message.within or UPCOMING_WITHIN, message.step or checks.MINUTE)
        return await self._forecast.counts(await self._now(), within=within, step=step)

    async def explain_task(self, message: ExplainTaskRequest) -> ExplainTaskResponse:
        """Says why a task ran, did not run, or has not yet."""
        if message.run:
            return await self._explained_run(message)
        checks.moment("at", message.at)
        task, deleted = await self._task_or_deleted(message.task)
        facts = await gathered(self._database, task, at=message.at, now=await self._now(), deleted=deleted)
        return explain(facts)

    async def _explained_run(self, message: ExplainTaskRequest) -> ExplainTaskResponse:
        """The same about a run, whatever it was that asked for it."""
        if message.task or message.at is not None:
            raise InvalidArgument.of("run", "explain.both", "is given beside a task or an instant; give one of the two")
        run = await logs.find_run(self._database, message.run)
        task, deleted = await self._task_or_deleted(run.task_id)
        return explain(await gathered_of(self._database, task, run, now=await self._now(), deleted=deleted))

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

    async def _task(self, text: str, *, deleted: bool = False) -> Task:
        request = FindTasksRequest(tasks=[checks.task_key(text)], deleted=deleted)
        found = await self._database.find_tasks(request)
        if not found.tasks:
            raise NotFound(f"no task named {text!r}", code="task.unknown")
        return found.tasks[0]

    async def _task_or_deleted(self, text: str) -> tuple[Task, bool]:
        """A task, and whether it is a deleted one."""
        try:
            return await self._task(text), False
        except NotFound:
            return await self._task(text, deleted=True), True

    async def _answers(self, run: Run) -> list[NodeAnswer]:
        """What each node says to a run, if it waits for one."""
        if run.state is not RunState.PENDING or run.blocked_by:
            return []
        task = await self._task(run.task_id, deleted=True)
        nodes = await self._database.find_nodes(FindNodesRequest())
        return [NodeAnswer(node=node.hostname, reason=reason) for node, reason in waiting(task, nodes.nodes)]

    async def _now(self) -> datetime:
        return await upcoming.time_of(self._database)


def _past_ticks(task: Task, since: datetime, until: datetime) -> list[Tick]:
    schedule = schedule_of(task.spec)
    if schedule is None:
        raise FailedPrecondition("the task has no schedule, so no range has ticks", code="task.no_schedule")
    found = schedule.between(since - MICROSECOND, until - MICROSECOND, limit=checks.BACKFILL_MAX + 1)
    checks.check_backfill_size(len(found))
    return [tick for tick in found if not tick.excluded]


def _word(run: Run) -> str:
    return (run.state.name or "").lower()
