"""The command line with somebody before it: `dts top` in tmux, Tab in bash and zsh, picks and questions."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from support.polling import eventually
from support.postgres import TestServer, open_directory
from support.system import DTS, System, dev
from support.terminal import TMUX, terminal

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(TMUX is None, reason="needs tmux"),
]

BIN = str(Path(sys.executable).parent)
SLEEPS = "trap 'echo stopped' TERM; echo to out; echo to err >&2; sleep 300 & wait"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(postgres: TestServer) -> AsyncIterator[System]:
    dsn = await postgres.create()
    with open_directory() as data:
        async with dev(data, environment={"DTS_DSN": dsn}) as running:
            await running.dts("task", "create", "sleeper", "--process", "--overlap", "allow", "--", "sh", "-c", SLEEPS)
            await running.dts("task", "create", "nightly-report", "--cron", "0 3 * * *", "--noop")
            await running.dts("task", "create", "nightly-backup", "--cron", "0 4 * * *", "--noop")
            yield running
    await postgres.drop(dsn)


async def started(system: System) -> str:
    """A run that goes on; its id."""
    run = (await system.dts("task", "trigger", "sleeper")).out.strip()
    await eventually(lambda: is_in(system, run, "running"))
    return run


async def is_in(system: System, run: str, state: str) -> bool:
    return json.loads((await system.dts("run", "show", run, "-o", "json")).out)["state"] == state


def dts(*arguments: str) -> list[str]:
    return [*DTS, *arguments]


async def test_top_shows_what_runs_and_its_log_and_cancels_and_retries_it(system):
    run = await started(system)
    async with terminal(dts("top", "--every", "0.2s"), system.environment) as top:
        screen = await top.shows("NODES 1", "RUNNING 1", "NEXT", "RECENT 0", run[:8], "nightly-report")
        assert "running" in next(line for line in screen.splitlines() if run[:8] in line)

        await top.press("l")
        await top.shows(f"log of {run[:8]} sleeper", "goes on", "to out", "to err")
        colored = await top.screen(colored=True)
        assert "\x1b[31mto err" in colored
        assert "\x1b[31mto out" not in colored
        await top.press("q")

        await top.press("c")
        await top.shows(f"Cancel {run[:8]} sleeper? [y/N]")
        await top.press("n")
        await top.press("c")
        await top.shows(f"Cancel {run[:8]} sleeper? [y/N]")
        assert await is_in(system, run, "running")
        await top.press("y")
        await top.shows("is asked to stop")
        await top.shows("RUNNING 0", "RECENT 1", "cancelled")

        await top.press("c")
        await top.shows("is over already")
        await top.press("r")
        await top.shows(f"Run {run[:8]} sleeper again? [y/N]")
        await top.press("y")
        await top.shows("runs again as", "RUNNING 1")
        await top.press("q")
        await top.shows("ended 0")
    [again] = json.loads((await system.dts("run", "list", "--state", "running", "-o", "json")).out)
    assert again["trigger"] == "retry"
    await system.dts("run", "cancel", again["id"])


async def test_top_goes_on_in_a_small_terminal_and_needs_one(system):
    async with terminal(dts("top"), system.environment, columns=40, rows=10) as top:
        await top.shows("NODES", "RUNNING", "NEXT", "RECENT")
        await top.press("C-c")
        await top.shows("ended 0")
    done = await system.dts("top")
    assert (done.code, "needs a terminal" in done.err) == (2, True)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
async def test_tab_completes_what_the_server_knows(system, shell, tmp_path):
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"needs {shell}")
    environment = dict(system.environment) | {"PATH": f"{BIN}:/usr/bin:/bin", "PS1": "$ ", "ZDOTDIR": str(tmp_path)}
    script = tmp_path / "completion"
    prepared = f"dts --show-completion > {script}; . {script}"
    if shell == "zsh":
        prepared = f"autoload -Uz compinit; compinit -u; {prepared}"
    options = ["--norc", "-i"] if shell == "bash" else ["-f", "-i"]
    async with terminal([program, *options], environment) as screen:
        await screen.type(f"{prepared}; clear; echo prepared")
        await screen.press("Enter")
        await screen.shows("prepared\n")
        await screen.type("dts task show nightly-r")
        await screen.press("Tab")
        await screen.shows("dts task show nightly-report")
        await screen.press("C-u")
        await screen.type("dts simu")
        await screen.press("Tab")
        await screen.shows("dts simulate")
        await screen.press("C-u")
        # Nothing answers there: nothing is offered, and nothing is said.
        await screen.type("clear; DTS_SERVER=127.0.0.1:1; export DTS_SERVER")
        await screen.press("Enter")
        await screen.type("dts run show x")
        await screen.press("Tab")
        await screen.type("yz")
        shown = await screen.shows("dts run show xyz")
        assert "Traceback" not in shown


async def test_a_task_is_picked_by_some_of_its_letters(system):
    async with terminal(dts("task", "show"), system.environment) as screen:
        await screen.shows("Which task?", "3 of 3", "❯ nightly-backup")
        await screen.type("nrep")
        await screen.shows("1 of 3", "❯ nightly-report")
        await screen.press("Enter")
        await screen.shows("Which task? nightly-report", "0 3 * * *", "ended 0")


async def test_a_task_of_each_kind_is_made_with_questions(system):
    async with terminal(dts("task", "create"), system.environment) as screen:
        await screen.shows("Name:")
        await screen.type("asked-http\n")
        await screen.shows("When?")
        await screen.type("0 5 * * *\n")
        await screen.shows("In which time zone? UTC")
        for _ in range(3):
            await screen.press("BSpace")
        await screen.type("Europe/Zurich\n")
        await screen.shows("What does it run?", "container", "process", "service", "exec", "http", "noop")
        await screen.type("http\n")
        await screen.shows("URL:")
        await screen.type("example.com\n")
        await screen.shows("Method: GET")
        await screen.type("\n")
        await screen.shows("http.url")  # refused, and asked again
        await screen.type("http\n")
        await screen.shows("? URL:\n")
        await screen.type("https://example.com/hook\n")
        await screen.shows("Method: GET")
        await screen.type("\n")
        await screen.shows("Europe/Zurich", "Create asked-http?")
        await screen.press("y")
        await screen.shows("asked-http created", "ended 0")
    shown = json.loads((await system.dts("task", "show", "asked-http", "-o", "json")).out)
    assert (shown["kind"], shown["timezone"]) == ("http", "Europe/Zurich")


async def test_errors_of_a_run_are_red_on_a_terminal_and_only_there(system):
    run = await started(system)
    async with terminal(dts("run", "logs", run[:8], "-f"), system.environment) as screen:
        await screen.shows("to out", "to err")
        colored = await screen.screen(colored=True)
        assert "\x1b[31mto err" in colored
        assert "\x1b[31mto out" not in colored
        await system.dts("run", "cancel", run)
        await screen.shows("ended 0")
    assert "\x1b" not in (await system.dts("run", "logs", run)).err


async def test_waiting_shows_how_a_run_stands_while_it_waits(system):
    run = await started(system)
    async with terminal(dts("run", "wait", run), system.environment) as screen:
        await screen.shows("waiting", f"{run[:8]} sleeper running", "0/1")
        await system.dts("run", "cancel", run)
        await screen.shows("sleeper cancelled", "ended 1")
        assert "waiting" not in await screen.screen()


async def test_the_run_to_wait_for_is_picked_where_none_is_named(system):
    run = await started(system)
    async with terminal(dts("run", "wait"), system.environment) as screen:
        await screen.shows("Which run?", run[:8])
        await screen.press("Enter")
        await screen.shows("waiting", "0/1")
        await system.dts("run", "cancel", run)
        await screen.shows("sleeper cancelled", "ended 1")


async def test_what_cannot_be_undone_is_asked_about_and_a_no_leaves_everything(system, tmp_path):
    file = tmp_path / "tasks.yaml"
    file.write_text((await system.dts("export", "sleeper", "nightly-report")).out)
    for command, question in [
        (("apply", "-f", str(file), "--prune"), "Delete "),
        (("task", "backfill", "nightly-report", "--since", "3d"), "Run 3 ticks of nightly-report?"),
        (("token", "revoke", "nobody"), "Revoke nobody?"),
    ]:
        async with terminal(dts(*command), system.environment) as screen:
            await screen.shows(question)
            await screen.press("n")
            await screen.shows("ended 1")
    assert (await system.dts("task", "show", "nightly-backup")).code == 0
    assert json.loads((await system.dts("run", "list", "--task", "nightly-report", "-o", "json")).out) == []
    async with terminal(dts("apply", "-f", str(file), "--prune"), system.environment) as screen:
        await screen.shows("Delete ", "nightly-backup")
        await screen.press("y")
        await screen.shows("deleted    nightly-backup", "ended 0")
