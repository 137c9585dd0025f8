"""Database Service: each call is one call of the store."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dts.domain.ids import parse_id
from dts.pb.dts.v1 import (
    AllChannelsRequest,
    AllChannelsResponse,
    AllTokensRequest,
    AllTokensResponse,
    AppendLogsRequest,
    AppendLogsResponse,
    ChangeChannelRequest,
    ChangeChannelResponse,
    ClaimRequest,
    ClaimResponse,
    DatabaseServiceBase,
    DescribeDatabaseRequest,
    DescribeDatabaseResponse,
    DropChannelRequest,
    DropChannelResponse,
    EndTokenRequest,
    EndTokenResponse,
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
    FindTaskVersionsRequest,
    FindTaskVersionsResponse,
    FindTickRequest,
    FindTickResponse,
    FindTokenRequest,
    FindTokenResponse,
    ListOutcomesRequest,
    ListRunCountsRequest,
    ListRunsRequest,
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
    SaveTasksRequest,
    SaveTasksResponse,
    SealedChannel,
    SetNodeDrainRequest,
    SetNodeDrainResponse,
    SettleDeliveriesRequest,
    SettleDeliveriesResponse,
    StoreChannelRequest,
    StoreChannelResponse,
    StoreSwarmRequest,
    StoreSwarmResponse,
    StoreTokenRequest,
    StoreTokenResponse,
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
from dts.rpc.caller import check_node
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
            versions=await self._store.tasks.versions(parse_id(message.task_id, field="task_id"), message.limit)
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

    async def find_overdue(self, message: FindOverdueRequest) -> FindOverdueResponse:
        """Gets the nodes that are silent about what they were given."""
        return FindOverdueResponse(node_ids=await self._store.nodes.overdue(message))

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

    async def find_durations(self, message: FindDurationsRequest) -> FindDurationsResponse:
        """Says how long runs of tasks took of late."""
        return FindDurationsResponse(tasks=await self._store.runs.durations(message))

    async def find_outcomes(self, message: FindOutcomesRequest) -> FindOutcomesResponse:
        """Says how the latest runs of tasks ended."""
        return FindOutcomesResponse(tasks=await self._store.history.outcomes(message.query or ListOutcomesRequest()))

    async def find_run_counts(self, message: FindRunCountsRequest) -> FindRunCountsResponse:
        """Counts the finished runs of a time."""
        counts = await self._store.history.counts(message.query or ListRunCountsRequest())
        return FindRunCountsResponse(counts=counts)

    async def append_logs(self, message: AppendLogsRequest) -> AppendLogsResponse:
        """Stores pieces of logs."""
        check_node(message.node_id)
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

    async def store_swarm(self, message: StoreSwarmRequest) -> StoreSwarmResponse:
        """Keeps what the managers of the Swarm say of its nodes."""
        await self._store.nodes.store_swarm(message)
        return StoreSwarmResponse()

    async def find_nodes(self, message: FindNodesRequest) -> FindNodesResponse:  # noqa: ARG002 - the contract has one
        """Gets all nodes."""
        return FindNodesResponse(nodes=await self._store.nodes.all())

    async def set_node_drain(self, message: SetNodeDrainRequest) -> SetNodeDrainResponse:
        """Lets a node take work or not."""
        return SetNodeDrainResponse(node=await self._store.nodes.set_drain(message))

    async def store_token(self, message: StoreTokenRequest) -> StoreTokenResponse:
        """Stores an access token."""
        return StoreTokenResponse(token=await self._store.tokens.add(message))

    async def all_tokens(self, message: AllTokensRequest) -> AllTokensResponse:  # noqa: ARG002 - the contract has one
        """Lists access tokens."""
        return AllTokensResponse(tokens=await self._store.tokens.all())

    async def end_token(self, message: EndTokenRequest) -> EndTokenResponse:
        """Revokes an access token."""
        return EndTokenResponse(token=await self._store.tokens.end(message))

    async def find_token(self, message: FindTokenRequest) -> FindTokenResponse:
        """Gets an access token by its hash."""
        return FindTokenResponse(token=await self._store.tokens.find(message))

    async def store_channel(self, message: StoreChannelRequest) -> StoreChannelResponse:
        """Stores a channel."""
        return StoreChannelResponse(channel=await self._store.channels.add(message.channel or SealedChannel()))

    async def all_channels(self, message: AllChannelsRequest) -> AllChannelsResponse:  # noqa: ARG002 - the contract has one
        """Lists channels."""
        return AllChannelsResponse(channels=await self._store.channels.all())

    async def find_channel(self, message: FindChannelRequest) -> FindChannelResponse:
        """Gets a channel with its secrets."""
        return FindChannelResponse(channel=await self._store.channels.find(message.channel))

    async def change_channel(self, message: ChangeChannelRequest) -> ChangeChannelResponse:
        """Changes a channel."""
        return ChangeChannelResponse(channel=await self._store.channels.change(message.channel or SealedChannel()))

    async def drop_channel(self, message: DropChannelRequest) -> DropChannelResponse:
        """Deletes a channel."""
        return DropChannelResponse(channel=await self._store.channels.drop(message.channel))

    async def take_deliveries(self, message: TakeDeliveriesRequest) -> TakeDeliveriesResponse:
        """Lends out messages that are to be sent."""
        return await self._store.notices.take(message)

    async def tend_outbox(self, message: TendOutboxRequest) -> TendOutboxResponse:
        """Looks for runs that are late or stuck, and for channels that do not take what they are told."""
        return await self._store.notices.tend(message)

    async def settle_deliveries(self, message: SettleDeliveriesRequest) -> SettleDeliveriesResponse:
        """Notes how deliveries went."""
        return await self._store.notices.settle(message)

    async def watch(self, message: WatchRequest) -> AsyncIterator[WatchResponse]:  # noqa: ARG002 - the contract has one
        """Sends a topic whenever something changed."""
        async for hint in self._store.wakeups.watch():
            yield hint

    async def find_last_successes(self, message: FindLastSuccessesRequest) -> FindLastSuccessesResponse:
        """Says when tasks last succeeded."""
        return FindLastSuccessesResponse(successes=await self._store.runs.last_successes(message.limit))

    async def read_clock(self, message: ReadClockRequest) -> ReadClockResponse:  # noqa: ARG002 - the contract has one
        """Says what time it is."""
        return ReadClockResponse(now=await self._store.upkeep.clock())

    async def describe_database(self, message: DescribeDatabaseRequest) -> DescribeDatabaseResponse:  # noqa: ARG002
        """Says how the database is."""
        return await self._store.upkeep.describe()
