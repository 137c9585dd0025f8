"""What the scheduler needs of others, in the shape of the generated service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from dts.pb.dts.v1 import (
    AllChannelsRequest,
    AllChannelsResponse,
    ChangeChannelRequest,
    ChangeChannelResponse,
    ClaimRequest,
    ClaimResponse,
    DescribeDatabaseRequest,
    DescribeDatabaseResponse,
    DropChannelRequest,
    DropChannelResponse,
    FindChannelRequest,
    FindChannelResponse,
    FindDurationsRequest,
    FindDurationsResponse,
    FindLastSuccessesRequest,
    FindLastSuccessesResponse,
    FindNodesRequest,
    FindNodesResponse,
    FindOutcomesRequest,
    FindOutcomesResponse,
    FindOverdueRequest,
    FindOverdueResponse,
    FindRecallsRequest,
    FindRecallsResponse,
    FindRunCountsRequest,
    FindRunCountsResponse,
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
    ReadClockRequest,
    ReadClockResponse,
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
    SettleDeliveriesRequest,
    SettleDeliveriesResponse,
    StoreChannelRequest,
    StoreChannelResponse,
    StoreSwarmRequest,
    StoreSwarmResponse,
    SweepRequest,
    SweepResponse,
    TakeBackRequest,
    TakeBackResponse,
    TakeDeliveriesRequest,
    TakeDeliveriesResponse,
    TendOutboxRequest,
    TendOutboxResponse,
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
    async def find_overdue(self, message: FindOverdueRequest, /) -> FindOverdueResponse: ...
    async def find_recalls(self, message: FindRecallsRequest, /) -> FindRecallsResponse: ...
    async def register_node(self, message: RegisterNodeRequest, /) -> RegisterNodeResponse: ...
    async def renew_leases(self, message: RenewLeasesRequest, /) -> RenewLeasesResponse: ...
    async def store_swarm(self, message: StoreSwarmRequest, /) -> StoreSwarmResponse: ...
    def watch(self, message: WatchRequest, /) -> AsyncIterator[WatchResponse]: ...


class Answers(Protocol):
    """The calls behind what people ask."""

    async def find_tasks(self, message: FindTasksRequest, /) -> FindTasksResponse: ...
    async def page_tasks(self, message: PageTasksRequest, /) -> PageTasksResponse: ...
    async def find_run(self, message: FindRunRequest, /) -> FindRunResponse: ...
    async def find_tick(self, message: FindTickRequest, /) -> FindTickResponse: ...
    async def page_runs(self, message: PageRunsRequest, /) -> PageRunsResponse: ...
    async def find_durations(self, message: FindDurationsRequest, /) -> FindDurationsResponse: ...
    async def find_outcomes(self, message: FindOutcomesRequest, /) -> FindOutcomesResponse: ...
    async def find_run_counts(self, message: FindRunCountsRequest, /) -> FindRunCountsResponse: ...
    async def read_logs(self, message: ReadLogsRequest, /) -> ReadLogsResponse: ...
    async def request_runs(self, message: RequestRunsRequest, /) -> RequestRunsResponse: ...
    async def request_cancel(self, message: RequestCancelRequest, /) -> RequestCancelResponse: ...
    async def find_nodes(self, message: FindNodesRequest, /) -> FindNodesResponse: ...
    async def set_node_drain(self, message: SetNodeDrainRequest, /) -> SetNodeDrainResponse: ...
    async def read_clock(self, message: ReadClockRequest, /) -> ReadClockResponse: ...
    async def describe_database(self, message: DescribeDatabaseRequest, /) -> DescribeDatabaseResponse: ...


class Database(Ledger, Answers, Protocol):
    """Both."""


class Outbox(Protocol):
    """The calls about messages that are to be sent."""

    async def take_deliveries(self, message: TakeDeliveriesRequest, /) -> TakeDeliveriesResponse: ...
    async def settle_deliveries(self, message: SettleDeliveriesRequest, /) -> SettleDeliveriesResponse: ...
    async def tend_outbox(self, message: TendOutboxRequest, /) -> TendOutboxResponse: ...


class ChannelStore(Protocol):
    """The calls about channels."""

    async def store_channel(self, message: StoreChannelRequest, /) -> StoreChannelResponse: ...
    async def all_channels(self, message: AllChannelsRequest, /) -> AllChannelsResponse: ...
    async def find_channel(self, message: FindChannelRequest, /) -> FindChannelResponse: ...
    async def change_channel(self, message: ChangeChannelRequest, /) -> ChangeChannelResponse: ...
    async def drop_channel(self, message: DropChannelRequest, /) -> DropChannelResponse: ...


class Successes(Protocol):
    """The call about when tasks last succeeded."""

    async def find_last_successes(self, message: FindLastSuccessesRequest, /) -> FindLastSuccessesResponse: ...
