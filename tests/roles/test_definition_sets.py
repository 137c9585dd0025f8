"""Sets of definitions that are applied together, and previews, on a real store."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from dts.domain.errors import AlreadyExists, Conflict, DeadlineExceeded, InvalidArgument, NotFound, Unavailable
from dts.pb.dts.v1 import (
    AppliedChange,
    ApplyTasksRequest,
    ApplyTasksResponse,
    CreateTaskRequest,
    Cron,
    DateRange,
    DeleteTaskRequest,
    FindNodesRequest,
    FindNodesResponse,
    FindTasksRequest,
    FindTasksResponse,
    Interval,
    Kind,
    ListTasksRequest,
    NoopKind,
    OneShot,
    PauseTaskRequest,
    Policies,
    PreviewScheduleRequest,
    PreviewScheduleResponse,
    ProcessKind,
    Rule,
    SaveTasksRequest,
    SaveTasksResponse,
    Schedule,
    TaskSpec,
)
from dts.roles.database.service import DatabaseService
from dts.roles.definition.service import APPLY_MAX, PRUNE_PAGE, DefinitionService
from dts.store.store import Store

NOOP = Kind(noop=NoopKind())
NOW = datetime(2026, 3, 27, 12, 0, tzinfo=UTC)
CREATED, UPDATED = AppliedChange.CREATED, AppliedChange.UPDATED
UNCHANGED, DELETED = AppliedChange.UNCHANGED, AppliedChange.DELETED


def spec(name: str, **fields: object) -> TaskSpec:
    return TaskSpec(**{"name": name, "kind": NOOP, **fields})


def cron(text: str, **fields: object) -> Schedule:
    return Schedule(rules=[Rule(cron=Cron(expression=text))], **fields)


@pytest.fixture
def store(database):
    return DatabaseService(Store.on(database, rand=lambda: 0.5, monotonic=lambda: 0.0))


@pytest.fixture
def service(store):
    return service_on(store)


def service_on(store, now: datetime = NOW) -> DefinitionService:
    return DefinitionService(store, now=lambda: now, rand=secrets.randbits)


async def apply(service: DefinitionService, *specs: TaskSpec, **options: bool) -> ApplyTasksResponse:
    return await service.apply_tasks(ApplyTasksRequest(specs=list(specs), **options))


def told(response: ApplyTasksResponse) -> list[tuple[str, AppliedChange]]:
    return [(task.name, task.change) for task in response.tasks]


async def names(service: DefinitionService) -> list[str]:
    page = await service.list_tasks(ListTasksRequest(page_size=1000))
    return [task.spec.name for task in page.tasks if task.spec]


async def refused(call) -> dict[str, str]:
    with pytest.raises(InvalidArgument) as error:
        await call
    return {violation.field: violation.code for violation in error.value.violations}


async def test_applying_makes_the_tasks_be_as_given_and_says_what_it_did(service):
    assert told(await apply(service, spec("a"), spec("b"))) == [("a", CREATED), ("b", CREATED)]
    response = await apply(service, spec("c"), spec("b", description="new"), spec("a"))
    assert told(response) == [("c", CREATED), ("b", UPDATED), ("a", UNCHANGED)]
    assert [task.before for task in response.tasks] == [None, spec("b"), spec("a")]
    assert await names(service) == ["a", "b", "c"]


async def test_applying_the_same_again_changes_nothing(service, database):
    wanted = [spec("a", policies=Policies(retries=0)), spec("b", policies=Policies(), description="e\u0301")]
    await apply(service, *wanted)
    assert told(await apply(service, *wanted, prune=True)) == [("a", UNCHANGED), ("b", UNCHANGED)]
    assert await database.fetchval("SELECT count(*) FROM task_version") == 2


async def test_only_pruning_deletes_what_is_not_given(service):
    await apply(service, spec("a"), spec("b"), spec("c"))
    assert told(await apply(service, spec("b"))) == [("b", UNCHANGED)]
    assert await names(service) == ["a", "b", "c"]
    response = await apply(service, spec("b"), prune=True)
    assert told(response) == [("b", UNCHANGED), ("a", DELETED), ("c", DELETED)]
    assert response.tasks[1].before == spec("a")
    assert await names(service) == ["b"]


async def test_pruning_sees_every_page_of_tasks(service):
    await apply(service, *(spec(f"t{n}") for n in range(PRUNE_PAGE + 3)))
    response = await apply(service, spec("t7"), prune=True)
    assert sum(change is DELETED for _, change in told(response)) == PRUNE_PAGE + 2
    assert await names(service) == ["t7"]


async def test_a_dry_run_says_the_same_and_stores_nothing(service):
    await apply(service, spec("a"), spec("b"))
    wanted = [spec("a", description="new"), spec("c")]
    foretold = await apply(service, *wanted, prune=True, dry_run=True)
    assert told(foretold) == [("a", UPDATED), ("c", CREATED), ("b", DELETED)]
    assert await names(service) == ["a", "b"]
    assert await apply(service, *wanted, prune=True) == foretold


async def test_one_wrong_definition_among_many_stores_none_and_is_named(service):
    await apply(service, spec("a"))
    many = [spec("b"), spec("c", policies=Policies(retries=-1)), TaskSpec(name="d"), TaskSpec(name="Not\nA Name")]
    assert await refused(apply(service, *many, prune=True)) == {
        "tasks[c].retries": "policy.range",
        "tasks[d].kind": "kind.missing",
        "tasks[3].name": "name.invalid",
        "tasks[3].kind": "kind.missing",
    }
    assert await refused(apply(service, TaskSpec(name="\ud800", kind=NOOP))) == {"tasks[0].name": "name.invalid"}
    assert await names(service) == ["a"]


async def test_a_name_that_is_given_twice_is_refused(service):
    assert await refused(apply(service, spec("a"), spec("b"), spec("a"))) == {"tasks[a].name": "name.twice"}
    assert await names(service) == []


async def test_a_set_has_a_size(service):
    most = [spec(f"t{n}") for n in range(APPLY_MAX)]
    assert len((await apply(service, *most, dry_run=True)).tasks) == APPLY_MAX
    assert await refused(apply(service, *most, spec("x"), dry_run=True)) == {"specs": "specs.many"}


async def test_what_may_surprise_is_said_for_each_task(service):
    response = await apply(service, spec("a"), spec("leap", schedule=cron("0 0 29 2 *")))
    assert [[notice.code for notice in task.warnings] for task in response.tasks] == [[], ["schedule.surprising"]]


async def test_a_paused_task_stays_paused_when_it_is_applied(service):
    await apply(service, spec("a"))
    await service.pause_task(PauseTaskRequest(task="a", note="moving"))
    assert told(await apply(service, spec("a"))) == [("a", UNCHANGED)]
    await apply(service, spec("a", description="new"))
    page = await service.list_tasks(ListTasksRequest())
    assert [(task.enabled, task.pause_note) for task in page.tasks] == [(False, "moving")]


async def test_a_file_with_a_one_shot_can_be_applied_again_when_it_is_over(store):
    once = spec("once", schedule=Schedule(rules=[Rule(at=OneShot(time="2026-03-28T00:00:00Z"))]))
    await apply(service_on(store), once)
    later = service_on(store, NOW + timedelta(days=30))
    assert told(await apply(later, once, spec("new"), prune=True)) == [("once", UNCHANGED), ("new", CREATED)]


class Interrupted:
    """A store on which somebody else is quicker: between the look and the change."""

    def __init__(self, store: DatabaseService, interruption: Callable[[], Awaitable[object]]) -> None:
        self._store = store
        self._interruption = interruption

    async def find_tasks(self, message: FindTasksRequest) -> FindTasksResponse:
        found = await self._store.find_tasks(message)
        await self._interruption()
        return found

    async def save_tasks(self, message: SaveTasksRequest) -> SaveTasksResponse:
        return await self._store.save_tasks(message)

    async def find_nodes(self, message: FindNodesRequest) -> FindNodesResponse:
        return await self._store.find_nodes(message)


class Nodeless(Interrupted):
    """Does not answer who is there."""

    async def find_nodes(self, message: FindNodesRequest) -> FindNodesResponse:
        await self._interruption()
        return await super().find_nodes(message)


@pytest.mark.parametrize("error", [Unavailable("it is away"), DeadlineExceeded("it takes long")], ids=["away", "slow"])
async def test_a_task_is_stored_although_nobody_knows_which_nodes_there_are(error, store):
    async def fail() -> None:
        raise error

    blind = service_on(Nodeless(store, fail))
    created = await blind.create_task(CreateTaskRequest(spec=spec("a")))
    assert (created.task.spec.name, created.warnings) == ("a", [])


MEANWHILE = {
    "changed": (lambda service: apply(service, spec("b", description="theirs")), Conflict),
    "deleted": (lambda service: service.delete_task(DeleteTaskRequest(task="b")), NotFound),
    "created": (lambda service: service.create_task(CreateTaskRequest(spec=spec("c"))), AlreadyExists),
}


@pytest.mark.parametrize("what", MEANWHILE)
async def test_whoever_applies_to_what_has_changed_meanwhile_changes_nothing(what, store):
    interrupt, kind = MEANWHILE[what]
    somebody = service_on(store)
    await apply(somebody, spec("a"), spec("b"))
    slow = service_on(Interrupted(store, lambda: interrupt(somebody)))
    with pytest.raises(kind):
        await apply(slow, spec("a", description="mine"), spec("b", description="mine"), spec("c", description="mine"))
    page = await somebody.list_tasks(ListTasksRequest())
    assert not any(task.spec and task.spec.description == "mine" for task in page.tasks)


async def test_a_large_set_keeps_nobody_waiting(service):
    longest = timedelta(0)
    done = asyncio.Event()

    async def watch() -> None:
        nonlocal longest
        clock = asyncio.get_running_loop().time
        while not done.is_set():
            begin = clock()
            await asyncio.sleep(0)
            longest = max(longest, timedelta(seconds=clock() - begin))

    watching = asyncio.create_task(watch())
    # None of them ever runs, which takes long to find out.
    never = Schedule(rules=[Rule(cron=Cron(expression="0 0 30 2 *"))] * 32)
    await refused(apply(service, *(spec(f"t{n}", schedule=never) for n in range(20))))
    done.set()
    await watching
    assert longest < timedelta(seconds=1)


async def preview(service: DefinitionService, **fields: object) -> PreviewScheduleResponse:
    return await service.preview_schedule(PreviewScheduleRequest(**fields))


def local(response: PreviewScheduleResponse) -> list[str]:
    return [tick.local_time for tick in response.ticks]


async def test_a_preview_shows_local_times_and_what_the_clocks_will_do(service):
    response = await preview(service, schedule=cron("30 2 * * *", timezone="Europe/Zurich"), count=3)
    assert local(response) == ["2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]
    assert response.ticks[0].scheduled_at == datetime(2026, 3, 28, 1, 30, tzinfo=UTC)
    changes = [(change.at, change.offset_before, change.offset_after) for change in response.clock_changes]
    assert changes == [
        (datetime(2026, 3, 29, 1, tzinfo=UTC), 3600, 7200),
        (datetime(2026, 10, 25, 1, tzinfo=UTC), 7200, 3600),
    ]
    assert all(change.effect for change in response.clock_changes)


async def test_a_preview_has_ten_ticks_unless_another_number_is_asked_for(service):
    every = Schedule(rules=[Rule(every=Interval(period=timedelta(minutes=1)))])
    assert len((await preview(service, schedule=every)).ticks) == 10
    assert len((await preview(service, schedule=every, count=1)).ticks) == 1
    assert len((await preview(service, schedule=every, count=1000)).ticks) == 1000


async def test_a_preview_begins_after_the_instant_that_is_given(service):
    hourly = cron("0 * * * *")
    for after in (NOW - timedelta(days=900), NOW, NOW + timedelta(days=900)):
        first = (await preview(service, schedule=hourly, after=after, count=1)).ticks[0]
        assert first.scheduled_at == after + timedelta(hours=1)


async def test_a_preview_of_the_past_shows_a_schedule_that_is_over_by_now(service):
    over = cron("0 0 * * *", ends_at=datetime(2020, 1, 3, tzinfo=UTC))
    assert await refused(preview(service, schedule=over)) == {"schedule.ends_at": "schedule.in_past"}
    response = await preview(service, schedule=over, after=datetime(2020, 1, 1, tzinfo=UTC))
    assert local(response) == ["2020-01-02T00:00:00+00:00", "2020-01-03T00:00:00+00:00"]


async def test_a_preview_marks_excluded_dates_and_ends_with_max_runs(service):
    schedule = cron("0 0 * * *", exclude=[DateRange(first="03-29")], max_runs=3)
    response = await preview(service, schedule=schedule)
    assert [(tick.scheduled_at.day, tick.excluded) for tick in response.ticks] == [
        (28, False),
        (29, True),
        (30, False),
        (31, False),
    ]


async def test_a_stored_task_is_previewed_by_its_name(service):
    jittered = cron("0 0 * * *", timezone="Asia/Tokyo", max_runs=20)
    await apply(service, spec("a", schedule=jittered), spec("b"))
    response = await preview(service, task="a", count=2)
    assert [(tick.task, tick.timezone) for tick in response.ticks] == [("a", "Asia/Tokyo")] * 2
    assert [notice.code for notice in response.warnings] == ["schedule.max_runs"]
    await service.pause_task(PauseTaskRequest(task="a"))
    response = await preview(service, task="a")
    assert [notice.code for notice in response.warnings] == ["task.paused", "schedule.max_runs"]
    assert await refused(preview(service, task="b")) == {"schedule": "schedule.empty"}
    with pytest.raises(NotFound):
        await preview(service, task="c")


async def test_a_stored_task_that_is_over_has_no_further_ticks(store):
    once = Schedule(rules=[Rule(at=OneShot(time="2026-03-28T00:00:00Z"))])
    await apply(service_on(store), spec("once", schedule=once))
    later = service_on(store, NOW + timedelta(days=30))
    assert (await preview(later, task="once")).ticks == []
    assert await refused(preview(later, schedule=once)) == {"schedule.rules[0].at": "schedule.in_past"}


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({}, {"schedule": "schedule.empty"}),
        ({"schedule": Schedule()}, {"schedule.rules": "schedule.empty"}),
        ({"schedule": cron("0 0 30 2 *")}, {"schedule.rules[0].cron": "schedule.never_fires"}),
        ({"schedule": cron("0 0 * * *", timezone="../etc/passwd")}, {"schedule.timezone": "schedule.timezone"}),
        ({"schedule": cron("0 0 * * *"), "count": -1}, {"count": "count.range"}),
        ({"schedule": cron("0 0 * * *"), "count": 1001}, {"count": "count.range"}),
        ({"schedule": cron("0 0 * * *"), "after": datetime(2200, 1, 2, tzinfo=UTC)}, {"after": "after.range"}),
        ({"schedule": cron("0 0 * * *"), "task": "a"}, {"schedule": "schedule.both"}),
        ({"task": "x" * 64}, {"task": "task.key"}),
    ],
)
async def test_a_preview_of_what_is_wrong_names_the_field(fields, found, service):
    await apply(service, spec("a", schedule=cron("0 0 * * *")))
    assert await refused(preview(service, **fields)) == found


async def test_a_process_is_applied_as_it_is_given(service):
    kind = Kind(process=ProcessKind(command=["sh", "-c", "echo {{ scheduled_at | date }}"], env={"A": "two\nlines"}))
    await apply(service, spec("a", kind=kind))
    assert told(await apply(service, spec("a", kind=kind))) == [("a", UNCHANGED)]


async def test_an_empty_set_never_deletes_everything(service):
    await apply(service, spec("a"))
    assert await refused(apply(service, prune=True)) == {"specs": "specs.empty"}
    assert told(await apply(service, spec("a"))) == [("a", UNCHANGED)]
