"""The Task Definition Service on a real store."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from dts.domain.errors import AlreadyExists, Conflict, InvalidArgument, NotFound
from dts.pb.dts.v1 import (
    Backoff,
    CreateTaskRequest,
    Cron,
    DeleteTaskRequest,
    GetTaskRequest,
    Interval,
    Kind,
    ListTasksRequest,
    ListTaskVersionsRequest,
    NoopKind,
    OneShot,
    PauseTaskRequest,
    Policies,
    ProcessKind,
    ResumeTaskRequest,
    Rule,
    Schedule,
    Task,
    TaskSpec,
    UpdateTaskRequest,
)
from dts.roles.database.service import DatabaseService
from dts.roles.definition.service import DefinitionService
from dts.store.store import Store

NOOP = Kind(noop=NoopKind())
HOURLY = Schedule(rules=[Rule(every=Interval(period=timedelta(hours=1)))])


class Service(DefinitionService):
    """With a clock that can be set forward, and a name for the one who calls."""

    def __init__(self, store: DatabaseService) -> None:
        self.ahead = timedelta(0)
        self.caller = "ann"
        numbers = itertools.count(1)
        super().__init__(
            store,
            now=lambda: datetime.now(UTC) + self.ahead,
            rand=lambda _: next(numbers),
            actor=lambda: self.caller,
        )

    async def create(self, name: str = "backup", **fields: object) -> Task:
        request = CreateTaskRequest(spec=spec(name, **fields))
        return some((await self.create_task(request)).task)

    async def update(self, task: str, changed: TaskSpec, version: int = 0) -> Task:
        request = UpdateTaskRequest(task=task, spec=changed, expected_version=version)
        return some((await self.update_task(request)).task)

    async def get(self, task: str) -> Task:
        return some((await self.get_task(GetTaskRequest(task=task))).task)

    async def pause(self, task: str, note: str = "") -> Task:
        return some((await self.pause_task(PauseTaskRequest(task=task, note=note))).task)

    async def resume(self, task: str) -> Task:
        return some((await self.resume_task(ResumeTaskRequest(task=task))).task)

    async def delete(self, task: str, version: int = 0) -> Task:
        request = DeleteTaskRequest(task=task, expected_version=version)
        return some((await self.delete_task(request)).task)

    async def names(self, **query: object) -> list[str]:
        return [some(task.spec).name for task in (await self.list_tasks(ListTasksRequest(**query))).tasks]

    async def history(self, task: str) -> list[tuple[int, str, str, str]]:
        found = await self.list_task_versions(ListTaskVersionsRequest(task=task))
        return [(each.version, each.change, each.actor, each.note) for each in found.versions]


def some(value):
    assert value is not None
    return value


def spec(name: str = "backup", **fields: object) -> TaskSpec:
    return TaskSpec(**{"name": name, "kind": NOOP, "schedule": HOURLY, **fields})


@pytest.fixture
def service(database):
    return Service(DatabaseService(Store.on(database, rand=lambda: 0.5, monotonic=lambda: 0.0)))


async def fields_refused(call) -> dict[str, str]:
    """Codes by field."""
    with pytest.raises(InvalidArgument) as refused:
        await call
    assert all(violation.message for violation in refused.value.violations)
    return {violation.field: violation.code for violation in refused.value.violations}


async def test_what_is_created_can_be_read_by_name_and_by_id(service):
    before = datetime.now(UTC)
    task = await service.create(description="nightly", labels={"team": "ops"})
    assert UUID(task.id).version == 7
    assert (task.version, task.enabled, some(task.spec).labels) == (1, True, {"team": "ops"})
    assert before <= some(task.created_at) <= some(task.next_due_at)
    assert (await service.get("backup")).spec == spec(description="nightly", labels={"team": "ops"})
    assert (await service.get(task.id)).id == task.id


async def test_a_task_shows_each_policy_and_where_it_comes_from(service):
    await service.create(policies=Policies(retries=3, timeout=timedelta(minutes=2)))
    shown = {value.name: value for value in (await service.get_task(GetTaskRequest(task="backup"))).effective}
    assert (shown["retries"].value, shown["retries"].source) == ("3", "task")
    assert (shown["timeout"].value, shown["timeout"].source) == ("2m", "task")
    assert (shown["stop_grace"].value, shown["stop_grace"].source) == ("10s", "default")


async def test_what_may_surprise_is_said_and_stored_all_the_same(service):
    leap = Schedule(rules=[Rule(cron=Cron(expression="0 0 29 2 *"))])
    response = await service.create_task(CreateTaskRequest(spec=spec(schedule=leap)))
    assert [(notice.field, notice.code) for notice in response.warnings] == [("schedule", "schedule.surprising")]
    assert await service.names() == ["backup"]


async def test_everything_wrong_with_a_definition_is_named_and_nothing_is_stored(service, database):
    wrong = TaskSpec(
        name="Back Up",
        kind=Kind(process=ProcessKind(command=[])),
        schedule=Schedule(rules=[Rule(cron=Cron(expression="0 0 31 4 *"))]),
        policies=Policies(max_parallel=0, backoff=Backoff(factor=0.5)),
    )
    assert await fields_refused(service.create_task(CreateTaskRequest(spec=wrong))) == {
        "name": "name.invalid",
        "process.command": "command.empty",
        "schedule.rules[0].cron": "schedule.never_fires",
        "max_parallel": "policy.range",
        "backoff.factor": "policy.range",
    }
    assert set(await fields_refused(service.create_task(CreateTaskRequest()))) == {"name", "kind"}
    for table in ("task", "task_version", "task_cursor", "run"):
        assert await database.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_a_dry_run_checks_and_stores_nothing(service):
    request = CreateTaskRequest(spec=spec(), dry_run=True)
    assert some((await service.create_task(request)).task).spec == spec()
    assert await service.names() == []
    await service.create()
    with pytest.raises(AlreadyExists):
        await service.create_task(request)


async def test_a_name_that_is_taken_is_refused_and_leaves_the_first_as_it_was(service):
    first = await service.create(description="first")
    with pytest.raises(AlreadyExists) as refused:
        await service.create(description="second")
    assert refused.value.code == "task.exists"
    assert "backup" in refused.value.message
    assert await service.get("backup") == first


async def test_of_many_who_create_the_same_name_at_once_one_wins(service):
    outcomes = await asyncio.gather(*(service.create() for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(outcome, Task) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, AlreadyExists) for outcome in outcomes) == 7


async def test_a_deleted_name_can_be_taken_again_by_another_task(service):
    first = await service.create()
    gone = await service.delete("backup")
    assert (gone.id, some(gone.spec).name) == (first.id, "backup")
    with pytest.raises(NotFound):
        await service.get("backup")
    with pytest.raises(NotFound):
        await service.delete("backup")
    second = await service.create()
    assert second.id != first.id
    assert [change for _, change, _, _ in await service.history(first.id)] == ["delete", "create"]
    assert [change for _, change, _, _ in await service.history("backup")] == ["create"]


async def test_an_update_replaces_the_definition_and_makes_a_version(service):
    task = await service.create()
    changed = await service.update("backup", spec(description="new", labels={"a": "b"}), version=1)
    assert (changed.id, changed.version, some(changed.spec).description) == (task.id, 2, "new")
    assert await service.names(labels={"a": "b"}) == ["backup"]
    assert some(changed.updated_at) > some(task.updated_at)


async def test_an_update_that_changes_nothing_makes_no_version(service):
    task = await service.create(policies=Policies(retries=1))
    same = spec(policies=Policies(retries=1, backoff=Backoff()))
    assert await service.update("backup", same, version=1) == task
    assert len(await service.history("backup")) == 1
    with pytest.raises(Conflict):
        await service.update("backup", same, version=2)


async def test_an_update_of_another_version_is_refused(service):
    await service.create()
    await service.update("backup", spec(description="by one"), version=1)
    with pytest.raises(Conflict) as refused:
        await service.update("backup", spec(description="by another"), version=1)
    assert "version 2" in refused.value.message
    assert some((await service.get("backup")).spec).description == "by one"
    await service.update("backup", spec(description="whatever it is"))


async def test_of_many_who_update_the_same_version_at_once_one_wins(service):
    await service.create()
    updates = (service.update("backup", spec(description=str(n)), version=1) for n in range(8))
    outcomes = await asyncio.gather(*updates, return_exceptions=True)
    assert sum(isinstance(outcome, Task) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 7
    assert (await service.get("backup")).version == 2


async def test_a_task_is_renamed_by_its_definition_unless_the_name_is_taken(service):
    task = await service.create()
    await service.create("other")
    with pytest.raises(AlreadyExists):
        await service.update("backup", spec("other"))
    assert (await service.update("backup", spec("dump"))).id == task.id
    assert await service.names() == ["dump", "other"]
    with pytest.raises(NotFound):
        await service.get("backup")


async def test_a_dry_update_says_what_the_update_would_and_changes_nothing(service):
    task = await service.create()
    await service.create("other")

    async def dry(changed: TaskSpec, version: int = 0) -> Task:
        request = UpdateTaskRequest(task="backup", spec=changed, expected_version=version, dry_run=True)
        return some((await service.update_task(request)).task)

    assert (await dry(spec(description="x"))).spec == spec(description="x")
    assert (await dry(spec("dump"))).id == task.id
    with pytest.raises(AlreadyExists):
        await dry(spec("other"))
    with pytest.raises(Conflict):
        await dry(spec(description="x"), version=7)
    assert await service.get("backup") == task


async def test_a_wrong_update_leaves_the_task_as_it_was(service):
    task = await service.create()
    wrong = UpdateTaskRequest(task="backup", spec=spec(policies=Policies(retries=101)))
    assert await fields_refused(service.update_task(wrong)) == {"retries": "policy.range"}
    assert set(await fields_refused(service.update_task(UpdateTaskRequest(task="backup")))) == {"name", "kind"}
    negative = UpdateTaskRequest(task="backup", spec=spec(), expected_version=-1)
    assert set(await fields_refused(service.update_task(negative))) == {"expected_version"}
    assert await service.get("backup") == task


async def test_a_task_whose_one_shot_is_over_can_be_described_but_not_moved_into_the_past(service):
    soon = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    once = Schedule(rules=[Rule(at=OneShot(time=soon))])
    await service.create(schedule=once)
    service.ahead = timedelta(hours=1)
    changed = await service.update("backup", spec(schedule=once, description="was it"))
    assert some(changed.spec).description == "was it"
    passed = Schedule(rules=[Rule(at=OneShot(time=soon)), Rule(at=OneShot(time=soon))])
    assert set(await fields_refused(service.update_task(UpdateTaskRequest(task="backup", spec=spec(schedule=passed)))))


async def test_a_deletion_of_another_version_is_refused(service):
    await service.create()
    with pytest.raises(Conflict):
        await service.delete("backup", version=2)
    assert set(await fields_refused(service.delete_task(DeleteTaskRequest(task="backup", expected_version=-1))))
    assert await service.names() == ["backup"]
    await service.delete("backup", version=1)
    assert await service.names() == []


async def test_a_paused_task_says_who_paused_it_why_and_when(service):
    await service.create()
    service.caller = "bob"
    paused = await service.pause("backup", "disk is full\nuntil Monday")
    assert (paused.enabled, paused.pause_note, paused.paused_by) == (False, "disk is full\nuntil Monday", "bob")
    assert some(paused.paused_at) <= datetime.now(UTC)
    assert paused.next_due_at is None
    resumed = await service.resume("backup")
    assert (resumed.enabled, resumed.pause_note, resumed.paused_by, resumed.paused_at) == (True, "", "", None)
    assert resumed.next_due_at is not None


async def test_pausing_twice_changes_at_most_the_note(service):
    await service.create()
    paused = await service.pause("backup", "moving")
    assert await service.pause("backup", "moving") == paused
    assert await service.pause("backup") == paused
    noted = await service.pause("backup", "moved, testing")
    assert (noted.enabled, noted.pause_note, noted.version) == (False, "moved, testing", paused.version + 1)


async def test_resuming_twice_is_resuming_once(service):
    task = await service.create()
    assert await service.resume("backup") == task
    await service.pause("backup")
    resumed = await service.resume("backup")
    assert await service.resume("backup") == resumed


async def test_a_paused_task_stays_paused_when_it_is_changed(service):
    await service.create()
    await service.pause("backup", "moving")
    changed = await service.update("backup", spec(description="new"))
    assert (changed.enabled, changed.pause_note, changed.next_due_at) == (False, "moving", None)


async def test_versions_tell_what_was_done_by_whom_and_why_newest_first(service):
    task = await service.create()
    service.caller = "bob"
    await service.pause("backup", "moving")
    await service.resume("backup")
    service.caller = "ann"
    await service.update("backup", spec(description="new"))
    await service.delete("backup")
    told = [
        (5, "delete", "ann", ""),
        (4, "update", "ann", ""),
        (3, "resume", "bob", ""),
        (2, "pause", "bob", "moving"),
        (1, "create", "ann", ""),
    ]
    assert await service.history("backup") == told
    assert await service.history(task.id) == told
    versions = (await service.list_task_versions(ListTaskVersionsRequest(task=task.id))).versions
    assert [some(each.spec).description for each in versions] == ["new", "new", "", "", ""]


async def test_tasks_are_listed_by_name_in_pages(service):
    for name in ("c", "a", "b.1", "b.2", "b-3"):
        await service.create(name, labels={"team": "ops"} if name.startswith("b") else {})
    assert await service.names(name_prefix="b.") == ["b.1", "b.2"]
    assert sorted(await service.names(labels={"team": "ops"})) == ["b-3", "b.1", "b.2"]
    assert await service.names(labels={"team": "dev"}) == []
    seen: list[str] = []
    token = ""
    while True:
        page = await service.list_tasks(ListTasksRequest(page_size=2, page_token=token))
        assert len(page.tasks) <= 2
        seen += [some(task.spec).name for task in page.tasks]
        token = page.next_page_token
        if not token:
            break
    assert sorted(seen) == ["a", "b-3", "b.1", "b.2", "c"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"page_size": -1}, "page_size"),
        ({"page_size": 1001}, "page_size"),
        ({"page_token": "a\0"}, "page_token"),
        ({"page_token": "x" * 64}, "page_token"),
        ({"name_prefix": "a\0"}, "name_prefix"),
        ({"name_prefix": "\ud800"}, "name_prefix"),
        ({"name_prefix": "A"}, "name_prefix"),
        ({"labels": {"a": "\0"}}, "labels.a"),
        ({"labels": {"\0": "a"}}, "labels"),
        ({"labels": {"\ud800": "a"}}, "labels"),
        ({"labels": {str(n): "" for n in range(65)}}, "labels"),
    ],
)
async def test_a_query_that_means_nothing_is_refused_with_its_field(query, field, service):
    assert list(await fields_refused(service.list_tasks(ListTasksRequest(**query)))) == [field]


CALLS: dict[str, Callable[[Service, str], object]] = {
    "get": Service.get,
    "update": lambda service, key: service.update(key, spec()),
    "delete": Service.delete,
    "pause": Service.pause,
    "resume": Service.resume,
    "history": Service.history,
}


@pytest.mark.parametrize("call", CALLS)
async def test_a_key_that_names_nothing_is_refused_alike_everywhere(call, service):
    for key in ("gone", "Gone", "%", "a' OR 1=1", str(uuid4()), "x" * 63):
        with pytest.raises(NotFound) as missing:
            await CALLS[call](service, key)
        assert missing.value.code == "task.unknown"
    for key in ("", "x" * 64, "x" * 1_000_000, "a\0", "a\n", "ä", "\ud800"):
        assert await fields_refused(CALLS[call](service, key)) == {"task": "task.key"}


@pytest.mark.parametrize("note", ["x" * 501, "a\0", "\x1b[2J", "\ud800"])
async def test_a_note_that_is_no_short_text_is_refused(note, service):
    await service.create()
    assert await fields_refused(service.pause("backup", note)) == {"note": "text.length"}
    assert (await service.get("backup")).enabled
    await service.pause("backup", "ü" * 500)


async def test_ids_are_new_and_grow_with_time(service):
    ids = [(await service.create(f"t{n}")).id for n in range(3)]
    service.ahead = timedelta(seconds=1)
    later = (await service.create("later")).id
    assert len(set(ids)) == 3
    assert all(UUID(one) < UUID(later) for one in ids)


async def test_a_definition_of_almost_the_largest_size_is_stored_as_it_was_given(service):
    def large(letters: int) -> TaskSpec:
        return spec(kind=Kind(process=ProcessKind(command=["true", "é" * letters])))

    await service.create_task(CreateTaskRequest(spec=large(32_000)))
    assert (await service.get("backup")).spec == large(32_000)
    assert await fields_refused(service.create_task(CreateTaskRequest(spec=large(33_000)))) == {"spec": "spec.size"}
