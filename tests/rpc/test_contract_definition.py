"""Task Definition Service, over both transports."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from contract import Cases, methods, reached, refusal

from dts.domain import errors
from dts.pb.dts.v1 import (
    AppliedChange,
    ApplyTasksRequest,
    CreateTaskRequest,
    Cron,
    DeleteTaskRequest,
    GetTaskRequest,
    Interval,
    Kind,
    ListTasksRequest,
    ListTaskVersionsRequest,
    PageTasksRequest,
    PauseTaskRequest,
    Policies,
    PreviewScheduleRequest,
    ProcessKind,
    ResumeTaskRequest,
    Rule,
    RunState,
    Schedule,
    TaskDefinitionServiceBase,
    TaskDefinitionServiceStub,
    TaskSpec,
    UpdateTaskRequest,
)
from dts.roles.database.service import DatabaseService
from dts.roles.definition.service import DefinitionService
from dts.rpc.direct import in_process
from dts.runtime import clock
from support.ledger import Ledger

case = Cases()


@pytest.fixture
def world(database):
    """Makes the state that a case needs, past the transport."""
    return Ledger.on(database)


@pytest.fixture
async def tasks(transport, world):
    store = in_process(DatabaseService(world.store))
    service = DefinitionService(store=store, now=clock.now, rand=clock.random_bits, actor=lambda: "ann")
    async with reached(transport, TaskDefinitionServiceBase, TaskDefinitionServiceStub, service) as contract:
        yield contract


@pytest.mark.parametrize("method", methods(TaskDefinitionServiceBase))
async def test_every_call_about_definitions_keeps_its_contract(method, tasks, world):
    await case[method](tasks, world)
    assert tasks.was_called(method)


def test_no_case_is_left_over():
    assert set(case) == set(methods(TaskDefinitionServiceBase))


def spec(name="backup", *, minutes=5, **fields):
    schedule = Schedule(rules=[Rule(every=Interval(period=timedelta(minutes=minutes)))])
    kind = Kind(process=ProcessKind(command=["backup", "ä"], env={"LEVEL": "3"}))
    return TaskSpec(name=name, schedule=schedule, kind=kind, **fields)


def cron(text, **fields):
    return Schedule(rules=[Rule(cron=Cron(expression=text))], **fields)


@case
async def create_task(tasks, world):
    policies = Policies(timeout=timedelta(seconds=1.5), max_parallel=2)
    request = CreateTaskRequest(spec=spec(policies=policies, labels={"team": "ops"}), dry_run=True)
    assert (await tasks.create_task(request)).task.id == ""
    assert (await world.store.tasks.page(_all())).tasks == []
    made = (await tasks.create_task(CreateTaskRequest(spec=request.spec))).task
    assert (made.version, made.enabled, made.spec.labels) == (1, True, {"team": "ops"})
    assert (made.spec.policies.timeout, made.spec.policies.max_parallel) == (timedelta(seconds=1.5), 2)
    odd = CreateTaskRequest(spec=spec("odd", minutes=7))
    odd.spec.schedule = cron("*/7 * * * *")
    assert all(warning.field and warning.code for warning in (await tasks.create_task(odd)).warnings)


def _all():
    return PageTasksRequest()


@case
async def get_task(tasks, world):
    task_id = (await tasks.create_task(CreateTaskRequest(spec=spec()))).task.id
    await world.trigger(task_id)
    for key in ("backup", task_id):
        found = await tasks.get_task(GetTaskRequest(task=key))
        assert (found.task.id, found.task.last_run.state) == (task_id, RunState.PENDING)
        assert {"default"} == {value.source for value in found.effective}


@case
async def list_tasks(tasks, world):  # noqa: ARG001 - every case is given the same
    specs = [spec("a"), spec("b", labels={"team": "ops"}), spec("c", labels={"team": "ops"})]
    await tasks.apply_tasks(ApplyTasksRequest(specs=specs))
    request = ListTasksRequest(page_size=1, labels={"team": "ops"})
    page = await tasks.list_tasks(request)
    request.page_token = page.next_page_token
    rest = await tasks.list_tasks(request)
    assert [task.spec.name for task in page.tasks + rest.tasks] == ["b", "c"]
    assert rest.next_page_token == ""
    await tasks.pause_task(PauseTaskRequest(task="c"))
    for query, names in {"b": ["b"], "": ["a", "b"]}.items():
        found = await tasks.list_tasks(ListTasksRequest(name_part=query, enabled=True))
        assert [task.spec.name for task in found.tasks] == names
    assert [task.spec.name for task in (await tasks.list_tasks(ListTasksRequest(enabled=False))).tasks] == ["c"]


@case
async def update_task(tasks, world):  # noqa: ARG001
    await tasks.create_task(CreateTaskRequest(spec=spec()))
    renamed = UpdateTaskRequest(task="backup", spec=spec("dump"), expected_version=1)
    updated = (await tasks.update_task(renamed)).task
    assert (updated.version, updated.spec.name) == (2, "dump")
    stale = UpdateTaskRequest(task="dump", spec=spec("dump"), expected_version=1)
    assert isinstance(await refusal(tasks, "update_task", stale), errors.Conflict)


@case
async def delete_task(tasks, world):  # noqa: ARG001
    await tasks.create_task(CreateTaskRequest(spec=spec()))
    gone = (await tasks.delete_task(DeleteTaskRequest(task="backup"))).task
    assert gone.spec.name == "backup"
    assert isinstance(await refusal(tasks, "get_task", GetTaskRequest(task="backup")), errors.NotFound)


@case
async def pause_task(tasks, world):  # noqa: ARG001
    await tasks.create_task(CreateTaskRequest(spec=spec()))
    paused = (await tasks.pause_task(PauseTaskRequest(task="backup", note="moving"))).task
    assert (paused.enabled, paused.pause_note, paused.paused_by) == (False, "moving", "ann")
    assert paused.paused_at is not None


@case
async def resume_task(tasks, world):  # noqa: ARG001
    await tasks.create_task(CreateTaskRequest(spec=spec()))
    await tasks.pause_task(PauseTaskRequest(task="backup"))
    for _ in range(2):
        resumed = (await tasks.resume_task(ResumeTaskRequest(task="backup"))).task
        assert (resumed.enabled, resumed.paused_at) == (True, None)


@case
async def apply_tasks(tasks, world):  # noqa: ARG001
    await tasks.apply_tasks(ApplyTasksRequest(specs=[spec("kept"), spec("changed"), spec("dropped")]))
    wanted = ApplyTasksRequest(specs=[spec("kept"), spec("changed", minutes=9), spec("new")], prune=True, dry_run=True)
    foretold = await tasks.apply_tasks(wanted)
    wanted.dry_run = False
    done = await tasks.apply_tasks(wanted)
    assert {task.name: task.change for task in done.tasks} == {
        "kept": AppliedChange.UNCHANGED,
        "changed": AppliedChange.UPDATED,
        "new": AppliedChange.CREATED,
        "dropped": AppliedChange.DELETED,
    }
    assert [task.change for task in foretold.tasks] == [task.change for task in done.tasks]
    before = next(task.before for task in done.tasks if task.name == "changed")
    assert before.schedule.rules[0].every.period == timedelta(minutes=5)


@case
async def preview_schedule(tasks, world):  # noqa: ARG001
    request = PreviewScheduleRequest(
        schedule=cron("30 2 * * *", timezone="Europe/Berlin"), count=3, after=datetime(2026, 3, 27, tzinfo=UTC)
    )
    answer = await tasks.preview_schedule(request)
    assert len(answer.ticks) == 3
    assert answer.ticks[0].local_time == "2026-03-27T02:30:00+01:00"
    assert (answer.clock_changes[0].offset_before, answer.clock_changes[0].offset_after) == (3600, 7200)
    await tasks.create_task(CreateTaskRequest(spec=spec()))
    of_task = await tasks.preview_schedule(PreviewScheduleRequest(task="backup"))
    assert len(of_task.ticks) == 10


@case
async def list_task_versions(tasks, world):  # noqa: ARG001
    await tasks.create_task(CreateTaskRequest(spec=spec()))
    await tasks.delete_task(DeleteTaskRequest(task="backup"))
    versions = (await tasks.list_task_versions(ListTaskVersionsRequest(task="backup"))).versions
    assert [version.change for version in versions] == ["delete", "create"]
    assert {version.actor for version in versions} == {"ann"}
    request = ListTaskVersionsRequest(task="backup", limit=1)
    assert (await tasks.list_task_versions(request)).versions == versions[:1]


REFUSED = {
    "a task of nothing": ("create_task", CreateTaskRequest(), errors.InvalidArgument),
    "several things at once": (
        "create_task",
        CreateTaskRequest(spec=TaskSpec(name="Not A Name", schedule=cron("61 * * * *", timezone="Nowhere/There"))),
        errors.InvalidArgument,
    ),
    "a name that is taken": ("create_task", CreateTaskRequest(spec=spec("saved")), errors.AlreadyExists),
    "a name that another has": (
        "update_task",
        UpdateTaskRequest(task="other", spec=spec("saved")),
        errors.AlreadyExists,
    ),
    "another version than expected": (
        "delete_task",
        DeleteTaskRequest(task="saved", expected_version=4),
        errors.Conflict,
    ),
    "an update to nothing": ("update_task", UpdateTaskRequest(task="saved"), errors.InvalidArgument),
    "no key": ("get_task", GetTaskRequest(), errors.InvalidArgument),
    "a key that is too long": ("get_task", GetTaskRequest(task="x" * 64), errors.InvalidArgument),
    "a task that is not there": ("get_task", GetTaskRequest(task="gone"), errors.NotFound),
    "a pause of what is not there": ("pause_task", PauseTaskRequest(task="gone"), errors.NotFound),
    "a resumption of what is not there": ("resume_task", ResumeTaskRequest(task="gone"), errors.NotFound),
    "a deletion of what is not there": ("delete_task", DeleteTaskRequest(task="gone"), errors.NotFound),
    "versions of what is not there": ("list_task_versions", ListTaskVersionsRequest(task="gone"), errors.NotFound),
    "a note that is too long": ("pause_task", PauseTaskRequest(task="saved", note="x" * 501), errors.InvalidArgument),
    "a note with a NUL": ("pause_task", PauseTaskRequest(task="saved", note="x\0"), errors.InvalidArgument),
    "versions of less than nothing": (
        "list_task_versions",
        ListTaskVersionsRequest(task="saved", limit=-1),
        errors.InvalidArgument,
    ),
    "a part of no name": ("list_tasks", ListTasksRequest(name_part="A B"), errors.InvalidArgument),
    "a page that is too large": ("list_tasks", ListTasksRequest(page_size=1001), errors.InvalidArgument),
    "a page of less than nothing": ("list_tasks", ListTasksRequest(page_size=-1), errors.InvalidArgument),
    "the same name twice": (
        "apply_tasks",
        ApplyTasksRequest(specs=[spec("twin"), spec("twin")]),
        errors.InvalidArgument,
    ),
    "one wrong among many": (
        "apply_tasks",
        ApplyTasksRequest(specs=[spec("good"), TaskSpec(name="bad")]),
        errors.InvalidArgument,
    ),
    "a preview of nothing": ("preview_schedule", PreviewScheduleRequest(), errors.InvalidArgument),
    "a preview without end": (
        "preview_schedule",
        PreviewScheduleRequest(schedule=cron("* * * * *"), count=1001),
        errors.InvalidArgument,
    ),
    "a preview of less than nothing": (
        "preview_schedule",
        PreviewScheduleRequest(schedule=cron("* * * * *"), count=-1),
        errors.InvalidArgument,
    ),
    "a preview of what never is": (
        "preview_schedule",
        PreviewScheduleRequest(schedule=cron("0 0 30 2 *")),
        errors.InvalidArgument,
    ),
    "a preview of what is not there": ("preview_schedule", PreviewScheduleRequest(task="gone"), errors.NotFound),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_is_refused_about_definitions_is_refused_alike(what, tasks):
    await tasks.apply_tasks(ApplyTasksRequest(specs=[spec("saved"), spec("other")]))
    method, request, kind = REFUSED[what]
    error = await refusal(tasks, method, request)
    assert type(error) is kind
    assert (kind is errors.InvalidArgument) == bool(getattr(error, "violations", ()))


async def test_a_preview_from_the_first_day_is_answered(tasks):
    request = PreviewScheduleRequest(schedule=cron("0 0 * * *"), after=datetime(1, 1, 1, tzinfo=UTC))
    assert len((await tasks.preview_schedule(request)).ticks) == 10


async def test_a_preview_of_the_last_day_is_answered_or_refused(tasks):
    schedule = cron("0 0 * * *", timezone="Pacific/Kiritimati")
    with suppress(errors.InvalidArgument):
        await tasks.preview_schedule(
            PreviewScheduleRequest(schedule=schedule, after=datetime(9999, 12, 31, 23, 59, tzinfo=UTC))
        )
