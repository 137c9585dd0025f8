"""The parts of the dashboard that are pure: forms, commands, lines of logs, pictures, colours."""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dts.domain.errors import InvalidArgument
from dts.domain.explain_words import ADVICE
from dts.domain.taskfile import load_tasks
from dts.domain.taskfile_write import spec_document
from dts.pb.dts.v1 import ListRunCountsResponse, LogChunk, LogStream, Run, RunState, TaskOutcomes
from dts.roles.gateway.web import assets
from dts.roles.gateway.web.advice import by_hand
from dts.roles.gateway.web.charts import calendar, density, outcomes, spans
from dts.roles.gateway.web.charts.timeline import LANES, NO_NODE, OTHERS, begin_of, timeline
from dts.roles.gateway.web.command_line import create_command
from dts.roles.gateway.web.cookies import local_path
from dts.roles.gateway.web.definition_form import can_show, document_of, fields_of
from dts.roles.gateway.web.loglines import LONGEST, LogLines
from dts.roles.gateway.web.pages.fields import pairs, pairs_text
from dts.roles.gateway.web.render import ago, brief, size
from dts.roles.gateway.web.session import Sessions
from dts.runtime import clock

NOW = datetime(2026, 11, 23, 12, 34, 56, tzinfo=UTC)
EXAMPLES = load_tasks(Path("examples/tasks.yaml").read_text(), source="examples")
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t"), max_size=20)


# -- forms and commands


@pytest.mark.parametrize("spec", EXAMPLES, ids=lambda spec: spec.name)
def test_a_form_gives_back_the_definition_that_it_was_made_of(spec):
    document = spec_document(spec)
    assert can_show(document)
    assert document_of(fields_of(document), document) == document


def test_what_the_form_has_no_field_for_stays_as_it_was():
    before = {
        "name": "t",
        "schedule": {"cron": "0 3 * * *", "exclude": ["12-25"], "dialect": "cronie"},
        "container": {"image": "a:1", "mounts": [{"volume": "v", "target": "/v"}]},
        "spread": ["node.labels.zone"],
    }
    fields = fields_of(before) | {"expression": "0 4 * * *", "image": "a:2"}
    after = document_of(fields, before)
    assert after["schedule"] == {"cron": "0 4 * * *", "exclude": ["12-25"], "dialect": "cronie"}
    assert after["container"] == {"image": "a:2", "mounts": [{"volume": "v", "target": "/v"}]}
    assert after["spread"] == ["node.labels.zone"]


def test_another_kind_takes_the_place_of_the_one_before():
    before = {"name": "t", "process": {"command": ["true"]}}
    after = document_of(fields_of(before) | {"kind": "http", "url": "https://example.com"}, before)
    assert after == {"name": "t", "http": {"url": "https://example.com"}}


@pytest.mark.parametrize(
    "document",
    [
        {"name": "t", "description": "two\nlines", "noop": {}},
        {"name": "t", "process": {"command": ["true"], "env": {"A": "\r"}}, "labels": {"a=b": "c"}},
    ],
)
def test_what_the_form_cannot_show_is_left_to_the_task_file(document):
    assert not can_show(document)


def test_several_schedules_are_kept_as_they_are():
    document = {"name": "t", "schedule": {"cron": ["0 3 * * *", "0 5 * * *"]}, "process": {"command": ["true"]}}
    assert fields_of(document)["when"] == "kept"
    assert document_of(fields_of(document), document) == document


@given(st.dictionaries(st.from_regex(r"[A-Z_]{1,8}", fullmatch=True), TEXT, max_size=4))
def test_an_environment_survives_its_field(values):
    assert pairs(pairs_text(values), field="env") == values


@pytest.mark.parametrize("text", ["no equals", "=x", "A=1\nA=2"])
def test_lines_that_are_no_pairs_are_refused(text):
    with pytest.raises(InvalidArgument):
        pairs(text, field="env")


def test_a_command_says_the_whole_definition_or_there_is_none():
    told = create_command(
        {
            "name": "tidy",
            "description": "it's tidy",
            "schedule": {"cron": "0 3 * * *", "timezone": "Europe/Zurich"},
            "container": {"image": "a:1", "command": ["sh", "-c", "echo $A"], "env": {"A": "b c"}},
            "retries": 2,
            "constraints": ["node.labels.disk==ssd"],
            "labels": {"team": "ops"},
        }
    )
    words = shlex.split(told.replace("\\\n", ""))
    assert words[:4] == ["dts", "task", "create", "tidy"]
    assert words[words.index("--cron") + 1] == "0 3 * * *"
    assert words[words.index("--env") + 1] == "A=b c"
    assert words[words.index("--") + 1 :] == ["sh", "-c", "echo $A"]
    assert create_command({"name": "t", "noop": {}, "backoff": {"initial": "1s"}}) is None
    assert create_command({"name": "t", "container": {"image": "a", "read_only": True}}) is None


# -- logs


def chunk(text, stream=LogStream.STDOUT, attempt=1, **more):
    return LogChunk(content=text if isinstance(text, bytes) else text.encode(), stream=stream, attempt=attempt, **more)


def told(chunks):
    lines = LogLines()
    return [(line.kind, line.text) for line in [*lines.take(chunks), *lines.rest()]]


def test_lines_are_whole_though_chunks_are_not():
    parts = [chunk("one\ntw"), chunk("broken\n", LogStream.STDERR), chunk("o\nthree")]
    assert told(parts) == [("out", "one"), ("err", "broken"), ("out", "two"), ("out", "three")]


def test_a_sign_that_two_chunks_share_is_whole():
    whole = "é\n".encode()
    assert told([chunk(whole[:1]), chunk(whole[1:])]) == [("out", "é")]


def test_what_was_cut_and_other_attempts_are_noted():
    parts = [chunk("a\n"), chunk("b\n", cut_before=7), chunk("c\n", attempt=2)]
    assert told(parts) == [
        ("out", "a"),
        ("note", "7 bytes were cut here"),
        ("out", "b"),
        ("note", "attempt 2"),
        ("out", "c"),
    ]


def test_something_that_never_ends_its_line_holds_nothing_back():
    lines = LogLines()
    assert sum(len(line.text) for line in lines.take([chunk("x" * (3 * LONGEST))])) >= 2 * LONGEST


@pytest.mark.parametrize("text", ["\x1b[31mred\x1b[0m", "\x1b]0;title\x07red", "r\x00ed", "red\r"])
def test_what_steers_terminals_is_left_out(text):
    assert told([chunk(text + "\n")]) == [("out", "red")]


# -- pictures


def test_a_spark_has_a_bar_for_each_run_and_says_the_same_in_words():
    states = [RunState.SUCCEEDED, RunState.FAILED, RunState.SKIPPED]
    picture = outcomes.spark(TaskOutcomes(states=states, took=[5_000_000, 1_000, -1]), slots=30)
    assert {kind: path.count("M") for kind, path in picture.paths.items()} == {"ok": 1, "bad": 1, "skip": 1}
    assert picture.told == "of the last 3: 1 succeeded, 1 failed, 1 skipped"


def test_the_usual_duration_is_that_of_what_succeeded():
    states = [RunState.SUCCEEDED, RunState.FAILED, RunState.SUCCEEDED, RunState.SUCCEEDED]
    assert outcomes.usual(TaskOutcomes(states=states, took=[3, 1_000_000, 5, 4])) == 4
    assert outcomes.usual(TaskOutcomes(states=[RunState.FAILED], took=[1])) is None


def counts(**columns):
    rows = len(columns["steps"])
    zero = {name: [0] * rows for name in ("succeeded", "failed", "cancelled", "skipped")}
    return ListRunCountsResponse(**(zero | columns))


def test_the_timeline_has_a_lane_for_each_node_and_one_for_what_no_node_had():
    found = counts(steps=[3, 3], nodes=["a", ""], succeeded=[5, 0], skipped=[0, 2])
    running = Run(task="t", node="a", state=RunState.RUNNING, started_at=NOW - timedelta(minutes=2))
    picture = timeline(NOW, ["a", "b"], found, [running], [0, 4])
    lanes = {lane.name: [mark.kind for mark in lane.marks] for lane in picture.lanes}
    assert lanes == {NO_NODE: ["skip", "due"], "a": ["ok", "run"], "b": []}
    assert picture.now == pytest.approx(60.9, abs=0.1)
    assert begin_of(NOW) == NOW.replace(hour=11, second=0)


def test_many_nodes_share_a_lane():
    picture = timeline(NOW, [f"n{number}" for number in range(40)], counts(steps=[], nodes=[]), [], [])
    assert len(picture.lanes) == LANES + 1
    assert picture.lanes[-1].name == OTHERS


def test_one_failure_among_thousands_is_seen():
    picture = timeline(NOW, ["a"], counts(steps=[1], nodes=["a"], succeeded=[9999], failed=[1]), [], [])
    (mark,) = [mark for mark in picture.lanes[1].marks if mark.kind == "bad"]
    assert mark.height >= 3


def test_a_year_ends_today_and_shows_the_worst_of_each_day():
    begin = calendar.begin_of(NOW)
    last = (NOW - begin) // calendar.DAY
    found = counts(steps=[last - 1, last], succeeded=[3, 9], failed=[0, 1])
    picture = calendar.calendar(NOW, found)
    assert [day.kind for day in picture.days[-2:]] == ["ok", "bad some"]
    assert picture.days[-1].told == "2026-11-23: 9 succeeded, 1 failed"
    assert begin.weekday() == 0
    assert len(picture.days) >= 364


def test_a_field_has_rows_of_hours_and_marks_what_is_more_than_there_are_places():
    ticks = [0] * 120
    ticks[26] = 12  # at 13:00
    picture = density.field(NOW.replace(second=0), ticks, density.DAY, tasks=ticks, slots=8)
    assert [(row.begin.hour, row.total) for row in picture.rows] == [(12, 0), (13, 12), (14, 0)]
    assert (picture.rows[1].peaks[0].x, picture.rows[1].peaks[0].kind) == (0, "over")


def test_a_task_that_is_due_each_second_takes_no_more_places_than_one():
    picture = density.field(NOW.replace(second=0), [60] * 60, density.DAY, tasks=[1] * 60, slots=8)
    assert {cell.kind for row in picture.rows for cell in row.peaks} == {"level5"}
    assert picture.total == 3600


def test_bars_tell_the_median_and_the_95th_of_a_hundred():
    picture = spans.bars([RunState.SUCCEEDED] * 100, [number * 1000 for number in range(100)])
    assert (picture.median, picture.p95) == (timedelta(milliseconds=50), timedelta(milliseconds=95))
    assert spans.bars([RunState.SKIPPED], [-1]).median is None
    assert spans.band([1, 2], [5, 5], [6, 6]) is None
    assert spans.band([1, 2, 9], [5, 5, 5], [6, 6, 6]).days == 9


# -- words


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "250 ms"), (1.5, "1.5 s"), (42, "42 s"), (90, "1.5 min"), (7200, "2 h"), (400000, "5 d")],
)
def test_a_span_has_one_unit(seconds, text):
    assert brief(timedelta(seconds=seconds)) == text


def test_distances_and_sizes():
    assert ago(NOW - timedelta(seconds=30), NOW) == "30 s ago"
    assert ago(NOW + timedelta(hours=3), NOW) == "in 3 h"
    assert (size(10), size(1536), size(5 << 30)) == ("10 B", "1.5 KiB", "5 GiB")


@pytest.mark.parametrize("path", ["/", "/runs?state=failed&from=a%2Fb", "/tasks/a.b-c"])
def test_paths_of_ours_are_led_back_to(path):
    assert local_path(path) == path


# -- sessions


def test_a_session_opens_with_the_key_that_sealed_it_and_with_no_other():
    ours, theirs = (Sessions(secret, now=lambda: NOW, rand=clock.random_bits) for secret in (b"one", b"another"))
    session = ours.begin("dts_token")
    sealed = ours.seal(session)
    assert ours.open(sealed) == session
    assert theirs.open(sealed) is None
    assert ours.seal(session) != sealed
    assert ours.is_form_token(session, ours.form_token(session))
    assert not theirs.is_form_token(session, ours.form_token(session))


# -- colours


def luminance(colour):
    wide = colour if len(colour) == 6 else "".join(digit * 2 for digit in colour)
    channels = [int(wide[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def palettes():
    style = (assets.FOLDER / "app.css").read_text()
    blocks = re.findall(r":root \{(.*?)\n *\}", style, re.DOTALL)
    found = [dict(re.findall(r"--([a-z-]+): #([0-9a-f]{3,6})", block)) for block in blocks[:2]]
    return [found[0], found[0] | found[1]]


@pytest.mark.parametrize("palette", palettes(), ids=["light", "dark"])
def test_every_text_has_the_contrast_that_wcag_aa_asks_for(palette):
    surfaces = ("page", "card", "soft")
    pairs_of = [(text, surface) for text in ("text", "muted") for surface in surfaces]
    pairs_of += [(text, "card") for text in ("accent", "ok", "bad", "skip")]
    pairs_of += [(f"{kind}", f"{kind}-soft") for kind in ("ok", "bad", "skip", "off", "run")]
    pairs_of += [("accent", "accent-soft"), ("on-accent", "accent")]
    poor = {pair: round(contrast(palette[pair[0]], palette[pair[1]]), 2) for pair in pairs_of}
    assert {pair: ratio for pair, ratio in poor.items() if ratio < 4.5} == {}
    kinds = ("ok", "bad", "skip", "off", "run")
    marks = {f"{kind}-fill": contrast(palette[f"{kind}-fill"], palette["card"]) for kind in kinds}
    assert {name: round(ratio, 2) for name, ratio in marks.items() if ratio < 3} == {}


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("`dts run logs 0b8c -f` shows what it prints", "the output of the run shows what it prints"),
        (
            "`timeout` gives it more; `dts run retry 0b8c` runs it",
            "<code>timeout</code> gives it more; “Run again” runs it",
        ),
        ("`dts node list` shows nodes", "the page Nodes shows nodes"),
        ("`dts task backfill x --since <t>` runs it", "<code>dts task backfill x --since &lt;t&gt;</code> runs it"),
        ("<b> and a ` alone", "&lt;b&gt; and a ` alone"),
    ],
)
def test_advice_names_the_button_that_does_the_same(said, shown):
    assert str(by_hand(said)) == shown


def test_no_advice_on_a_run_leaves_a_command_that_a_page_has_a_button_for():
    for advice in ADVICE.values():
        shown = by_hand(advice.format(run="0b8c", task="t", node="n", blocker="1a2b", at="2026-11-23T12:00:00Z"))
        assert "`" not in shown
        assert "dts run" not in shown
        assert "dts node" not in shown
