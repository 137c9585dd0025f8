"""Task Definition Service: checks what people write, and keeps it."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from uuid import UUID

from dts.domain.errors import AlreadyExists, DeadlineExceeded, InvalidArgument, NotFound, Unavailable, Violation
from dts.domain.ids import uuid7
from dts.domain.policies import describe
from dts.domain.validate import SPEC_BYTES, check_task, is_name
from dts.pb.dts.v1 import (
    ApplyTasksRequest,
    ApplyTasksResponse,
    CreateTaskRequest,
    CreateTaskResponse,
    DeleteTaskRequest,
    DeleteTaskResponse,
    FindNodesRequest,
    FindTasksRequest,
    FindTaskVersionsRequest,
    GetTaskRequest,
    GetTaskResponse,
    ListTasksRequest,
    ListTasksResponse,
    ListTaskVersionsRequest,
    ListTaskVersionsResponse,
    PageTasksRequest,
    PauseTaskRequest,
    PauseTaskResponse,
    PreviewScheduleRequest,
    PreviewScheduleResponse,
    ResumeTaskRequest,
    ResumeTaskResponse,
    SaveTasksRequest,
    Task,
    TaskAction,
    TaskChange,
    TaskDefinitionServiceBase,
    TaskSpec,
    UpdateTaskRequest,
    UpdateTaskResponse,
)
from dts.roles.definition.applying import Wanted, placed, plan, same, warnings_of
from dts.roles.definition.checks import (
    check_key,
    check_limit,
    check_note,
    check_query,
    check_version,
    is_short,
    name_of,
    refuse,
)
from dts.roles.definition.ports import TaskStore
from dts.roles.definition.preview import preview

log = logging.getLogger(__name__)

APPLY_MAX = 1000
PAGE_BYTES = 8 * 1024 * 1024
PRUNE_PAGE = PAGE_BYTES // SPEC_BYTES
"""So many definitions fit into one message between roles, however large they are."""


class DefinitionService(TaskDefinitionServiceBase):
    """The only way to change a definition.

    Args:
        store: the database.
        now: the wall clock, for ids, previews and what lies in the past.
        rand: so many random bits.
        actor: who changes are attributed to.
    """

    def __init__(
        self,
        store: TaskStore,
        *,
        now: Callable[[], datetime],
        rand: Callable[[int], int],
        actor: Callable[[], str] = lambda: "operator",
    ) -> None:
        self._store = store
        self._now = now
        self._rand = rand
        self._actor = actor

    async def create_task(self, message: CreateTaskRequest) -> CreateTaskResponse:
        """Stores a new task."""
        wanted = await self._checked(message.spec)
        warnings = warnings_of(wanted.warnings)
        if message.dry_run:
            await self._refuse_taken(wanted.spec.name)
            return CreateTaskResponse(task=Task(spec=wanted.spec), warnings=warnings)
        change = TaskChange(action=TaskAction.CREATE, task_id=str(self._new_id()), spec=wanted.spec)
        return CreateTaskResponse(task=await self._save(change), warnings=warnings)

    async def get_task(self, message: GetTaskRequest) -> GetTaskResponse:
        """Gets a task by name or id."""
        task = await self._task(message.task, with_last_run=True)
        return GetTaskResponse(task=task, effective=describe(task.spec.policies if task.spec else None))

    async def list_tasks(self, message: ListTasksRequest) -> ListTasksResponse:
        """Lists tasks by name."""
        check_query(message)
        page = await self._store.page_tasks(PageTasksRequest(query=message, with_last_run=True))
        return ListTasksResponse(tasks=page.tasks, next_page_token=page.next_page_token)

    async def update_task(self, message: UpdateTaskRequest) -> UpdateTaskResponse:
        """Replaces a definition; one that is the same already makes no new version."""
        task = await self._task(message.task)
        wanted = await self._checked(message.spec, task.spec)
        check_version(task, message.expected_version)
        warnings = warnings_of(wanted.warnings)
        if same(task, wanted.spec):
            return UpdateTaskResponse(task=task, warnings=warnings)
        if message.dry_run:
            await self._refuse_taken(wanted.spec.name, unless=task.id)
            return UpdateTaskResponse(task=dataclasses.replace(task, spec=wanted.spec), warnings=warnings)
        change = TaskChange(
            action=TaskAction.UPDATE, task_id=task.id, spec=wanted.spec, expected_version=message.expected_version
        )
        return UpdateTaskResponse(task=await self._save(change), warnings=warnings)

    async def delete_task(self, message: DeleteTaskRequest) -> DeleteTaskResponse:
        """Deletes a task; what runs goes on."""
        task = await self._task(message.task)
        check_version(task, message.expected_version)
        change = TaskChange(action=TaskAction.DELETE, task_id=task.id, expected_version=message.expected_version)
        return DeleteTaskResponse(task=await self._save(change))

    async def pause_task(self, message: PauseTaskRequest) -> PauseTaskResponse:
        """Lets a task owe nothing until it is resumed; pausing it again changes at most the note."""
        check_note(message.note)
        task = await self._task(message.task)
        if not task.enabled and message.note in {"", task.pause_note}:
            return PauseTaskResponse(task=task)
        change = TaskChange(action=TaskAction.PAUSE, task_id=task.id, note=message.note)
        return PauseTaskResponse(task=await self._save(change))

    async def resume_task(self, message: ResumeTaskRequest) -> ResumeTaskResponse:
        """Lets a paused task go on."""
        task = await self._task(message.task)
        if task.enabled:
            return ResumeTaskResponse(task=task)
        return ResumeTaskResponse(task=await self._save(TaskChange(action=TaskAction.RESUME, task_id=task.id)))

    async def apply_tasks(self, message: ApplyTasksRequest) -> ApplyTasksResponse:
        """Makes the tasks be as given, all or none."""
        if len(message.specs) > APPLY_MAX:
            many = f"are {len(message.specs)}; at most {APPLY_MAX} are allowed"
            raise InvalidArgument.of("specs", "specs.many", many)
        if message.prune and not message.specs:
            # A file that came out empty by mistake must not delete everything.
            raise InvalidArgument.of(
                "specs", "specs.empty", "is empty: prune would delete every task; delete them by name"
            )
        present = await self._present(message.specs, everything=message.prune)
        wanted = await self._checked_all(message.specs, present)
        changes, told = plan(wanted, present, prune=message.prune, new_id=self._new_id)
        if changes and not message.dry_run:
            await self._store.save_tasks(SaveTasksRequest(changes=changes, actor=self._actor()))
        return ApplyTasksResponse(tasks=told)

    async def preview_schedule(self, message: PreviewScheduleRequest) -> PreviewScheduleResponse:
        """Says when a schedule is due. In a thread: the worst schedules take the better part of a second."""
        task = await self._task(message.task) if message.task else None
        return await asyncio.to_thread(preview, message, task, now=self._now())

    async def list_task_versions(self, message: ListTaskVersionsRequest) -> ListTaskVersionsResponse:
        """Lists the versions of a task, newest first."""
        check_limit(message.limit)
        task = await self._task(message.task, deleted=True)
        request = FindTaskVersionsRequest(task_id=task.id, limit=message.limit)
        found = await self._store.find_task_versions(request)
        return ListTaskVersionsResponse(versions=found.versions)

    async def _checked(self, spec: TaskSpec | None, before: TaskSpec | None = None) -> Wanted:
        spec, violations, warnings = check_task(spec or TaskSpec(), now=self._now(), before=before)
        refuse(violations)
        [wanted] = await self._placed([Wanted(spec, warnings)])
        return wanted

    async def _placed(self, wanted: list[Wanted]) -> list[Wanted]:
        """With warnings of what no node could take; where nobody knows of nodes, there is nothing to warn of."""
        try:
            nodes = (await self._store.find_nodes(FindNodesRequest())).nodes
        except (Unavailable, DeadlineExceeded) as error:
            log.info("whether a node could take it is not known: %s", error)
            return wanted
        return await placed(wanted, nodes)

    async def _checked_all(self, specs: list[TaskSpec], present: Mapping[str, Task]) -> list[Wanted]:
        """Every definition; what is wrong with any of them is said at once."""
        wrong: list[Violation] = []
        wanted: list[Wanted] = []
        names: set[str] = set()
        for number, given in enumerate(specs):
            known = present.get(given.name)
            spec, violations, warnings = check_task(given, now=self._now(), before=known.spec if known else None)
            place = f"tasks[{spec.name if is_short(spec.name) else number}]"
            wrong += [Violation(f"{place}.{each.field}", each.code, each.message) for each in violations]
            if spec.name in names:
                wrong.append(Violation(f"{place}.name", "name.twice", "is given twice"))
            names.add(spec.name)
            wanted.append(Wanted(spec, warnings))
            await asyncio.sleep(0)  # a thousand definitions must not keep everybody else waiting
        refuse(wrong)
        return await self._placed(wanted)

    async def _present(self, specs: list[TaskSpec], *, everything: bool) -> dict[str, Task]:
        """The stored tasks that matter, by name."""
        if everything:
            return {name_of(task): task async for task in self._all()}
        names = [spec.name for spec in specs if is_name(spec.name)]
        found = await self._store.find_tasks(FindTasksRequest(tasks=names))
        return {name_of(task): task for task in found.tasks}

    async def _all(self) -> AsyncIterator[Task]:
        token = ""
        while True:
            query = ListTasksRequest(page_size=PRUNE_PAGE, page_token=token)
            page = await self._store.page_tasks(PageTasksRequest(query=query))
            for task in page.tasks:
                yield task
            token = page.next_page_token
            if not token:
                return

    async def _task(self, key: str, *, with_last_run: bool = False, deleted: bool = False) -> Task:
        check_key(key)
        request = FindTasksRequest(tasks=[key], with_last_run=with_last_run, deleted=deleted)
        found = await self._store.find_tasks(request)
        if not found.tasks:
            raise NotFound(f"no task named {key!r}", code="task.unknown")
        return found.tasks[0]

    async def _refuse_taken(self, name: str, *, unless: str = "") -> None:
        """What storing it would say; only the store can say it for certain."""
        found = await self._store.find_tasks(FindTasksRequest(tasks=[name]))
        if any(task.id != unless for task in found.tasks):
            raise AlreadyExists(f"a task named {name} exists already", code="task.exists")

    async def _save(self, change: TaskChange) -> Task:
        saved = await self._store.save_tasks(SaveTasksRequest(changes=[change], actor=self._actor()))
        return saved.tasks[0]

    def _new_id(self) -> UUID:
        return uuid7(self._now(), self._rand(80))
