"""What is told, when, and how it is signed: pure functions."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from dts.domain.alerts import Alert, Listener, Notice, hear
from dts.domain.channels import TELLABLE, USUAL, events_of, mask_of, shown_of
from dts.domain.deliveries import pause_after, quiet_until, told_at
from dts.domain.messages import digest_of, message_of
from dts.domain.webhooks import key_word, new_key, signed
from dts.pb.dts.v1 import ChannelKind, QuietHours, TaskEvent

AT = datetime(2026, 3, 1, 2, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
OPS = Listener(ChannelKind.WEBHOOK, frozenset(USUAL), 4 * HOUR)


def notice(event: TaskEvent, at: datetime = AT, **fields) -> Notice:
    values = {"task": "backup", "reason": "exit_code", "message": "exit code 3", "ticks": 1, "scheduled_at": AT}
    ids = {"channel_id": UUID(int=1), "task_id": UUID(int=2), "run_id": UUID(int=3)}
    return Notice(event=event, at=at, **ids, **(values | fields))


def story(*news: tuple[TaskEvent, float], listener: Listener = OPS) -> list[str]:
    """What is told of events at these hours."""
    alert, told = None, []
    for event, hours in news:
        alert, telling = hear(listener, alert, notice(event, AT + hours * HOUR))
        if telling is not None:
            told.append(
                f"{telling.event.name.lower()}{' again' if telling.again else ''} {hours:g} x{telling.troubles}"
            )
    return told


FAILED, LATE, STUCK, SKIPPED = TaskEvent.FAILED, TaskEvent.LATE, TaskEvent.STUCK, TaskEvent.SKIPPED
SUCCEEDED, MISSED, STARTED = TaskEvent.SUCCEEDED, TaskEvent.MISSED, TaskEvent.STARTED


@pytest.mark.parametrize(
    ("news", "told"),
    [
        ([(FAILED, 0), (FAILED, 1), (FAILED, 3.9), (FAILED, 4)], ["failed 0 x1", "failed again 4 x3"]),
        ([(FAILED, 0), (SUCCEEDED, 1), (FAILED, 2)], ["failed 0 x1", "recovered 1 x0", "failed 2 x1"]),
        ([(LATE, 0), (FAILED, 0.1), (LATE, 0.2)], ["late 0 x1", "failed 0.1 x1"]),
        ([(SUCCEEDED, 0), (SUCCEEDED, 1)], []),
        ([(MISSED, 0), (SUCCEEDED, 1)], ["missed 0 x1", "recovered 1 x0"]),
        ([(SKIPPED, 0), (SUCCEEDED, 1)], []),
    ],
)
def test_trouble_is_told_once_then_now_and_then_and_its_end_once(news, told):
    assert story(*news) == told


def test_a_task_that_fails_every_minute_for_a_day_is_told_every_four_hours():
    assert len(story(*((FAILED, minute / 60) for minute in range(24 * 60)))) == 6


def test_skips_are_told_to_those_who_ask_and_end_without_a_word():
    listener = Listener(ChannelKind.WEBHOOK, frozenset({SKIPPED, TaskEvent.RECOVERED}), 4 * HOUR)
    news = [(SKIPPED, 0), (SKIPPED, 1), (SUCCEEDED, 2), (SKIPPED, 3)]
    assert story(*news, listener=listener) == ["skipped 0 x1", "skipped 3 x1"]


def test_a_success_beside_a_run_that_is_stuck_is_no_recovery():
    alert = Alert(AT, frozenset({STUCK}), AT, 0, lasts=True)
    assert hear(OPS, alert, notice(SUCCEEDED)) == (alert, None)


def test_a_ping_hears_everything_it_is_for_and_keeps_no_alert():
    ping = Listener(ChannelKind.PING, frozenset({FAILED, SUCCEEDED, TaskEvent.STARTED}), HOUR)
    for event in ping.events:
        alert, telling = hear(ping, None, notice(event))
        assert (alert, telling.event) == (None, event)
    assert hear(ping, None, notice(SKIPPED)) == (None, None)


def test_a_message_says_what_happened_and_where_to_look():
    _, telling = hear(OPS, None, notice(FAILED))
    assert message_of(telling) == (
        '{"type": "task.failed", "timestamp": "2026-03-01T02:30:00.000Z", "data": {"task": "backup", '
        '"run_id": "00000000-0000-0000-0000-000000000003", "scheduled_at": "2026-03-01T02:30:00.000Z", '
        '"reason": "exit_code", "message": "exit code 3", "again": false, "since": "2026-03-01T02:30:00.000Z", '
        '"troubles": 1, "title": "backup failed", '
        '"text": "Run 00000000 of 2026-03-01T02:30:00.000Z: exit code 3\\ndts explain backup"}}'
    )


@pytest.mark.parametrize("event", sorted(TELLABLE))
def test_every_event_has_words(event):
    everything = Listener(ChannelKind.WEBHOOK, TELLABLE, HOUR)
    alert = Alert(AT - HOUR, frozenset({event}), AT - HOUR, 3)
    given = SUCCEEDED if event is TaskEvent.RECOVERED else event
    _, telling = hear(everything, alert if event not in {SUCCEEDED, TaskEvent.STARTED} else None, notice(given))
    assert f'"task.{event.name.lower()}"' in message_of(telling)


def test_signatures_are_those_of_the_convention():
    # The example of the reference implementations of Standard Webhooks.
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    at = datetime.fromtimestamp(1614265330, UTC)
    headers = signed("msg_p5jXN8AQM9LWM0D4loKWxJek", at, b'{"test": 2432232314}', key)
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_a_key_is_given_as_the_convention_writes_it():
    assert key_word(new_key(lambda bits: (1 << bits) - 1)) == "whsec_" + base64.b64encode(b"\xff" * 32).decode()


def test_pauses_double_up_to_half_an_hour_and_half_of_each_is_chance():
    assert [pause_after(attempt, rand=1).total_seconds() for attempt in (1, 2, 3, 10, 1000)] == [5, 10, 20, 1800, 1800]
    assert pause_after(2, rand=0).total_seconds() == 5


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "end", "zone", "now", "until"),
    [
        ("22:00", "07:00", "UTC", "2026-03-01T21:59", "2026-03-01T21:59"),
        ("22:00", "07:00", "UTC", "2026-03-01T22:00", "2026-03-02T07:00"),
        ("22:00", "07:00", "UTC", "2026-03-02T06:59", "2026-03-02T07:00"),
        ("22:00", "07:00", "UTC", "2026-03-02T07:00", "2026-03-02T07:00"),
        ("12:00", "13:00", "Europe/Zurich", "2026-07-01T10:30", "2026-07-01T11:00"),
        # The night in which clocks go forward is an hour shorter; 02:30 is not in it, nor twice in the one in October.
        ("22:00", "07:00", "Europe/Zurich", "2026-03-28T22:00", "2026-03-29T05:00"),
        ("22:00", "02:30", "Europe/Zurich", "2026-03-28T22:00", "2026-03-29T01:00"),
        ("22:00", "02:30", "Europe/Zurich", "2026-10-24T21:00", "2026-10-25T00:30"),
    ],
)
def test_quiet_hours_end_by_the_clock_on_the_wall(start, end, zone, now, until):
    assert quiet_until(QuietHours(start=start, end=end, zone=zone), utc(now)) == utc(until)
    assert quiet_until(None, utc(now)) == utc(now)


def test_messages_are_gathered_up_to_the_next_full_span_and_not_sent_in_quiet_hours():
    now = utc("2026-03-01T21:40")
    quiet = QuietHours(start="22:00", end="07:00", zone="UTC")
    assert told_at(None, None, now) == now
    assert told_at(None, HOUR, now) == utc("2026-03-01T22:00")
    assert told_at(None, HOUR, utc("2026-03-01T22:00")) == utc("2026-03-01T23:00")
    assert told_at(quiet, HOUR, now) == utc("2026-03-02T07:00")


def test_a_digest_lists_a_hundred_messages_and_counts_the_rest():
    _, telling = hear(OPS, None, notice(FAILED))
    data = json.loads(digest_of([message_of(telling)] * 120, AT))["data"]
    assert data["title"] == "dts: 120 messages"
    assert len(data["messages"]) == 100
    lines = data["text"].splitlines()
    assert (len(lines), lines[0]) == (101, "2026-03-01T02:30:00.000Z backup failed")
    assert lines[-1] == "and 20 more: 20 failed"
    assert data["left_out"] == {"task.failed": 20}


def test_a_digest_leaves_out_lesser_news_before_any_trouble_and_says_how_much():
    everything = Listener(ChannelKind.WEBHOOK, TELLABLE, HOUR)
    known = Alert(AT - HOUR, frozenset({FAILED}), AT - HOUR, 3)
    started, skipped, failed = (
        message_of(hear(everything, None, notice(event))[1]) for event in (STARTED, SKIPPED, FAILED)
    )
    recovered = message_of(hear(everything, known, notice(SUCCEEDED))[1])
    data = json.loads(digest_of([started] * 100 + [skipped] * 10 + [failed, recovered, failed], AT))["data"]
    kinds = [message["type"] for message in data["messages"]]
    assert kinds[:3] == ["task.failed", "task.recovered", "task.failed"]
    assert kinds[3:] == ["task.started"] * 97
    assert data["left_out"] == {"task.skipped": 10, "task.started": 3}
    assert data["text"].splitlines()[-1] == "and 13 more: 10 skipped, 3 started"


def test_events_are_bits_and_targets_are_shown_without_what_is_secret():
    assert events_of(mask_of(TELLABLE)) == sorted(TELLABLE)
    assert mask_of([FAILED, FAILED, MISSED]) == 0b1010
    assert shown_of(ChannelKind.WEBHOOK, "https://h.example:8443/s3cret?s3cret") == "https://h.example:8443"
    assert shown_of(ChannelKind.APPRISE, "slack://s3cret/s3cret") == "slack://"
