from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dts.domain.template import FILTERS, NAMES, check_template, render

TICK = datetime(2026, 3, 1, 4, 30, 5, tzinfo=UTC)
VALUES = {
    "scheduled_at": TICK,
    "previous_success_at": None,
    "task": "backup",
    "run_id": "0190",
    "attempt": 2,
    "node": "alpha",
    "param.FOLDER": "/srv",
}


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("", ""),
        ("no places", "no places"),
        ("{{ scheduled_at }}", "2026-03-01T04:30:05Z"),
        ("{{scheduled_at|iso}}", "2026-03-01T04:30:05Z"),
        ("{{ scheduled_at | date }}", "2026-03-01"),
        ("{{ scheduled_at | time }}", "04:30:05"),
        ("{{ scheduled_at | unix }}", "1772339405"),
        ("[{{ previous_success_at }}]", "[]"),
        ("[{{ previous_success_at | unix }}]", "[]"),
        ("{{ task }}/{{ run_id }}/{{ attempt }}@{{ node }}", "backup/0190/2@alpha"),
        ("tar {{ param.FOLDER }}", "tar /srv"),
        ("{{ param.MISSING }}", ""),
        ("{{{ task }}} {{{ task }}{", "{backup} {backup{"),
        ("{ task } }} %s $task ${task} <script>", "{ task } }} %s $task ${task} <script>"),
    ],
)
def test_what_is_accepted_renders(text, rendered):
    assert check_template(text) is None
    assert render(text, VALUES) == rendered


def test_dates_and_times_are_those_of_utc_whatever_the_zone_of_the_instant():
    tokyo = TICK.replace(hour=20).astimezone(timezone(timedelta(hours=9)))
    assert tokyo.day == 2
    assert render("{{ scheduled_at | date }}T{{ scheduled_at | time }}Z", {"scheduled_at": tokyo}) == (
        render("{{ scheduled_at }}", {"scheduled_at": tokyo})
    )


def test_a_parameter_is_text_and_never_a_template():
    assert render("{{ param.A }}", {"param.A": "{{ task }}", "task": "x"}) == "{{ task }}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{{ schedule_at }}", "did you mean scheduled_at?"),
        ("{{ nodes }}", "did you mean node?"),
        ("{{ xyzzy }}", "there are scheduled_at, previous_success_at, task, run_id, attempt, node, param.NAME"),
        ("{{ scheduled_at | dates }}", "did you mean date?"),
        ("{{ scheduled_at | qqqq }}", "there are iso, date, time, unix"),
        ("{{ task | date }}", "filters are for previous_success_at and scheduled_at"),
        ("{{ task", "without its }}"),
        ("{{ task }} {{", "without its }}"),
        ("{{}}", "{{ name }}"),
        ("{{7*7}}", "{{ name }}"),
        ("{{ task.__class__ }}", "{{ name }}"),
        ("{{ scheduled_at | date | iso }}", "{{ name }}"),
        ("{{ param. }}", "{{ name }}"),
        ("{{ param.1 }}", "{{ name }}"),
        ("{{ TASK }}", "{{ name }}"),
        ("{{ tаsk }}", "{{ name }}"),  # a Cyrillic letter
        ("{{ a }} and {{ task }}", "names a,"),
    ],
)
def test_what_is_refused_is_refused_with_what_is_allowed(text, words):
    wrong = check_template(text)
    assert wrong is not None
    assert words in wrong


def test_an_unknown_name_is_repeated_only_in_part():
    wrong = check_template("{{ " + "x" * 5000 + " }}")
    assert wrong is not None
    assert len(wrong) < 200


@pytest.mark.parametrize(
    "text",
    [
        "{{" * 50_000,
        "{{ " + "a" * 100_000,
        "{{" + " " * 100_000,
        "{{" + " " * 50_000 + "a" + " " * 50_000 + "!}}",
        "{{ task }}" * 10_000,
        "{{ " + "a" * 100_000 + " }}",
        "{{ scheduled_at | " + "a" * 100_000 + " }}",
    ],
)
def test_long_texts_take_no_longer_than_their_length(text):
    begin = time.process_time()
    check_template(text)
    render(text, VALUES)
    assert time.process_time() - begin < 1


@given(st.lists(st.sampled_from(["{", "}", "{{", "}}", " ", "|", "task", "scheduled_at", "date", "param.", "X", "é"])))
def test_any_text_is_judged_and_rendered(parts):
    text = "".join(parts)
    wrong = check_template(text)
    assert isinstance(render(text, VALUES), str)
    assert wrong is None or wrong.strip()


@given(st.sampled_from(NAMES[:2]), st.sampled_from([None, *FILTERS]), st.datetimes(timezones=st.just(UTC)))
def test_every_filter_renders_every_instant(name, chosen, instant):
    text = f"{{{{ {name}{f' | {chosen}' if chosen else ''} }}}}"
    assert check_template(text) is None
    assert render(text, {name: instant})
