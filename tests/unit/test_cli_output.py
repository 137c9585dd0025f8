"""What people read of a task, a run and a list of runs."""

from __future__ import annotations

import io
import re
import sys
from datetime import UTC, datetime, timedelta

import pytest

from dts.cli import output
from dts.cli.output import Format
from dts.cli.runs import run_lines, run_row
from dts.cli.tasks import SCHEDULE_WIDTH, task_lines, task_row
from dts.domain.taskfile import load_task
from dts.pb.dts.v1 import Attempt, EffectiveValue, Reason, Run, RunState, Task

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def lines_of(text: str) -> list[tuple[str, str]]:
    """What `dts task show` says of a definition, without what every task has."""
    task = Task(id="i", version=1, enabled=True, spec=load_task(text, source="f.yaml"))
    lines = task_lines(task, [])
    return lines[[name for name, _ in lines].index("schedule") :]


def test_a_command_is_told_as_a_shell_takes_it():
    text = 'name: x\nprocess: {command: [echo, hi there, "", "a\'b"], env: {B: two words, A: "1"}, working_dir: /tmp}\n'
    assert lines_of(text) == [
        ("schedule", "by hand"),
        ("runs", "process"),
        ("command", """echo 'hi there' '' 'a'"'"'b'"""),
        ("env", "A=1"),
        ("", "B='two words'"),
        ("working_dir", "/tmp"),
    ]


def test_a_script_keeps_its_lines_the_empty_ones_too():
    text = "name: x\nprocess:\n  command:\n    - sh\n    - -c\n    - |\n      set -e\n\n      exit 3\n"
    assert lines_of(text)[2:] == [("command", "sh -c 'set -e"), ("", ""), ("", "exit 3"), ("", "'")]


def test_a_container_is_told_with_its_volumes():
    text = (
        "name: x\ncontainer: {image: 'Reg.example/a:1', read_only: true,"
        " mounts: [{volume: a, target: /a}, {volume: b, target: /b, read_only: true}]}\n"
    )
    assert lines_of(text)[1:] == [
        ("runs", "container"),
        ("image", "Reg.example/a:1"),
        ("mounts", "a at /a"),
        ("", "b at /b, read-only"),
        ("read_only", "yes"),
    ]


def test_a_schedule_is_told_with_all_that_changes_its_ticks():
    text = (
        "name: x\nnoop: {}\n"
        "schedule: {cron: 0 3 * * *, timezone: Europe/Zurich, jitter: 5m,"
        " exclude: [12-25, 01-01..01-03], max_runs: 9}\n"
    )
    assert lines_of(text) == [
        ("schedule", "0 3 * * * Europe/Zurich"),
        ("jitter", "5m"),
        ("exclude", "12-25, 01-01..01-03"),
        ("max_runs", "9"),
        ("runs", "noop"),
    ]


def test_a_paused_task_says_who_paused_it_and_why_and_each_policy_says_where_it_comes_from():
    spec = load_task("name: x\nnoop: {}\n", source="f.yaml")
    task = Task(spec=spec, enabled=False, paused_at=NOON, paused_by="ann", pause_note="holiday")
    lines = task_lines(task, [EffectiveValue(name="timeout", value="5m", source="task"), EffectiveValue(name="group")])
    state = dict(lines)["state"]
    assert state.startswith("paused by ann at ")
    assert state.endswith(": holiday")
    assert lines[-2:] == [("timeout", "5m  (task)"), ("group", "-  ()")]


def test_a_long_schedule_is_cut_in_a_list_and_a_paused_task_has_no_next_tick():
    spec = load_task(
        "name: x\nnoop: {}\nschedule: {cron: ['1 * * * *', '2 * * * *', '3 * * * *', '4 * * * *', '5 * * * *']}",
        source="f",
    )
    row = task_row(Task(spec=spec, enabled=False, next_due_at=NOON))
    assert len(row[1]) == SCHEDULE_WIDTH
    assert row[1].endswith("…")
    assert row[4:6] == ("paused", "")


def test_a_run_is_told_with_each_attempt():
    first = Attempt(
        number=1, node="a", state=RunState.FAILED, started_at=NOON, finished_at=NOON + timedelta(seconds=2), exit_code=7
    )
    second = Attempt(number=2, node="b", state=RunState.ASSIGNED)
    lines = run_lines(Run(id="i", task="x", state=RunState.ASSIGNED, attempts=[first, second], ticks=1))
    told = dict(lines)
    assert told["attempt 1"].startswith("failed on a, started 20")
    assert told["attempt 1"].endswith(", took 2.000s, exit code 7")
    assert told["attempt 2"] == "assigned on b, started -"
    assert "message" not in told


def test_durations_in_a_table_end_in_one_line(monkeypatch):
    runs = [
        Run(
            id=f"{took:08d}",
            task="x",
            scheduled_at=NOON,
            started_at=NOON,
            finished_at=NOON + timedelta(seconds=took),
            state=RunState.SUCCEEDED,
            reason=Reason.OK,
            node="n",
            ticks=1,
        )
        for took in (1, 61, 7200)
    ]
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    header = ("ID", "TASK", "SCHEDULED", "STATE", "REASON", "LATE", "TOOK", "NODE")
    output.show([{}] * 3, [run_row(run) for run in runs], header, Format.TABLE, empty="")
    lines = stream.getvalue().splitlines()
    tooks = ["TOOK", "1.000s", "61.0s", "2h"]
    assert len({line.index(took) + len(took) for line, took in zip(lines, tooks, strict=True)}) == 1


@pytest.mark.parametrize("form", [Format.JSON, Format.YAML])
def test_scripts_read_no_continued_lines(capsys, form):
    output.show_one({"name": "x"}, [("name", "x"), ("", "more")], form)
    assert "more" not in capsys.readouterr().out


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def shown_at(monkeypatch, columns: int, header: tuple[str, ...], row: tuple[str, ...], **more) -> list[str]:
    """The lines of a table on a terminal, without its colours."""
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("COLUMNS", str(columns))
    output.show([{}], [row], header, Format.TABLE, empty="", **more)
    return re.sub(r"\x1b\[[0-9;]*m", "", sys.stdout.getvalue()).splitlines()


def test_a_narrow_terminal_wraps_words_and_keeps_whether_a_part_is_well(monkeypatch):
    detail = "runs http (no container: no Docker engine answers at unix:///var/run/docker.sock: No such file)"
    lines = shown_at(monkeypatch, 80, ("PART", "", ""), ("executor worker-1", "NOT WELL", detail))
    assert lines[1].startswith("executor worker-1  NOT WELL  runs http")
    assert " ".join(part.strip() for part in lines[1:]).endswith(detail.removeprefix("runs http "))
    assert all(len(line) <= 80 for line in lines)


def test_a_narrow_terminal_goes_without_some_columns_and_cuts_no_other(monkeypatch, capsys):
    header = ("ID", "TASK", "SCHEDULED", "STATE", "REASON", "LATE", "TOOK", "NODE")
    row = ("51e42e53", "morning-report", "2026-11-25 13:36:27", "skipped", "skipped_overlap", "0.018s", "10.0s", "vm")
    spare = ("LATE", "TOOK", "NODE")
    [head, line] = shown_at(monkeypatch, 80, header, row, spare=spare)
    assert line.split("  ") == [*row[:5], "vm"]
    assert head.split() == [*header[:5], "NODE"]
    assert capsys.readouterr().err == "(LATE, TOOK: on a wider terminal, or with -o json)\n"
    assert len(shown_at(monkeypatch, 120, header, row, spare=spare)[0].split()) == len(header)
    assert capsys.readouterr().err == ""
