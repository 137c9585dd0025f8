"""`dts simulate`, `dts diff` and `dts task backfill --wait` against a running dts."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from support.postgres import TestServer, open_directory
from support.system import System, dev

pytestmark = pytest.mark.asyncio(loop_scope="module")

MONDAY, TUESDAY = "2027-03-22T00:00:00Z", "2027-03-23T00:00:00Z"
SPAN = ("--from", MONDAY, "--to", TUESDAY)
CHANGED = """
tasks:
  - name: hourly
    schedule: {cron: "30 */2 * * *"}
    noop: {}
  - name: large
    schedule: {cron: "0 12 * * *"}
    process: {command: ["true"]}
    resources: {cpus: 1000}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(postgres: TestServer) -> AsyncIterator[System]:
    dsn = await postgres.create()
    with open_directory() as data:
        async with dev(data, environment={"DTS_DSN": dsn}) as running:
            (data / "changed.yaml").write_text(CHANGED)
            for name in ("hourly", "paused"):
                await running.dts("task", "create", name, "--cron", "0 * * * *", "--noop")
            await running.dts("task", "pause", "paused")
            await running.dts("task", "create", "quick", "--process", "--", "true")
            yield running
    await postgres.drop(dsn)


async def said(system: System, *arguments: str):
    done = await system.dts(*arguments, "-o", "json")
    assert done.code in {0, 1}, done
    return json.loads(done.out)


async def test_a_simulation_replays_what_is_stored_and_a_file_over_it(system):
    found = await said(system, "simulate", *SPAN)
    assert [(task["task"], task["ticks"], task["runs"]) for task in found["tasks"]] == [("hourly", 24, 24)]
    assert (found["since"], found["until"]) == ("2027-03-22T00:00:00.000000Z", "2027-03-23T00:00:00.000000Z")
    changed = await said(system, "simulate", *SPAN, "-f", str(system.data / "changed.yaml"))
    assert {task["task"]: (task["ticks"], task["no_place"]) for task in changed["tasks"]} == {
        "hourly": (12, 0),
        "large": (1, 1),
    }
    [shortage] = changed["shortages"]
    assert "of 1000 cpus free" in shortage["message"]


async def test_a_simulation_is_told_in_tables_and_knows_how_long_runs_took(system):
    await system.dts("task", "trigger", "quick", "--wait")
    await system.dts("task", "set", "quick", "schedule.cron=0 0 * * *")
    [quick] = [task for task in (await said(system, "simulate", *SPAN))["tasks"] if task["task"] == "quick"]
    assert quick["runs_seen"] == 1
    assert 0 <= quick["took"] < 30
    done = await system.dts("simulate", *SPAN, "-f", str(system.data / "changed.yaml"), "--herd", "2")
    assert done.code == 0
    for words in ("2027-03-22 00:00:00 to", "14 ticks of 3 tasks", "1 never start", "No room: 1", "AT ONCE"):
        assert words in done.out


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("simulate", "--week", "--to", "+1d"), "--week"),
        (("simulate", "--from", "+2d", "--to", "+1d"), "--to"),
        (("simulate", "--to", "+500d"), "--to"),
        (("simulate", "--prune"), "--prune"),
        (("simulate", "--assume", "soon"), "--assume"),
        (("diff", "-f", "no-such-file.yaml"), "no-such-file.yaml"),
    ],
)
async def test_what_cannot_be_looked_at_is_a_mistake_of_use(system, arguments, field):
    done = await system.dts(*arguments)
    assert (done.code, done.out, field in done.err) == (2, "", True), done


async def test_a_file_is_refused_at_its_line_as_the_server_would(system):
    wrong = "tasks:\n  - name: hourly\n    schedule: {cron: '0 * * * *'}\n    noop: {}\n    timeout: 0s\n"
    done = await system.dts("diff", "-f", "-", given=wrong)
    assert (done.code, "standard input:2: hourly.timeout" in done.err) == (2, True), done


async def test_a_difference_has_the_exit_code_of_diff(system):
    file = str(system.data / "changed.yaml")
    done = await system.dts("diff", "-f", file, *SPAN, "--limit", "2")
    assert done.code == 1
    assert "hourly updated: ticks: 12 vanish, 12 move\n  ~ 2027-03-22 00:00:00 → 2027-03-22 00:30:00\n" in done.out
    assert "… and 22 more" in done.out
    assert "large created: ticks: 1 appear\n  + 2027-03-22 12:00:00\n" in done.out
    [updated, _] = await said(system, "diff", "-f", file, *SPAN)
    assert updated["ticks"][0] == {"from": "2027-03-22T00:00:00.000000Z", "to": "2027-03-22T00:30:00.000000Z"}

    same = await system.dts("export", "hourly", "paused")
    unchanged = await system.dts("diff", "-f", "-", *SPAN, given=same.out)
    assert (unchanged.code, "every tick stays" in unchanged.out) == (0, True), unchanged
    other = await system.dts(
        "diff", "-f", "-", *SPAN, given=same.out.replace("  noop: {}", "  noop: {}\n  timeout: 5m")
    )
    assert (other.code, "hourly, paused: changed, but no tick is" in other.err) == (0, True), other

    # A paused task owes nothing, whatever its schedule says.
    moved = "tasks:\n  - name: paused\n    schedule: {cron: '5 * * * *'}\n    noop: {}\n"
    assert (await system.dts("diff", "-f", "-", *SPAN, given=moved)).code == 0
    pruned = await said(system, "diff", "-f", file, "--prune", *SPAN)
    assert {each["task"]: each["change"] for each in pruned}["paused"] == "deleted"


async def test_a_backfill_is_waited_for_and_fails_if_one_of_its_runs_does(system):
    await system.dts("task", "create", "again", "--cron", "* * * * *", "--process", "--", "sh", "-c", "exit 0")
    done = await system.dts("task", "backfill", "again", "--since", "4m", "--wait")
    assert (done.code, "4 ticks, 4 runs made\n4 succeeded, 0 did not\n" in done.out) == (0, True), done
    await system.dts("task", "set", "again", "process.command=[sh, -c, exit 3]")
    done = await system.dts("task", "backfill", "again", "--since", "2m", "--wait")
    assert (done.code, "0 succeeded, 2 did not" in done.out) == (1, True), done
    assert done.err == ""  # nobody is there to see a bar
