"""The contract of the command line, from outside: shapes of JSON, exit codes, two lines on standard error, live logs.

What each command does is tested beside the roles; here stands what scripts rely on.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from datetime import datetime

import pytest
import pytest_asyncio
import yaml

from dts.cli.main import COMMANDS
from support.postgres import TestServer, open_directory
from support.system import DTS, Done, System, dev

pytestmark = pytest.mark.asyncio(loop_scope="module")

TASK = {"id", "name", "enabled", "schedule", "timezone", "kind", "next_due_at", "last_run", "version"}
RUN = {
    *("id", "task", "task_version", "trigger", "scheduled_at", "state", "reason", "message", "attempt", "node"),
    *("created_at", "started_at", "finished_at", "exit_code", "lateness", "duration", "labels"),
}
TICK = {"task", "scheduled_at", "local_time", "timezone"}
NODE = {"id", "hostname", "state", "labels", "capacity", "running", "last_seen", "version"}
EXPLAIN = {"task", "at", "verdict", "reason", "message", "advice", "steps"}
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
WORD = re.compile(r"[a-z_]+")
READS = [
    ("task", "list"),
    ("task", "show", "base"),
    ("task", "history", "base"),
    ("task", "preview", "base"),
    ("schedule",),
    ("run", "list"),
    ("node", "list"),
    ("explain", "base"),
    ("status",),
]
GROUPS = {
    "task": "create list show edit set pause resume delete history trigger backfill preview",
    "run": "list show logs cancel retry wait",
    "node": "list show drain resume",
    "db": "migrate status dump restored",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(postgres: TestServer) -> AsyncIterator[System]:
    dsn = await postgres.create()
    with open_directory() as data:
        async with dev(data, environment={"DTS_DSN": dsn}) as running:
            done = await running.dts("task", "create", "base", "--cron", "0 3 * * *", "--noop")
            assert done.code == 0, done
            yield running
    await postgres.drop(dsn)


async def well(system: System, *arguments: str, given: str | None = None) -> Done:
    done = await system.dts(*arguments, given=given)
    assert done.code == 0, (arguments, done)
    return done


async def said(system: System, *arguments: str):
    return json.loads((await well(system, *arguments, "-o", "json")).out)


async def process_task(system: System, name: str, script: str) -> None:
    await well(system, "task", "create", name, "--process", "--", "sh", "-c", script)


async def following(system: System, *arguments: str) -> asyncio.subprocess.Process:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DTS_")}
    return await asyncio.create_subprocess_exec(
        *DTS,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=clean | dict(system.environment),
    )


async def line_of(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    return await asyncio.wait_for(process.stdout.readline(), 20)


# Shapes


async def test_lists_are_arrays_and_one_thing_is_an_object_with_the_keys_of_the_contract(system):
    run = (await well(system, "task", "trigger", "base", "--wait")).err.split()[1]
    assert {frozenset(task) for task in await said(system, "task", "list")} == {frozenset(TASK)}
    assert (await said(system, "task", "show", "base")).keys() >= TASK
    assert {frozenset(each) for each in await said(system, "run", "list", "--task", "base")} == {frozenset(RUN)}
    assert (await said(system, "run", "show", run)).keys() >= RUN
    assert all(tick.keys() >= TICK for tick in await said(system, "schedule"))
    assert all(tick.keys() >= TICK for tick in await said(system, "task", "preview", "base"))
    [node] = await said(system, "node", "list")
    assert node.keys() >= NODE
    assert (await said(system, "node", "show", node["hostname"])).keys() >= NODE
    explained = await said(system, "explain", "base")
    assert explained.keys() == EXPLAIN
    assert all(step.keys() == {"step", "ok", "detail"} for step in explained["steps"])
    assert all(part.keys() == {"part", "well", "detail"} for part in await said(system, "status"))
    applied = await well(system, "apply", "-f", "-", "-o", "json", given="name: shape\nnoop: {}\n")
    assert json.loads(applied.out) == [{"name": "shape", "change": "created"}]


async def test_values_are_utc_instants_seconds_and_words_in_lower_case(system):
    await process_task(system, "values", "exit 3")
    assert (await system.dts("task", "trigger", "values", "--wait")).code == 1
    [run] = await said(system, "run", "list", "--task", "values")
    for name in ("scheduled_at", "created_at", "started_at", "finished_at"):
        assert INSTANT.fullmatch(run[name]), name
    for name in ("trigger", "state", "reason"):
        assert WORD.fullmatch(run[name]), name
    started, finished = (datetime.fromisoformat(run[name]) for name in ("started_at", "finished_at"))
    scheduled = datetime.fromisoformat(run["scheduled_at"])
    assert run["duration"] == pytest.approx((finished - started).total_seconds())
    assert run["lateness"] == pytest.approx((started - scheduled).total_seconds())
    assert (run["state"], run["reason"], run["exit_code"], run["attempt"]) == ("failed", "exit_code", 3, 1)
    listed = next(task for task in await said(system, "task", "list") if task["name"] == "values")
    assert listed["last_run"] == {name: run[name] for name in ("id", "state", "scheduled_at")}
    assert (listed["next_due_at"], listed["timezone"], listed["kind"]) == (None, None, "process")


@pytest.mark.parametrize("command", READS, ids=" ".join)
async def test_every_read_command_prints_a_table_json_and_yaml_without_colour(system, command):
    table, as_json, as_yaml = [await well(system, *command, "-o", form) for form in ("table", "json", "yaml")]
    assert table.out.strip()
    assert not any("\x1b" in done.out for done in (table, as_json, as_yaml))
    first, second = json.loads(as_json.out), yaml.safe_load(as_yaml.out)
    assert type(first) is type(second)
    assert first
    if command[0] not in {"node", "status", "explain"}:  # these tell how it is at the moment
        assert first == second


# Exit codes and what is told


async def test_exit_codes_and_two_lines(system):
    elsewhere = System("", "", system.data, {**system.environment, "DTS_SERVER": "127.0.0.1:1"})
    stranger = System("", "", system.data, {**system.environment, "DTS_TOKEN": "wrong"})
    for where, arguments, code, advised in [
        (system, ("task", "list"), 0, None),
        (system, ("task", "create", "base", "--noop"), 1, "another name"),
        (system, ("task", "create", "x", "--noop", "--every", "0s"), 2, None),
        (system, ("task", "show", "nobody"), 3, "dts task list"),
        (system, ("task", "trigger", "nobody"), 3, "dts task list"),
        (system, ("run", "logs", "00000000-0000-4000-8000-000000000000"), 3, "dts run list"),
        (system, ("node", "drain", "nobody"), 3, "dts node list"),
        (system, ("export", "nobody"), 3, "dts task list"),
        (elsewhere, ("task", "list"), 4, "DTS_SERVER"),
        (stranger, ("run", "list"), 5, "DTS_TOKEN"),
    ]:
        done = await where.dts(*arguments)
        assert done.code == code, (arguments, done)
        assert "Traceback" not in done.err
        if code == 0:
            assert done.err == ""
            continue
        assert done.out == ""
        what, *advice = done.err.splitlines()
        assert what.startswith("error: ")
        assert len(advice) == (1 if advised else 0), (arguments, done)
        assert advised is None or advised in advice[0]


async def test_a_server_that_is_not_there_is_named_once(system):
    elsewhere = System("", "", system.data, {**system.environment, "DTS_SERVER": "127.0.0.1:1"})
    done = await elsewhere.dts("task", "list")
    assert done.err.startswith("error: 127.0.0.1:1 cannot be reached: Connection refused\n")


async def test_a_task_without_a_schedule_is_told_to_be_one(system):
    done = await system.dts("task", "create", "by-hand", "--noop")
    assert done.out == "by-hand created\n  it has no schedule: it runs when `dts task trigger by-hand` says so\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "show"),
        ("run", "logs"),
        ("run", "cancel"),
        ("run", "retry"),
        ("run", "wait"),
        ("node", "show"),
        ("node", "drain"),
        ("explain",),
        ("task", "show"),
        ("task", "trigger"),
        ("task", "set"),
        ("task", "set", "base"),
        ("task", "set", "base", "timeout"),
        ("task", "preview"),
        ("task", "create"),
        ("apply",),
    ],
    ids=" ".join,
)
async def test_what_is_missing_on_a_pipe_is_a_usage_error(system, arguments):
    done = await system.dts(*arguments)
    assert (done.code, done.out) == (2, "")
    assert "Traceback" not in done.err
    assert "rror: " in done.err.splitlines()[-1]


async def test_a_field_that_is_wrong_is_told_and_changes_nothing(system):
    for wrong, told in [
        ("timout=5m", "'timeout'"),
        ("timeout=soon", "duration"),
        ("schedule.cron=61 * * * *", "minute"),
        ("name.inner=x", "no fields of its own"),
    ]:
        done = await system.dts("task", "set", "base", wrong)
        assert (done.code, done.out) == (2, ""), (wrong, done)
        assert told in done.err, (wrong, done)
    assert (await said(system, "task", "show", "base"))["version"] == 1


async def test_a_reader_of_one_line_is_left_in_peace(system):
    for command in ("task list", "run list -o json", "export", "--help"):
        script = f"{' '.join(DTS)} {command} | head -1"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("DTS_")}
        process = await asyncio.create_subprocess_shell(
            script,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=clean | dict(system.environment),
        )
        out, err = await process.communicate()
        assert (len(out.splitlines()), err) == (1, b""), command


# Live


async def test_logs_are_followed_while_the_run_prints_them(system, tmp_path):
    gate = tmp_path / "go"
    await process_task(
        system, "gated", f"echo first; echo aside >&2; while ! test -e {gate}; do sleep 0.05; done; echo second; exit 4"
    )
    run = (await well(system, "task", "trigger", "gated")).out.strip()
    reader = await following(system, "run", "logs", run[:12], "-f")
    assert await line_of(reader) == b"first\n"
    # Without -f it ends with what there is, though the run goes on.
    assert (await asyncio.wait_for(well(system, "run", "logs", run), 20)).out == "first\n"
    waiter = await following(system, "run", "wait", run)
    assert reader.returncode is None
    gate.touch()
    assert await line_of(reader) == b"second\n"
    rest, err = await asyncio.wait_for(reader.communicate(), 20)
    assert (rest, err, reader.returncode) == (b"", b"aside\n", 0)
    told, _ = await asyncio.wait_for(waiter.communicate(), 20)
    assert waiter.returncode == 1
    assert b"gated failed" in told


async def test_following_a_trigger_ends_as_the_run_does(system):
    await process_task(system, "fails", "printf 'no newline'; exit 9")
    done = await system.dts("task", "trigger", "fails", "--follow")
    assert (done.code, done.out) == (1, "no newline")
    assert "failed" in done.err.splitlines()[-1]


async def test_waiting_for_several_runs_fails_if_one_does(system):
    await process_task(system, "fine", "true")
    await process_task(system, "not-fine", "false")
    fine = (await well(system, "task", "trigger", "fine")).out.strip()
    wrong = (await well(system, "task", "trigger", "not-fine")).out.strip()
    done = await system.dts("run", "wait", fine, wrong)
    assert done.code == 1
    assert [line.split()[:3] for line in done.out.splitlines()] == [
        [fine[:8], "fine", "succeeded"],
        [wrong[:8], "not-fine", "failed:"],
    ]
    assert (await system.dts("run", "wait", fine)).code == 0


# Files


async def test_a_dry_run_shows_the_difference_and_stores_nothing(system):
    before = (await well(system, "export")).out
    changed = "tasks:\n- {name: base, noop: {}, timeout: 9m}\n- {name: fresh, noop: {}}\n"
    shown = (await well(system, "apply", "-f", "-", "--dry-run", given=changed)).out
    assert "updated    base\n" in shown
    assert "    +timeout: 9m\n" in shown
    assert "    -schedule:\n" in shown
    assert "created    fresh\n" in shown
    pruned = (await well(system, "apply", "-f", "-", "--dry-run", "--prune", given=changed)).out
    assert set(re.findall(r"^deleted +(\S+)", pruned, re.MULTILINE)) == {
        task["name"] for task in yaml.safe_load(before)["tasks"] if task["name"] not in {"base", "fresh"}
    }
    assert (await well(system, "export")).out == before


async def test_what_is_exported_is_applied_unchanged(system):
    everything = (await well(system, "export")).out
    applied = await well(system, "apply", "-f", "-", "--prune", given=everything)
    assert {line.split()[0] for line in applied.out.splitlines()} == {"unchanged"}
    assert [task["name"] for task in yaml.safe_load(everything)["tasks"]] == [
        task["name"] for task in await said(system, "task", "list")
    ]


# Help


@pytest.mark.parametrize(
    "words",
    [[], *([name] for name in COMMANDS), *([group, name] for group, names in GROUPS.items() for name in names.split())],
    ids=lambda words: " ".join(words) or "dts",
)
async def test_help_is_printed_and_fits_100_columns(system, words):
    wide = System("", "", system.data, {**system.environment, "COLUMNS": "100", "TERMINAL_WIDTH": "100"})
    for where in (system, wide):
        done = await well(where, *words, "--help")
        assert done.out.startswith("Usage: dts")
        assert max(len(line) for line in done.out.splitlines()) <= 100
