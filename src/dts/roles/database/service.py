"""Database Service: each call is one call of the store."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dts.domain.ids import parse_id
from dts.pb.dts.v1 import (
    AppendLogsRequest,
    AppendLogsResponse,
    ClaimRequest,
    ClaimResponse,
    DatabaseServiceBase,
    DescribeDatabaseRequest,
    DescribeDatabaseResponse,
    FindNodesRequest,
    FindNodesResponse,
    FindRecallsRequest,
    FindRecallsResponse,
    FindRunRequest,
    FindRunResponse,
    FindTasksRequest,
    FindTasksResponse,
    FindTaskVersionsRequest,
    FindTaskVersionsResponse,
    FindTickRequest,
    FindTickResponse,
    ListRunsRequest,
    MaintainRequest,
    MaintainResponse,
    MaterialiseRequest,
    MaterialiseResponse,
    PageRunsRequest,
    PageRunsResponse,
    PageTasksRequest,
    PageTasksResponse,
    ReadLogsRequest,
    ReadLogsResponse,
    RecordRequest,
    RecordResponse,
    RegisterNodeRequest,
    RegisterNodeResponse,
    RenewLeasesRequest,
    RenewLeasesResponse,
    RequestCancelRequest,
    RequestCancelResponse,
    RequestRunsRequest,
    RequestRunsResponse,
    SaveTasksRequest,
    SaveTasksResponse,
    SetNodeDrainRequest,
    SetNodeDrainResponse,
    SweepRequest,
    SweepResponse,
    TakeBackRequest,
    TakeBackResponse,
    WatchRequest,
    WatchResponse,
)
from dts.store.store import Store


class DatabaseService(DatabaseServiceBase):
    """The store behind the generated service."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def save_tasks(self, message: SaveTasksRequest) -> SaveTasksResponse:
        """Stores changes of definitions, all or none."""
        return SaveTasksResponse(tasks=await self._store.tasks.save(message))

    async def find_tasks(self, message: FindTasksRequest) -> FindTasksResponse:
        """Gets tasks by name or id."""
        return FindTasksResponse(tasks=await self._store.tasks.find(message))

    async def page_tasks(self, message: PageTasksRequest) -> PageTasksResponse:
        """Lists tasks by name."""
        return await self._store.tasks.page(message)

    async def find_task_versions(self, message: FindTaskVersionsRequest) -> FindTaskVersionsResponse:
        """Lists the versions of a task."""
        return FindTaskVersionsResponse(
            versions=await self._store.tasks.versions(parse_id(message.task_id, field="task_id"))
        )

    async def materialise(self, message: MaterialiseRequest) -> MaterialiseResponse:
        """Writes coming ticks."""
        return await self._store.ledger.materialise(message)

    async def claim(self, message: ClaimRequest) -> ClaimResponse:
        """Claims due runs."""
        return await self._store.claims.claim(message)

    async def record(self, message: RecordRequest) -> RecordResponse:
        """Stores reports."""
        return await self._store.results.record(message)

    async def sweep(self, message: SweepRequest) -> SweepResponse:
        """Settles what is over."""
        return await self._store.upkeep.sweep(message)

    async def maintain(self, message: MaintainRequest) -> MaintainResponse:
        """Makes and drops partitions."""
        return await self._store.upkeep.maintain(message)

    async def request_runs(self, message: RequestRunsRequest) -> RequestRunsResponse:
        """Stores runs that were asked for."""
        return RequestRunsResponse(runs=await self._store.runs.request(message))

    async def request_cancel(self, message: RequestCancelRequest) -> RequestCancelResponse:
        """Asks that runs be stopped."""
        return RequestCancelResponse(runs=await self._store.runs.cancel(message))

    async def find_recalls(self, message: FindRecallsRequest) -> FindRecallsResponse:
        """Gets what nodes are to stop."""
        return FindRecallsResponse(recalls=await self._store.nodes.recalls(message))

    async def take_back(self, message: TakeBackRequest) -> TakeBackResponse:
        """Takes back attempts that had not started."""
        return await self._store.results.take_back(message)

    async def find_run(self, message: FindRunRequest) -> FindRunResponse:
        """Gets a run."""
        return FindRunResponse(run=await self._store.runs.find(message.run))

    async def find_tick(self, message: FindTickRequest) -> FindTickResponse:
        """Gets the run that stands for a tick."""
        return FindTickResponse(run=await self._store.runs.find_tick(message))

    async def page_runs(self, message: PageRunsRequest) -> PageRunsResponse:
        """Lists runs, newest first."""
        return await self._store.runs.page(message.query or ListRunsRequest())

    async def append_logs(self, message: AppendLogsRequest) -> AppendLogsResponse:
        """Stores pieces of logs."""
        return await self._store.logs.append(message)

    async def read_logs(self, message: ReadLogsRequest) -> ReadLogsResponse:
        """Gets pieces of the log of a run."""
        return await self._store.logs.read(message)

    async def register_node(self, message: RegisterNodeRequest) -> RegisterNodeResponse:
        """Grants a lease and reconciles."""
        return await self._store.nodes.register(message)

    async def renew_leases(self, message: RenewLeasesRequest) -> RenewLeasesResponse:
        """Renews leases."""
        return await self._store.nodes.renew(message)

    async def find_nodes(self, message: FindNodesRequest) -> FindNodesResponse:  # noqa: ARG002 - the contract has one
        """Gets all nodes."""
        return FindNodesResponse(nodes=await self._store.nodes.all())

    async def set_node_drain(self, message: SetNodeDrainRequest) -> SetNodeDrainResponse:
        """Lets a node take work or not."""
        return SetNodeDrainResponse(node=await self._store.nodes.set_drain(message))

    async def watch(self, message: WatchRequest) -> AsyncIterator[WatchResponse]:  # noqa: ARG002 - the contract has one
        """Sends a topic whenever something changed."""
        async for hint in self._store.wakeups.watch():
            yield hint

    async def describe_database(self, message: DescribeDatabaseRequest) -> DescribeDatabaseResponse:  # noqa: ARG002
        """Says how the database is."""
        return await self._store.upkeep.describe()
