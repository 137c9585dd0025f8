"""What the definition role needs from the database."""

from __future__ import annotations

from typing import Protocol

from dts.pb.dts.v1 import (
    FindTasksRequest,
    FindTasksResponse,
    FindTaskVersionsRequest,
    FindTaskVersionsResponse,
    PageTasksRequest,
    PageTasksResponse,
    SaveTasksRequest,
    SaveTasksResponse,
)


class TaskStore(Protocol):
    """The calls about definitions."""

    async def save_tasks(self, message: SaveTasksRequest, /) -> SaveTasksResponse: ...
    async def find_tasks(self, message: FindTasksRequest, /) -> FindTasksResponse: ...
    async def page_tasks(self, message: PageTasksRequest, /) -> PageTasksResponse: ...
    async def find_task_versions(self, message: FindTaskVersionsRequest, /) -> FindTaskVersionsResponse: ...
