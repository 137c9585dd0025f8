"""What scripts read, and how people read the same: shapes, times, tables."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
import yaml

from dts.cli import client, output, shapes, times
from dts.cli.errors import printable
from dts.cli.options import member, pairs, schedule_of
from dts.cli.output import Format
from dts.cli.runs import run_row
from dts.cli.task_edit import _path, _set
from dts.domain import words
from dts.domain.errors import InvalidArgument
from dts.pb.dts.v1 import (
    Capacity,
    Cron,
    Dialect,
    ExplainStep,
    ExplainTaskResponse,
    Interval,
    Kind,
    Node,
    NodeState,
    NoopKind,
    Overlap,
    Reason,
    Resources,
    Rule,
    Run,
    RunState,
    Schedule,
    Task,
    TaskSpec,
    Tick,
    Trigger,
)

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
RUN = Run(
    id="0f3c9c1e-0000-4000-8000-000000000000",
    task_id="t",
    task="report",
    task_version=3,
    trigger=Trigger.SCHEDULE,
    scheduled_at=NOON,
    state=RunState.TIMED_OUT,
    reason=Reason.TIMEOUT,
    message="ran longer than 5m",
    attempt=1,
    node="vm",
    created_at=NOON - timedelta(seconds=2),
    started_at=NOON + timedelta(microseconds=1500),
    finished_at=NOON + timedelta(seconds=2, microseconds=1500),
    exit_code=0,
    ticks=1,
    labels={"team": "a"},
)


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_a_run_has_the_shape_of_the_contract():
    assert shapes.run_shape(RUN) == {
        "id": "0f3c9c1e-0000-4000-8000-000000000000",
        "task": "report",
        "task_version": 3,
        "trigger": "schedule",
        "scheduled_at": "2026-11-23T12:00:00.000000Z",
        "state": "timed_out",
        "reason": "timeout",
        "message": "ran longer than 5m",
        "attempt": 1,
        "node": "vm",
        "created_at": "2026-11-23T11:59:58.000000Z",
        "started_at": "2026-11-23T12:00:00.001500Z",
        "finished_at": "2026-11-23T12:00:02.001500Z",
        "exit_code": 0,
        "lateness": 0.0015,
        "duration": 2.0,
        "labels": {"team": "a"},
    }


def test_a_run_that_has_not_started_says_null_where_nothing_is_known():
    shape = shapes.run_shape(Run(id="x", scheduled_at=NOON, state=RunState.PENDING, ticks=1))
    unknown = ("created_at", "started_at", "finished_at", "exit_code", "lateness", "duration")
    assert {name: shape[name] for name in unknown} == dict.fromkeys(unknown)


def test_a_stretch_of_ticks_says_how_many_and_until_when():
    shape = shapes.run_shape(Run(id="x", scheduled_at=NOON, ticks=7, last_scheduled_at=NOON + timedelta(hours=1)))
    assert (shape["ticks"], shape["last_scheduled_at"]) == (7, "2026-11-23T13:00:00.000000Z")


def test_a_task_has_the_shape_of_the_contract():
    schedule = Schedule(
        rules=[Rule(cron=Cron(expression="0 3 * * *")), Rule(every=Interval(period=timedelta(hours=1)))]
    )
    spec = TaskSpec(name="report", schedule=schedule, kind=Kind(noop=NoopKind()))
    task = Task(id="i", spec=spec, version=2, enabled=True, next_due_at=NOON, last_run=RUN)
    assert shapes.task_shape(task) == {
        "id": "i",
        "name": "report",
        "enabled": True,
        "schedule": "0 3 * * *; every 1h",
        "timezone": "UTC",
        "kind": "noop",
        "next_due_at": "2026-11-23T12:00:00.000000Z",
        "last_run": {"id": RUN.id, "state": "timed_out", "scheduled_at": "2026-11-23T12:00:00.000000Z"},
        "version": 2,
    }


def test_a_tick_a_node_and_an_explanation_have_the_keys_of_the_contract():
    tick = shapes.tick_shape(Tick(task="a", scheduled_at=NOON, local_time="2026-11-23T13:00:00+01:00", timezone="Z"))
    assert {"task", "scheduled_at", "local_time", "timezone"} <= tick.keys()
    node = shapes.node_shape(
        Node(
            id="n",
            hostname="vm",
            state=NodeState.READY,
            labels={"disk": "ssd"},
            capacity=Capacity(slots=8, resources=Resources(cpus=2, memory=1 << 30)),
            last_seen_at=NOON,
        )
    )
    assert {"id", "hostname", "labels", "running", "version"} <= node.keys()
    assert (node["state"], node["last_seen"]) == ("ready", "2026-11-23T12:00:00.000000Z")
    assert node["capacity"] == {"slots": 8, "cpus": 2, "memory": 1 << 30}
    explained = ExplainTaskResponse(
        task="a",
        at=NOON,
        verdict="skipped",
        reason=Reason.SKIPPED_OVERLAP,
        message="m",
        advice="d",
        steps=[ExplainStep(step="schedule", ok=True, detail="due")],
    )
    assert shapes.explain_shape(explained) == {
        "task": "a",
        "at": "2026-11-23T12:00:00.000000Z",
        "verdict": "skipped",
        "reason": "skipped_overlap",
        "message": "m",
        "advice": "d",
        "steps": [{"step": "schedule", "ok": True, "detail": "due"}],
    }


def test_every_value_of_an_enum_is_a_word_of_its_own_in_lower_case():
    for kind in (RunState, Reason, Trigger, NodeState, Overlap):
        shown = [words.word(each) for each in kind]
        assert shown[0] == ""
        assert len(set(shown)) == len(shown)
        assert all(word == word.lower() for word in shown)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-12-24T18:00:00Z", datetime(2026, 12, 24, 18, tzinfo=UTC)),
        ("2026-12-24t18:00:00z", datetime(2026, 12, 24, 18, tzinfo=UTC)),
        ("2026-12-24T18:00:00.000001+01:00", datetime(2026, 12, 24, 17, 0, 0, 1, tzinfo=UTC)),
        ("+10m", NOON + timedelta(minutes=10)),
        ("-1h30m", NOON - timedelta(hours=1, minutes=30)),
    ],
)
def test_an_instant_is_rfc_3339_or_so_far_from_now(monkeypatch, text, expected):
    monkeypatch.setattr(times, "now", lambda: NOON)
    assert times.instant(text, field="--at") == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-02-30T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T23:59:60Z",
        "0001-01-01T00:00:00+10:00",
        "9999-12-31T23:59:59-10:00",
        "10000-01-01T00:00:00Z",
        "+",
        "+-5m",
        "+5 minutes",
        "-99999999999d",
        "\x1b[31m",
        "9" * 10_000,
    ],
)
def test_what_is_no_instant_is_refused_by_its_option(text):
    with pytest.raises(InvalidArgument) as caught:
        times.instant(text, field="--at")
    [violation] = caught.value.violations
    assert violation.field == "--at"
    assert len(violation.message) < 200
    assert violation.message.isprintable()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("24h", NOON - timedelta(days=1)),
        ("90", NOON - timedelta(seconds=90)),
        ("-5m", NOON - timedelta(minutes=5)),
        ("2026-11-01T00:00:00Z", datetime(2026, 11, 1, tzinfo=UTC)),
    ],
)
def test_a_duration_means_so_long_ago(monkeypatch, text, expected):
    monkeypatch.setattr(times, "now", lambda: NOON)
    assert times.past(text, field="--since") == expected


@pytest.mark.parametrize("text", ["2026-11", "yesterday", "२h", "5x"])
def test_what_is_neither_a_duration_nor_a_time_is_refused(text):
    with pytest.raises(InvalidArgument):
        times.past(text, field="--since")


def test_times_for_scripts_have_microseconds_and_z_whatever_the_zone():
    assert words.rfc3339(NOON.astimezone(timezone(timedelta(hours=5)))) == "2026-11-23T12:00:00.000000Z"
    assert words.rfc3339(None) is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0015, "0.002s"), (9.9994, "9.999s"), (61.26, "61.3s"), (3600.4, "1h"), (-0.5, "-0.500s")]
)
def test_a_duration_in_a_table_is_short(seconds, text):
    assert words.rounded(timedelta(seconds=seconds)) == text


def test_pairs_are_told_apart_at_the_first_equals_sign():
    assert pairs(["A=1", "B=x=y", "C="], field="--env") == {"A": "1", "B": "x=y", "C": ""}
    for wrong in (["A"], ["=1"], ["A=1", "A=2"]):
        with pytest.raises(InvalidArgument):
            pairs(wrong, field="--env")


def test_a_word_that_an_enum_does_not_have_is_told_with_those_it_has():
    assert member(Overlap, "queue_one", field="--overlap") is Overlap.QUEUE_ONE
    assert member(Overlap, None, field="--overlap") is Overlap.UNSPECIFIED
    for wrong in ("SKIP", "unspecified", ""):
        with pytest.raises(InvalidArgument, match="skip, queue_one, queue_all"):
            member(Overlap, wrong, field="--overlap")


def test_schedules_given_as_options_are_one_union():
    schedule = schedule_of(["@daily"], ["5m"], ["2026-12-24T18:00"], timezone="Europe/Zurich", dialect="cronie")
    assert schedule is not None
    assert schedule.timezone == "Europe/Zurich"
    assert schedule.rules[0].cron == Cron(expression="@daily", dialect=Dialect.CRONIE)
    assert schedule.rules[1].every == Interval(period=timedelta(minutes=5))
    assert schedule.rules[2].at is not None
    assert schedule_of([], [], [], timezone="", dialect=None) is None


@pytest.mark.parametrize(
    ("field", "path"),
    [
        ("timeout", ["timeout"]),
        ("schedule.cron", ["schedule", "cron"]),
        ("labels.com.example.team", ["labels", "com.example.team"]),
        ("process.env.A.B", ["process", "env", "A.B"]),
        ("labels", ["labels"]),
    ],
)
def test_the_name_of_a_label_may_have_dots(field, path):
    assert _path(field) == path


def test_a_field_is_set_unset_and_may_be_a_list():
    document = {"name": "x", "timeout": "5m"}
    _set(document, ["timeout"], "")
    _set(document, ["process", "command"], "[sh, -c, 'a b']")
    _set(document, ["schedule", "cron"], "*/5 * * * *")
    assert document == {
        "name": "x",
        "process": {"command": ["sh", "-c", "a b"]},
        "schedule": {"cron": "*/5 * * * *"},
    }
    with pytest.raises(InvalidArgument):
        _set(document, ["name", "inner"], "1")
    with pytest.raises(InvalidArgument):
        _set(document, ["labels"], "{a: [")


def shown(monkeypatch, stream: io.StringIO, form: Format) -> str:
    monkeypatch.setattr(sys, "stdout", stream)
    output.show(
        [shapes.run_shape(RUN)], [run_row(RUN)], ("ID", "TASK", "", "STATE", "", "", "", ""), form, empty="none"
    )
    return stream.getvalue()


def test_json_and_yaml_are_the_same_list(monkeypatch):
    as_json = shown(monkeypatch, io.StringIO(), Format.JSON)
    as_yaml = shown(monkeypatch, io.StringIO(), Format.YAML)
    assert json.loads(as_json) == yaml.safe_load(as_yaml) == [shapes.run_shape(RUN)]


def test_a_table_has_colour_on_a_terminal_only_and_not_if_nobody_wants_it(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[31m" in shown(monkeypatch, Terminal(), Format.TABLE)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" not in shown(monkeypatch, io.StringIO(), Format.TABLE)
    monkeypatch.delenv("FORCE_COLOR")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[31m" not in shown(monkeypatch, Terminal(), Format.TABLE)


def test_a_table_on_a_pipe_is_not_cut(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    output.show([{}], [("n" * 300, "日本" * 40)], ("A", "B"), Format.TABLE, empty="none")
    assert "n" * 300 in stream.getvalue()
    assert "日本" * 40 in stream.getvalue()


def test_an_empty_list_says_so_beside_the_pipe(capsys):
    output.show([], [], ("A",), Format.TABLE, empty="no tasks")
    assert capsys.readouterr() == ("", "no tasks\n")
    output.show([], [], ("A",), Format.JSON, empty="no tasks")
    assert capsys.readouterr() == ("[]\n", "")


def test_nothing_that_was_stored_acts_on_a_terminal(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    evil = "\x1b]0;owned\x07\r\n\u202e[red]bold[/red]"
    output.show([{}], [(evil,)], ("A",), Format.TABLE, empty="")
    output.show_one({}, [("message", evil)], Format.TABLE)
    assert not {"\x1b", "\x07", "\r", "\u202e"} & set(stream.getvalue())
    assert "[red]" in stream.getvalue()
    assert printable("a\tb é 日 ×") == "a\\tb é 日 ×"


def test_the_token_of_dts_dev_is_shown_to_no_other_server(monkeypatch, tmp_path):
    (tmp_path / "client.json").write_text('{"server": "127.0.0.1:7461", "token": "secret", "dsn": "postgresql://x"}')
    for name in ("DTS_SERVER", "DTS_TOKEN", "DTS_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DTS_DATA", str(tmp_path))
    assert client.address() == ("127.0.0.1:7461", "secret")
    monkeypatch.setenv("DTS_SERVER", "localhost:7461")
    assert client.address() == ("localhost:7461", "secret")
    monkeypatch.setenv("DTS_SERVER", "elsewhere.example:7461")
    assert client.address() == ("elsewhere.example:7461", None)
    (tmp_path / "token").write_text("of-a-file\n")
    monkeypatch.setenv("DTS_TOKEN_FILE", str(tmp_path / "token"))
    assert client.address() == ("elsewhere.example:7461", "of-a-file")
    monkeypatch.setenv("DTS_TOKEN", "given")
    assert client.address() == ("elsewhere.example:7461", "given")


def test_nothing_at_all_means_the_usual_address_without_a_token(monkeypatch, tmp_path):
    for name in ("DTS_SERVER", "DTS_TOKEN", "DTS_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DTS_DATA", str(tmp_path))
    assert client.address() == ("127.0.0.1:7461", None)


def test_a_run_that_waits_for_its_retry_shows_no_exit_code_that_it_has_not():
    waits = replace(RUN, state=RunState.PENDING, reason=Reason.EXIT_CODE, exit_code=None)
    assert "exit_code" in run_row(waits)
    assert "exit_code 3" in run_row(replace(waits, state=RunState.FAILED, exit_code=3))
