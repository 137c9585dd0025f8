"""What the scheduler needs of others, in the shape of the generated service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from dts.pb.dts.v1 import (
    ClaimRequest,
    ClaimResponse,
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
    FindTickRequest,
    FindTickResponse,
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
    SetNodeDrainRequest,
    SetNodeDrainResponse,
    SweepRequest,
    SweepResponse,
    TakeBackRequest,
    TakeBackResponse,
    WatchRequest,
    WatchResponse,
)


class Ledger(Protocol):
    """The hot calls: batches, safe to repeat."""

    async def materialise(self, message: MaterialiseRequest, /) -> MaterialiseResponse: ...
    async def claim(self, message: ClaimRequest, /) -> ClaimResponse: ...
    async def record(self, message: RecordRequest, /) -> RecordResponse: ...
    async def sweep(self, message: SweepRequest, /) -> SweepResponse: ...
    async def maintain(self, message: MaintainRequest, /) -> MaintainResponse: ...
    async def take_back(self, message: TakeBackRequest, /) -> TakeBackResponse: ...
    async def find_recalls(self, message: FindRecallsRequest, /) -> FindRecallsResponse: ...
    async def register_node(self, message: RegisterNodeRequest, /) -> RegisterNodeResponse: ...
    async def renew_leases(self, message: RenewLeasesRequest, /) -> RenewLeasesResponse: ...
    def watch(self, message: WatchRequest, /) -> AsyncIterator[WatchResponse]: ...


class Answers(Protocol):
    """The calls behind what people ask."""

    async def find_tasks(self, message: FindTasksRequest, /) -> FindTasksResponse: ...
    async def page_tasks(self, message: PageTasksRequest, /) -> PageTasksResponse: ...
    async def find_run(self, message: FindRunRequest, /) -> FindRunResponse: ...
    async def find_tick(self, message: FindTickRequest, /) -> FindTickResponse: ...
    async def page_runs(self, message: PageRunsRequest, /) -> PageRunsResponse: ...
    async def read_logs(self, message: ReadLogsRequest, /) -> ReadLogsResponse: ...
    async def request_runs(self, message: RequestRunsRequest, /) -> RequestRunsResponse: ...
    async def request_cancel(self, message: RequestCancelRequest, /) -> RequestCancelResponse: ...
    async def find_nodes(self, message: FindNodesRequest, /) -> FindNodesResponse: ...
    async def set_node_drain(self, message: SetNodeDrainRequest, /) -> SetNodeDrainResponse: ...
    async def describe_database(self, message: DescribeDatabaseRequest, /) -> DescribeDatabaseResponse: ...


class Database(Ledger, Answers, Protocol):
    """Both."""
