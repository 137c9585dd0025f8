"""The commands as a user gives them, against a running dts: what they print, where, and with which exit code."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import yaml

from support.polling import eventually
from support.postgres import TestServer, open_directory
from support.system import DTS, Done, System, dev

pytestmark = pytest.mark.asyncio(loop_scope="module")

RUN_KEYS = {
    *("id", "task", "task_version", "trigger", "scheduled_at", "state", "reason", "message", "attempt", "node"),
    *("created_at", "started_at", "finished_at", "exit_code", "lateness", "duration", "labels"),
}
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(postgres: TestServer) -> AsyncIterator[System]:
    dsn = await postgres.create()
    with open_directory() as data:
        async with dev(data, environment={"DTS_DSN": dsn}) as running:
            yield running
    await postgres.drop(dsn)


async def well(system: System, *arguments: str, given: str | None = None) -> Done:
    done = await system.dts(*arguments, given=given)
    assert done.code == 0, (arguments, done)
    return done


async def said(system: System, *arguments: str):
    return json.loads((await well(system, *arguments, "-o", "json")).out)


async def shell(system: System, name: str, script: str, *options: str) -> None:
    await well(system, "task", "create", name, "--process", *options, "--", "sh", "-c", script)


async def started(system: System, *arguments: str) -> asyncio.subprocess.Process:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DTS_")} | dict(system.environment)
    return await asyncio.create_subprocess_exec(
        *DTS,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )


async def test_a_task_is_created_shown_changed_and_deleted(system):
    made = await well(system, "task", "create", "life", "--cron", "0 3 * * *", "--timezone", "Europe/Zurich", "--noop")
    assert made.out.startswith("life created\n")
    assert made.out.count("Europe/Zurich") == 3
    assert "life" in (await well(system, "task", "list")).out

    assert (await system.dts("task", "create", "life", "--noop")).code == 1

    [listed] = await said(system, "task", "list", "--prefix", "life")
    assert set(listed) == {
        *("id", "name", "enabled", "schedule", "timezone", "kind", "next_due_at", "last_run", "version"),
    }
    assert INSTANT.fullmatch(listed["next_due_at"])

    await well(system, "task", "set", "life", "timeout=5m", "schedule.cron=0 4 * * *", "labels.com.example.a=b")
    shown = await said(system, "task", "show", "life")
    assert (shown["version"], shown["schedule"]) == (2, "0 4 * * *")
    assert shown["definition"]["labels"] == {"com.example.a": "b"}
    assert shown["policies"]["timeout"] == {"value": "5m", "source": "task"}
    assert shown["policies"]["retries"] == {"value": "0", "source": "default"}
    assert "(default)" in (await well(system, "task", "show", "life")).out
    assert "unchanged" in (await well(system, "task", "set", "life", "timeout=300")).out
    added = (await well(system, "task", "set", "life", "schedule.every=1d")).out
    assert added.startswith("life updated to version 3: 0 4 * * *; every 1d; next due")
    await well(system, "task", "set", "life", "schedule.every=")

    assert "paused" in (await well(system, "task", "pause", "life", "--note", "holiday")).out
    assert "holiday" in (await well(system, "task", "show", "life")).out
    assert "resumed; next due" in (await well(system, "task", "resume", "life")).out
    changes = [version["change"] for version in await said(system, "task", "history", "life")]
    assert changes[-2:] == ["update", "create"]

    assert (await well(system, "task", "delete", "life")).out == "life deleted\n"
    gone = await system.dts("task", "show", "life")
    assert (gone.code, gone.out) == (3, "")
    assert "task list" in gone.err.splitlines()[1]


async def test_a_dry_run_stores_nothing(system):
    assert "can be created" in (await well(system, "task", "create", "dry", "--noop", "--dry-run")).out
    assert (await system.dts("task", "show", "dry")).code == 3


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("--noop", "--cron", "61 * * * *"), "cron"),
        (("--noop", "--every", "0s"), "every"),
        (("--noop", "--every", "soon"), "--every"),
        (("--noop", "--cron", "@daily", "--timezone", "Mars/Phobos"), "timezone"),
        (("--noop", "--timezone", "UTC"), "--timezone"),
        (("--noop", "--overlap", "sometimes"), "--overlap"),
        (("--noop", "--env", "A=1"), "--noop"),
        (("--noop", "--label", "A"), "--label"),
        (("--noop", "--process"), "kind"),
        (("--http", "https://example.com", "--noop"), "kind"),
        (("--http", "example.com"), "http.url"),
        (("--http", "https://example.com", "--header", "nothing"), "--header"),
        (("--http", "https://example.com", "--", "true"), "--http"),
        (("--noop", "--body", "x"), "--method, --header, --body"),
        (("--exec", "web", "--replicas", "all", "--", "true"), "--replicas"),
        (("--exec", "service/web", "--replicas", "some", "--", "true"), "--replicas"),
        (("--exec", "web"), "exec.command"),
        (("--image", "a:1", "--secret", "x"), "--secret, --config, --network"),
        ((), "kind"),
        (("--image", "UPPER/Case"), "image"),
        (("--process",), "command"),
        (("--noop", "--timeout", "99999d"), "timeout"),
    ],
)
async def test_what_is_wrong_is_told_by_its_field(system, arguments, field):
    done = await system.dts("task", "create", "wrong", *arguments)
    assert (done.code, done.out) == (2, "")
    assert all(line.startswith("error: ") for line in done.err.splitlines())
    assert field in done.err.split(": ")[1]
    assert (await system.dts("task", "show", "wrong")).code == 3


async def test_a_run_is_triggered_waited_for_and_told(system):
    await shell(system, "greet", 'echo "hello $DTS_PARAM_WHO"; echo careful >&2')
    done = await well(system, "task", "trigger", "greet", "--follow", "--param", "WHO=world")
    assert done.out == "hello world\n"
    assert "careful\n" in done.err
    run = re.search(r"run (\S+)", done.err)[1]

    shown = await said(system, "run", "show", run[:8])
    assert shown.keys() >= RUN_KEYS
    assert (shown["id"], shown["trigger"], shown["state"], shown["reason"]) == (run, "manual", "succeeded", "ok")
    assert shown["parameters"] == {"WHO": "world"}
    assert [attempt["exit_code"] for attempt in shown["attempts"]] == [0]
    assert shown["duration"] >= 0
    assert "succeeded" in (await well(system, "run", "show", run)).out

    logs = await well(system, "run", "logs", run)
    assert (logs.out, logs.err) == ("hello world\n", "careful\n")
    again = (await well(system, "run", "retry", run)).out.strip()
    assert "succeeded" in (await well(system, "run", "wait", again)).out
    assert (await said(system, "run", "show", again))["trigger"] == "retry"


async def test_a_run_that_fails_gives_exit_code_1(system):
    await shell(system, "broken", "exit 7")
    done = await system.dts("task", "trigger", "broken", "--wait")
    assert (done.code, done.out) == (1, "")
    assert "failed" in done.err.splitlines()[-1]
    run = (await well(system, "task", "trigger", "broken")).out.strip()
    waited = await system.dts("run", "wait", run)
    assert waited.code == 1
    [listed, *_] = await said(system, "run", "list", "--task", "broken", "--state", "failed", "--limit", "1")
    assert (listed["id"], listed["exit_code"]) == (run, 7)
    assert "exit_code 7" in (await well(system, "run", "list", "--task", "broken")).out


async def test_a_run_is_cancelled(system):
    await shell(system, "long", "echo begun; exec sleep 300")
    run = (await well(system, "task", "trigger", "long")).out.strip()

    async def runs() -> bool:
        return (await said(system, "run", "show", run))["state"] == "running"

    await eventually(runs)
    await well(system, "run", "cancel", run[:13])
    waited = await system.dts("run", "wait", run)
    assert (waited.code, "cancelled" in waited.out) == (1, True)


async def test_ctrl_c_ends_the_waiting_and_not_the_run(system):
    await shell(system, "patient", "echo begun; exec sleep 300")
    process = await started(system, "task", "trigger", "patient", "--follow")
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 20) == b"begun\n"
    process.send_signal(signal.SIGINT)
    _, err = await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 130
    assert b"Traceback" not in err
    [run] = await said(system, "run", "list", "--task", "patient")
    assert run["state"] == "running"
    await well(system, "run", "cancel", run["id"])


async def test_a_reader_that_goes_away_ends_the_following_quietly(system):
    await shell(system, "chatty", "while :; do echo line; sleep 0.05; done")
    process = await started(system, "task", "trigger", "chatty", "--follow")
    assert process.stdout is not None
    await asyncio.wait_for(process.stdout.readline(), 20)
    process._transport.get_pipe_transport(1).close()
    assert await asyncio.wait_for(process.wait(), 20) == 141
    assert process.stderr is not None
    told = await process.stderr.read()
    assert len(told.splitlines()) == 1  # the id of the run
    [run] = await said(system, "run", "list", "--task", "chatty")
    await well(system, "run", "cancel", run["id"])


async def test_past_ticks_are_counted_and_run(system):
    await well(system, "task", "create", "daily", "--cron", "0 3 * * *", "--noop")
    span = ("--since", "2026-01-01T00:00:00Z", "--until", "2026-01-06T00:00:00Z")
    assert (await well(system, "task", "backfill", "daily", *span, "--dry-run")).out == "5 ticks, nothing was run\n"
    assert (await well(system, "task", "backfill", "daily", *span)).out == "5 ticks, 5 runs made\n"

    async def done() -> bool:
        found = await said(system, "run", "list", "--task", "daily", "--state", "succeeded")
        assert {run["trigger"] for run in found} == {"backfill"}
        assert [run["scheduled_at"] for run in found] == [f"2026-01-0{n}T03:00:00.000000Z" for n in (5, 4, 3, 2, 1)]
        return True

    await eventually(done)


async def test_the_coming_ticks_are_told_and_so_is_that_there_are_more(system):
    await well(system, "task", "create", "often", "--every", "1m", "--noop")
    done = await well(system, "schedule", "--task", "often", "--within", "1h", "--limit", "5", "-o", "json")
    ticks = json.loads(done.out)
    assert len(ticks) == 5
    assert all({"task", "scheduled_at", "local_time", "timezone"} <= tick.keys() for tick in ticks)
    assert ticks == sorted(ticks, key=lambda tick: tick["scheduled_at"])
    assert "more" in done.err
    # After a tick, not after now: the minute may change between the two commands.
    previewed = await said(system, "task", "preview", "often", "-n", "3", "--after", ticks[0]["scheduled_at"])
    assert [tick["scheduled_at"] for tick in previewed] == [tick["scheduled_at"] for tick in ticks[1:4]]
    await well(system, "task", "delete", "often")


async def test_a_preview_shows_changes_of_the_clock(system):
    done = await well(
        system,
        *("task", "preview", "--cron", "30 2 * * *", "--timezone", "America/New_York"),
        *("-n", "3", "--after", "2026-03-06T12:00:00Z"),
    )
    assert "2026-03-08T03:00:00-04:00" in done.out
    assert "clock forward 2026-03-08T07:00Z" in done.out
    both = await system.dts("task", "preview", "x", "--cron", "* * * * *")
    assert both.code == 2


async def test_why_a_task_ran_is_explained(system):
    await well(system, "task", "create", "why", "--cron", "0 3 * * *", "--noop")
    explained = await said(system, "explain", "why")
    assert set(explained) == {"task", "at", "verdict", "reason", "message", "advice", "steps"}
    assert explained["verdict"] == "not_yet"
    assert all(set(step) == {"step", "ok", "detail"} for step in explained["steps"])
    assert (await well(system, "explain", "why")).out.startswith("why at ")
    assert (await system.dts("explain", "nobody")).code == 3
    await well(system, "task", "delete", "why")
    gone = await said(system, "explain", "why")
    assert gone["verdict"] == "never"
    assert "deleted" in gone["message"]


async def test_a_run_of_a_schedule_that_was_changed_is_not_explained_by_the_new_one(system):
    await well(system, "task", "create", "moved", "--every", "1s", "--noop")

    async def ran() -> bool:
        return bool(await said(system, "run", "list", "--task", "moved", "--state", "succeeded"))

    await eventually(ran)
    await well(system, "task", "set", "moved", "schedule.every=", "schedule.cron=0 3 * * *")
    [step] = [step for step in (await said(system, "explain", "moved"))["steps"] if step["step"] == "schedule"]
    assert step["detail"] == "not a tick of the schedule: due by a schedule that the task had then"
    await well(system, "task", "delete", "moved")


async def test_nodes_are_listed_drained_and_resumed(system):
    [node] = await said(system, "node", "list")
    assert {"id", "hostname", "state", "labels", "capacity", "running", "last_seen", "version"} <= node.keys()
    name = node["hostname"]
    assert "draining" in (await well(system, "node", "drain", name, "--note", "new disk")).out
    assert "new disk" in (await well(system, "node", "show", name)).out
    assert "ready" in (await well(system, "node", "resume", name)).out
    assert (await system.dts("node", "show", "nobody")).code == 3


async def test_status_and_the_schema_are_well(system):
    async def all_well() -> bool:
        return all(part["well"] for part in await said(system, "status"))

    await eventually(all_well)
    assert re.fullmatch(r"schema (\d+), this dts needs \1\n", (await well(system, "db", "status")).out)
    assert "nothing to do" in (await well(system, "db", "migrate")).out


async def test_files_are_applied_shown_exported_and_applied_again(system, tmp_path):
    file = tmp_path / "tasks.yaml"
    file.write_text(
        "tasks:\n"
        "  - name: file-a\n    schedule: {every: [{period: 1h, phase: 5m}, 2h], dst_gap: skip}\n    noop: {}\n"
        '  - name: file-b\n    process: {command: [sh, -c, "exit 0"], env: {A: "no\\u2028"}}\n    timeout: 5m\n'
    )
    dry = await well(system, "apply", "-f", str(file), "--dry-run")
    assert dry.out.startswith("created    file-a\n")
    assert (await system.dts("task", "show", "file-a")).code == 3
    assert (await well(system, "apply", "-f", str(tmp_path))).out == "created    file-a\ncreated    file-b\n"

    exported = (await well(system, "export", "file-a", "file-b")).out
    again = await well(system, "apply", "-f", "-", "-o", "json", given=exported)
    assert [task["change"] for task in json.loads(again.out)] == ["unchanged", "unchanged"]

    changed = exported.replace("timeout: 5m", "timeout: 6m")
    difference = await well(system, "apply", "-f", "-", "--dry-run", given=changed)
    assert "    -timeout: 5m\n    +timeout: 6m\n" in difference.out
    assert (await well(system, "apply", "-f", "-", given=changed)).out.splitlines()[1] == "updated    file-b"

    everything = (await well(system, "export")).out
    rest = yaml.safe_load(everything)["tasks"]
    kept = yaml.safe_dump({"tasks": [task for task in rest if task["name"] != "file-a"]})
    pruned = await well(system, "apply", "-f", "-", "--prune", given=kept)
    assert [line for line in pruned.out.splitlines() if not line.startswith("unchanged")] == ["deleted    file-a"]


async def test_a_file_with_a_mistake_changes_nothing_and_tells_its_line(system, tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text("name: fine\nnoop: {}\ntimout: 5m\n")
    done = await system.dts("apply", "-f", str(file))
    assert (done.code, done.err) == (2, f"error: {file}:3: unknown key 'timout'; did you mean 'timeout'?\n")
    file.write_text("tasks:\n - {name: fine, noop: {}}\n - {name: bad, noop: {}, schedule: {cron: 61 * * * *}}\n")
    done = await system.dts("apply", "-f", str(file))
    assert done.code == 2
    assert done.err.startswith(f"error: {file}:3: bad.schedule")
    assert (await system.dts("task", "show", "fine")).code == 3


async def test_a_wrong_token_is_not_allowed_and_a_beginning_that_is_none_is_refused(system):
    environment = {**system.environment, "DTS_TOKEN": "wrong"}
    stranger = System(system.grpc, system.http, system.data, environment)
    done = await stranger.dts("task", "list")
    assert (done.code, done.out) == (5, "")
    assert "DTS_TOKEN" in done.err.splitlines()[1]
    assert (await system.dts("run", "show", "xyz")).code == 2
    assert (await system.dts("run", "show", "00000000-0000-4000-8000-000000000000")).code == 3


async def test_without_any_setting_the_server_of_this_machine_is_found(system):
    environment = {"DTS_DATA": str(system.data)}
    plain = System(system.grpc, system.http, system.data, environment)
    assert (await plain.dts("task", "list")).code == 0
    left = await asyncio.to_thread(Path(system.data, "client.json").stat)
    assert left.st_mode & 0o777 == 0o600


async def test_an_edit_is_stored_only_if_nobody_was_faster(system):
    """The editor here is a program that changes the file; a pseudo terminal stands for the person."""
    await well(system, "task", "create", "edited", "--noop", "--description", "before")
    code, out = await on_terminal(system, "task", "edit", "edited", EDITOR="sed -i s/before/after/")
    assert (code, "edited updated to version 2" in out) == (0, True)
    assert (await said(system, "task", "show", "edited"))["definition"]["description"] == "after"
    code, out = await on_terminal(system, "task", "edit", "edited", EDITOR="true")
    assert (code, "unchanged" in out) == (0, True)
    faster = f"{DTS[0]} -m dts task set edited description=faster; sed -i s/after/slower/"
    script = system.data / "editor"
    script.write_text(f'#!/bin/sh\n{faster} "$1"\n')
    script.chmod(0o755)
    code, out = await on_terminal(system, "task", "edit", "edited", EDITOR=str(script))
    assert code == 1
    assert (await said(system, "task", "show", "edited"))["definition"]["description"] == "faster"
    kept = Path(re.search(r"kept in (\S+)", out)[1])
    assert "slower" in await asyncio.to_thread(kept.read_text)
    await asyncio.to_thread(kept.unlink)


async def test_an_edit_with_a_mistake_is_edited_again(system):
    await well(system, "task", "create", "clumsy", "--noop", "--description", "before")
    script = system.data / "clumsy-editor"
    # Wrong the first time, right the second.
    script.write_text(
        '#!/bin/sh\ngrep -q descr0ption "$1" && sed -i s/descr0p/descrip/ "$1" && exit\n'
        "sed -i 's/description: before/descr0ption: after/' \"$1\"\n"
    )
    script.chmod(0o755)
    code, out = await on_terminal(system, "task", "edit", "clumsy", typed=[("again?", "y")], EDITOR=str(script))
    assert (code, "did you mean 'description'?" in out) == (0, True), out
    assert (await said(system, "task", "show", "clumsy"))["definition"]["description"] == "after"
    code, out = await on_terminal(
        system, "task", "edit", "clumsy", EDITOR="no-such-editor-anywhere", typed=[("again?", "n")]
    )
    assert (code, "cannot be run" in out, "kept" in out) == (2, True, False)


async def test_on_a_terminal_a_task_is_picked_and_asked_for(system):
    await well(system, "task", "create", "aaa-first", "--noop")
    code, out = await on_terminal(system, "task", "show", typed=[("Which task?", "\r")])
    assert (code, "aaa-first" in out) == (0, True)
    code, out = await on_terminal(
        system,
        *("task", "create", "--noop"),
        typed=[
            ("Name:", "Not so\r"),
            ("Name:", "asked-for\r"),
            ("When?", "61 * * * *\r"),
            ("zone?", "\r"),
            ("When?", "0 3 * * *\r"),
            ("zone?", "\r"),
            ("Create", "y"),
        ],
    )
    assert code == 0, out
    assert "minute 61" in out
    assert out.index("03:00:00Z") < out.index("Create asked-for?")
    assert (await said(system, "task", "show", "asked-for"))["schedule"] == "0 3 * * *"
    code, out = await on_terminal(system, "task", "delete", "asked-for", typed=[("Delete", "n")])
    assert code == 1
    code, out = await on_terminal(system, "task", "delete", typed=[("Which task?", "\x03")])
    assert (code, "Traceback" in out) == (130, False)
    assert (await system.dts("task", "show", "asked-for")).code == 0


async def on_terminal(
    system: System, *arguments: str, typed: list[tuple[str, str]] | None = None, **environment: str
) -> tuple[int, str]:
    """Runs a command on a pseudo terminal. typed: what to wait for, and what to type then."""
    return await asyncio.wait_for(asyncio.to_thread(_typed, system, arguments, typed or [], environment), 60)


def _typed(system: System, arguments, typed, environment) -> tuple[int, str]:
    import pty  # noqa: PLC0415 - this is the one place

    whole = {k: v for k, v in os.environ.items() if not k.startswith("DTS_")} | dict(system.environment)
    whole |= {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", "VISUAL": "", **environment}
    child, terminal = pty.fork()
    if child == 0:
        os.execve(DTS[0], [*DTS, *arguments], whole)
    out, waiting, seen = b"", list(typed), 0
    while True:
        try:
            read = os.read(terminal, 4096)
        except OSError:  # the other end is closed
            break
        if not read:
            break
        out += read
        if waiting and (at := out.find(waiting[0][0].encode(), seen)) >= 0:
            seen = at + len(waiting[0][0])
            os.write(terminal, waiting.pop(0)[1].encode())
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), out.decode(errors="replace")


@pytest.mark.parametrize(
    ("arguments", "definition"),
    [
        (
            ("--http", "https://example.com/x", "--header", "X-A: b: c", "--body", "{}"),
            {"http": {"url": "https://example.com/x", "headers": {"X-A": "b: c"}, "body": "{}"}},
        ),
        (
            ("--exec", "service/web_db", "--replicas", "all", "--env", "A=1", "--", "vacuumdb", "--all"),
            {"exec": {"service": "web_db", "replicas": "all", "command": ["vacuumdb", "--all"], "env": {"A": "1"}}},
        ),
        (("--exec", "db", "--", "true"), {"exec": {"container": "db", "command": ["true"]}}),
        (
            ("--service", "web_app", "--secret", "key:app.key", "--secret", "other", "--", "migrate"),
            {
                "service": {
                    "copy_of": "web_app",
                    "command": ["migrate"],
                    "secrets": [{"name": "key", "target": "app.key"}, "other"],
                }
            },
        ),
    ],
)
async def test_each_kind_is_made_by_its_options_and_shown(system, arguments, definition):
    await well(system, "task", "create", "kinds", *arguments)
    shown = await said(system, "task", "show", "kinds")
    assert shown["definition"] == {"name": "kinds"} | definition
    assert next(iter(definition)) in (await well(system, "task", "show", "kinds")).out
    await well(system, "task", "delete", "kinds", "--yes")


async def test_a_log_that_is_cut_in_its_middle_is_not_told_to_miss_anything_else(system):
    await shell(system, "wordy", "yes | head -c 3000000; echo end; yes no | head -c 300000 >&2")
    done = await well(system, "task", "trigger", "wordy", "--follow")
    assert done.out.endswith("y\nend\n")
    assert "bytes cut here" in done.out
    assert "missing" not in done.err
