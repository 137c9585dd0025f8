"""What the definition role needs from the database."""

from __future__ import annotations

from typing import Protocol

from dts.pb.dts.v1 import (
    AllTokensRequest,
    AllTokensResponse,
    EndTokenRequest,
    EndTokenResponse,
    FindNodesRequest,
    FindNodesResponse,
    FindTasksRequest,
    FindTasksResponse,
    FindTaskVersionsRequest,
    FindTaskVersionsResponse,
    PageTasksRequest,
    PageTasksResponse,
    SaveTasksRequest,
    SaveTasksResponse,
    StoreTokenRequest,
    StoreTokenResponse,
)


class TaskStore(Protocol):
    """The calls about definitions, and about the nodes that they are for."""

    async def save_tasks(self, message: SaveTasksRequest, /) -> SaveTasksResponse: ...
    async def find_tasks(self, message: FindTasksRequest, /) -> FindTasksResponse: ...
    async def page_tasks(self, message: PageTasksRequest, /) -> PageTasksResponse: ...
    async def find_task_versions(self, message: FindTaskVersionsRequest, /) -> FindTaskVersionsResponse: ...
    async def find_nodes(self, message: FindNodesRequest, /) -> FindNodesResponse: ...


class TokenStore(Protocol):
    """The calls about access tokens."""

    async def store_token(self, message: StoreTokenRequest, /) -> StoreTokenResponse: ...
    async def all_tokens(self, message: AllTokensRequest, /) -> AllTokensResponse: ...
    async def end_token(self, message: EndTokenRequest, /) -> EndTokenResponse: ...
