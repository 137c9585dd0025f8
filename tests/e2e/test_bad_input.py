"""Bad input over the wire: each answer names the field, comes at once, stores nothing, and is never a trace.

The numbers are those of the project's list of bad input (schedules 1-23, zones 24-35, text 36-43, kinds 44-54).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from dts.domain.errors import InvalidArgument
from dts.pb.dts.v1 import (
    Backoff,
    Catchup,
    ContainerKind,
    CreateTaskRequest,
    Cron,
    DateRange,
    Interval,
    Kind,
    ListTasksRequest,
    NoopKind,
    OneShot,
    Policies,
    ProcessKind,
    Resources,
    Rule,
    Schedule,
    TaskSpec,
    VolumeMount,
)
from support.postgres import TestServer, open_directory
from support.system import System, dev

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOOP = Kind(noop=NoopKind())
MEDIAN_SECONDS = 0.05
LONGEST_SECONDS = 0.5
"""For one answer, on a machine that other tests share."""

WHEN = "schedule.rules[0]"


def cron(expression: str, **fields) -> dict:
    return {"schedule": Schedule(rules=[Rule(cron=Cron(expression=expression))], **fields)}


def every(seconds: float, **fields) -> dict:
    return {"schedule": Schedule(rules=[Rule(every=Interval(period=timedelta(seconds=seconds)))], **fields)}


def at(time: str, **fields) -> dict:
    return {"schedule": Schedule(rules=[Rule(at=OneShot(time=time))], **fields)}


def container(image: str = "app:1", **fields) -> dict:
    return {"kind": Kind(container=ContainerKind(image=image, **fields))}


def process(*command: str, **fields) -> dict:
    return {"kind": Kind(process=ProcessKind(command=list(command), **fields))}


def policy(**fields) -> dict:
    return {"policies": Policies(**fields)}


EXPRESSIONS = {
    1: ["", "   "],
    2: ["* * * *"],
    4: ["0 0 0 1 1 * 2026"],
    5: ["60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 13 *", "* * * * 8"],
    7: ["0 0 30 2 *", "0 0 31 4 *", "0 0 31 2,4,6,9,11 *"],
    10: ["*/0 * * * *", "1-5/0 * * * *", "*/-1 * * * *"],
    11: ["*/61 * * * *"],
    13: ["5-1 * * * *", "* * * * FRI-MON"],
    14: ["0 0 * * 5#6", "0 0 * * L"],
    15: ["R * * * *"],
    16: ["@reboot", "@dayly"],
    17: ["\u00a00 0 * * *", "\uff10 0 * * *", "+1 0 * * *", "1.5 0 * * *", "0x1 0 * * *", "1e1 0 * * *", "0 0 * * *\0"],
    18: ["0 0 * * *; rm -rf /", "0 0 * * * # x"],
    19: [",".join(["*"] * 3000) + " * * * *"],
}
PERIODS = {20: [0, 0.5, 10 * 366 * 86_400]}
TIMES = {
    21: ["2020-01-01T00:00:00Z"],
    22: ["2026-02-30T00:00:00Z", "2027-01-01T24:00:00Z", "2027-01-01T23:59:60Z", "tomorrow", "2027-01-01"],
}
ZONES = {24: ["Mars/Phobos", "../../etc/passwd", "x" * 100_000], 25: ["europe/zurich", "GMT+3"]}
NAMES = {
    36: ["", "a" * 64, "a" * 100_000],
    37: ["Upper", "with space", "a/b", "..", "-a", ".a", "--help"],
    38: ["caf\u00e9", "\u0430bc", "a\u200bb", "a\u202eb", "\U0001f600"],
    39: ["a\0b", "a\nb"],
}
FIELDS: list[tuple[int, dict, str]] = [
    (21, every(60, ends_at=datetime(2020, 1, 1, tzinfo=UTC)), "schedule.ends_at"),
    (
        21,
        every(60, starts_at=datetime(2030, 1, 2, tzinfo=UTC), ends_at=datetime(2030, 1, 1, tzinfo=UTC)),
        "schedule.ends_at",
    ),
    (22, every(60, exclude=[DateRange(first="2026-02-30")]), "schedule.exclude[0]"),
    (34, every(60, starts_at=datetime(9999, 1, 1, tzinfo=UTC)), "schedule.starts_at"),
    (39, {"description": "a\0b"}, "description"),
    (42, {"labels": {f"l{n}": "x" for n in range(100)}}, "labels"),
    (42, {"labels": {"dts.x": "y"}}, "labels.dts.x"),
    (42, {"labels": {"com.docker.x": "y"}}, "labels.com.docker.x"),
    *(
        (44, container(image), "container.image")
        for image in (
            "",
            ":tag",
            "UPPER/Case",
            "a//b",
            "-x",
            "a" * 300,
            "a:" + "t" * 129,
            "a@sha256:short",
            "http://a/b",
            "a ",
        )
    ),
    (47, process(), "process.command"),
    (47, process("a\0b"), "process.command[0]"),
    (47, process("x" * 200_000), "process.command"),
    *((48, process("true", env={name: "x"}), "process.env") for name in ("", "A=B", "1A", "A\nB")),
    (48, process("true", env={"DTS_RUN_ID": "x"}), "process.env.DTS_RUN_ID"),
    (48, process("true", env={f"V{n}": "" for n in range(200)}), "process.env"),
    (50, policy(resources=Resources(memory=-1)), "resources.memory"),
    (50, policy(resources=Resources(memory=1)), "resources.memory"),
    (50, policy(resources=Resources(memory=1 << 60)), "resources.memory"),
    *(
        (50, policy(resources=Resources(cpus=cpus)), "resources.cpus")
        for cpus in (-1.0, 1e9, float("nan"), float("inf"))
    ),
    (51, policy(timeout=timedelta(0)), "timeout"),
    (51, policy(timeout=timedelta(days=36_500)), "timeout"),
    (51, policy(stop_grace=timedelta(days=10)), "stop_grace"),
    (51, policy(retries=-1), "retries"),
    (51, policy(backoff=Backoff(factor=float("nan"))), "backoff.factor"),
    (51, policy(catchup=Catchup.ALL), "catchup_window"),
    (52, container(network="host"), "container.network"),
    (52, container(network="container:x"), "container.network"),
    (52, container(mounts=[VolumeMount(volume="/", target="/host")]), "container.mounts[0].volume"),
    (52, container(mounts=[VolumeMount(volume="/var/run/docker.sock", target="/s")]), "container.mounts[0].volume"),
    (52, container(mounts=[VolumeMount(volume="v", target="/a/../b")]), "container.mounts[0].target"),
    *((53, container(user=user), "container.user") for user in ("99999999999", "a:b:c", "a b")),
    (54, container(working_dir="relative"), "container.working_dir"),
    (54, process("true", working_dir="../up"), "process.working_dir"),
    (58, policy(constraints=["disk=ssd"]), "constraints[0]"),
    (58, {"kind": None}, "kind"),
    (58, {"kind": Kind()}, "kind"),
]
REFUSED: list[tuple[int, dict, str]] = [
    *((number, cron(text), f"{WHEN}.cron") for number, texts in EXPRESSIONS.items() for text in texts),
    *((number, every(period), f"{WHEN}.every") for number, periods in PERIODS.items() for period in periods),
    *((number, at(text), f"{WHEN}.at") for number, texts in TIMES.items() for text in texts),
    *((number, every(60, timezone=zone), "schedule.timezone") for number, zones in ZONES.items() for zone in zones),
    *((number, {"name": name}, "name") for number, names in NAMES.items() for name in names),
    *FIELDS,
]
ACCEPTED = {
    "sunday-is-seven": cron("0 0 * * 7"),
    "leap-day": cron("0 0 29 2 *"),
    "uneven": cron("*/7 * * * *"),
    "hourly": cron("@hourly"),
    "trailing-newline": cron("0 0 * * *\n"),
    "inert-text": {"description": "<script>{{7*7}}${jndi:x}%n%s'; DROP =cmd|"},
    "one-character-less": {"name": "a" * 63},
    "newline-in-a-value": process("true", env={"TEXT": "a\nb"}),
    "unpinned": container("alpine"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(postgres: TestServer) -> AsyncIterator[System]:
    dsn = await postgres.create()
    with open_directory() as data:
        async with dev(data, environment={"DTS_DSN": dsn}) as running:
            yield running
    await postgres.drop(dsn)


def spec(fields: dict, name: str = "case") -> TaskSpec:
    return TaskSpec(**{"name": name, "kind": NOOP} | fields)


async def test_every_refusal_names_its_field_at_once_and_stores_nothing(system):
    wrong: list[str] = []
    took: list[float] = []
    async with system.calls() as calls:
        for number, fields, path in REFUSED:
            begun = time.perf_counter()
            try:
                await calls.tasks.create_task(CreateTaskRequest(spec=spec(fields)))
                wrong.append(f"{number}: accepted {str(fields)[:200]}")
            except InvalidArgument as error:
                wrong += complaints(number, error, path)
            took.append(time.perf_counter() - begun)
        assert (await calls.tasks.list_tasks(ListTasksRequest())).tasks == []
    assert wrong == []
    assert statistics.median(took) < MEDIAN_SECONDS
    assert max(took) < LONGEST_SECONDS
    log = system.programs["dev"].log.read_text()
    assert "Traceback" not in log
    assert '"level": "error"' not in log


def complaints(number: int, error: InvalidArgument, path: str) -> list[str]:
    found = [str(violation) for violation in error.violations]
    text = error.message
    if not any(violation.field == path or violation.field.startswith(f"{path}.") for violation in error.violations):
        return [f"{number}: {path} is not named: {found}"]
    if len(text) > 600 or not text.isprintable() or any(word in text for word in ("Traceback", "Error", "object at")):
        return [f"{number}: not for people: {text[:200]!r}"]
    return []


async def test_what_only_looks_odd_is_accepted(system):
    async with system.calls() as calls:
        for name, fields in ACCEPTED.items():
            await calls.tasks.create_task(CreateTaskRequest(spec=spec(fields, name)))
        stored = {task.spec.name for task in (await calls.tasks.list_tasks(ListTasksRequest())).tasks}
    assert stored == {fields.get("name", name) for name, fields in ACCEPTED.items()}
