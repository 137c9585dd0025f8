"""Task Definition Service: checks what people write, and keeps it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from dts.domain.errors import InvalidArgument, NotFound, Violation
from dts.domain.ids import uuid7
from dts.domain.policies import describe
from dts.domain.validate import check_task
from dts.domain.validate_text import text_trouble
from dts.pb.dts.v1 import (
    ApplyTasksRequest,
    ApplyTasksResponse,
    CreateTaskRequest,
    CreateTaskResponse,
    DeleteTaskRequest,
    DeleteTaskResponse,
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
from dts.roles.definition.applying import Wanted, plan, warnings_of
from dts.roles.definition.ports import TaskStore
from dts.roles.definition.preview import preview

KEY_LENGTH = 63
NOTE_LENGTH = 500
APPLY_MAX = 1000
PAGE_MAX = 1000


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
        wanted = self._checked(message.spec)
        if message.dry_run:
            return CreateTaskResponse(task=Task(spec=wanted.spec), warnings=warnings_of(wanted.warnings))
        change = TaskChange(action=TaskAction.CREATE, task_id=str(self._new_id()), spec=wanted.spec)
        return CreateTaskResponse(task=await self._save(change), warnings=warnings_of(wanted.warnings))

    async def get_task(self, message: GetTaskRequest) -> GetTaskResponse:
        """Gets a task by name or id."""
        task = await self._task(message.task, with_last_run=True)
        return GetTaskResponse(task=task, effective=describe(task.spec.policies if task.spec else None))

    async def list_tasks(self, message: ListTasksRequest) -> ListTasksResponse:
        """Lists tasks by name."""
        if not 0 <= message.page_size <= PAGE_MAX:
            raise InvalidArgument.of("page_size", "page_size.range", f"is between 1 and {PAGE_MAX}; 0 means 100")
        page = await self._store.page_tasks(PageTasksRequest(query=message, with_last_run=True))
        return ListTasksResponse(tasks=page.tasks, next_page_token=page.next_page_token)

    async def update_task(self, message: UpdateTaskRequest) -> UpdateTaskResponse:
        """Replaces a definition."""
        wanted = self._checked(message.spec)
        task = await self._task(message.task)
        if message.dry_run:
            return UpdateTaskResponse(task=Task(id=task.id, spec=wanted.spec), warnings=warnings_of(wanted.warnings))
        change = TaskChange(
            action=TaskAction.UPDATE, task_id=task.id, spec=wanted.spec, expected_version=message.expected_version
        )
        return UpdateTaskResponse(task=await self._save(change), warnings=warnings_of(wanted.warnings))

    async def delete_task(self, message: DeleteTaskRequest) -> DeleteTaskResponse:
        """Deletes a task; what runs goes on."""
        task = await self._task(message.task)
        change = TaskChange(action=TaskAction.DELETE, task_id=task.id, expected_version=message.expected_version)
        return DeleteTaskResponse(task=await self._save(change))

    async def pause_task(self, message: PauseTaskRequest) -> PauseTaskResponse:
        """Lets a task owe nothing until it is resumed."""
        if text_trouble(message.note) or len(message.note) > NOTE_LENGTH:
            raise InvalidArgument.of("note", "text.length", f"is text of at most {NOTE_LENGTH} characters")
        task = await self._task(message.task)
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
        wanted = self._checked_all(message.specs)
        present = await self._present(wanted, everything=message.prune)
        changes, told = plan(wanted, present, prune=message.prune, new_id=self._new_id)
        if changes and not message.dry_run:
            await self._store.save_tasks(SaveTasksRequest(changes=changes, actor=self._actor()))
        return ApplyTasksResponse(tasks=told)

    async def preview_schedule(self, message: PreviewScheduleRequest) -> PreviewScheduleResponse:
        """Says when a schedule is due."""
        task = await self._task(message.task) if message.task else None
        return preview(message, task, now=self._now())

    async def list_task_versions(self, message: ListTaskVersionsRequest) -> ListTaskVersionsResponse:
        """Lists the versions of a task, newest first."""
        task = await self._task(message.task, deleted=True)
        found = await self._store.find_task_versions(FindTaskVersionsRequest(task_id=task.id))
        return ListTaskVersionsResponse(versions=found.versions)

    def _checked(self, spec: TaskSpec | None) -> Wanted:
        spec, violations, warnings = check_task(spec or TaskSpec(), now=self._now())
        if violations:
            raise InvalidArgument(violations)
        return Wanted(spec, warnings)

    def _checked_all(self, specs: list[TaskSpec]) -> list[Wanted]:
        """Every definition; what is wrong with any of them is said at once."""
        if len(specs) > APPLY_MAX:
            raise InvalidArgument.of("specs", "specs.many", f"are {len(specs)}; at most {APPLY_MAX} are allowed")
        wrong: list[Violation] = []
        wanted: list[Wanted] = []
        names: set[str] = set()
        for number, given in enumerate(specs):
            spec, violations, warnings = check_task(given, now=self._now())
            place = f"tasks[{spec.name if _is_short(spec.name) else number}]"
            wrong += [Violation(f"{place}.{each.field}", each.code, each.message) for each in violations]
            if spec.name in names:
                wrong.append(Violation(f"{place}.name", "name.twice", "is given twice"))
            names.add(spec.name)
            wanted.append(Wanted(spec, warnings))
        if wrong:
            raise InvalidArgument(wrong)
        return wanted

    async def _present(self, wanted: list[Wanted], *, everything: bool) -> dict[str, Task]:
        if not everything:
            found = await self._store.find_tasks(FindTasksRequest(tasks=[item.spec.name for item in wanted]))
            return {task.spec.name: task for task in found.tasks if task.spec}
        tasks: dict[str, Task] = {}
        token = ""
        while True:
            page = await self._store.page_tasks(
                PageTasksRequest(query=ListTasksRequest(page_size=PAGE_MAX, page_token=token))
            )
            tasks |= {task.spec.name: task for task in page.tasks if task.spec}
            token = page.next_page_token
            if not token:
                return tasks

    async def _task(self, key: str, *, with_last_run: bool = False, deleted: bool = False) -> Task:
        if not 0 < len(key) <= KEY_LENGTH or not key.isprintable() or not key.isascii():
            raise InvalidArgument.of("task", "task.key", f"is a name or id: 1 to {KEY_LENGTH} characters")
        found = await self._store.find_tasks(
            FindTasksRequest(tasks=[key], with_last_run=with_last_run, deleted=deleted)
        )
        if not found.tasks:
            raise NotFound(f"no task named {key!r}", code="task.unknown")
        return found.tasks[0]

    async def _save(self, change: TaskChange) -> Task:
        saved = await self._store.save_tasks(SaveTasksRequest(changes=[change], actor=self._actor()))
        return saved.tasks[0]

    def _new_id(self) -> UUID:
        return uuid7(self._now(), self._rand(80))


def _is_short(name: str) -> bool:
    return 0 < len(name) <= KEY_LENGTH and name.isprintable() and name.isascii()
