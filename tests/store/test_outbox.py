"""The outbox: what is written with an outcome, who is told of it, and that no message is lost."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest

from dts.domain.columns import pack, pack_ids
from dts.domain.errors import AlreadyExists, NotFound
from dts.pb.dts.v1 import (
    ChannelKind,
    MaintainRequest,
    NodeLoss,
    Overlap,
    QuietHours,
    Reason,
    RecordRequest,
    Reports,
    RunState,
    TakeDeliveriesRequest,
    TaskAction,
    TaskChange,
    TaskEvent,
    TendOutboxRequest,
)
from dts.store import tending, transactions
from dts.store.queries import sql
from support.ledger import NOOP, PROCESS, Ledger, every
from support.outbox import LEASE, Outbox, channel
from support.polling import eventually

MINUTE = timedelta(minutes=1)
LATER = timedelta(hours=5)


@pytest.fixture
async def ledger(database):
    ledger = Ledger.on(database)
    await ledger.node()
    return ledger


@pytest.fixture
def outbox(ledger):
    return Outbox(ledger.store)


async def ran(ledger, task_id, state=RunState.FAILED, reason=Reason.EXIT_CODE):
    """One run of a task that ends so."""
    run_id = await ledger.trigger(task_id)
    (key,) = [key for key in await ledger.claim() if key[0] == run_id]
    await ledger.report([key], RunState.RUNNING, Reason.UNSPECIFIED)
    await ledger.report([key], state, reason, exit_code=3)
    return run_id


async def succeeded(ledger, task_id):
    return await ran(ledger, task_id, RunState.SUCCEEDED, Reason.OK)


async def rows(ledger, *tables):
    return [await ledger.pool.fetchval(f"SELECT count(*) FROM {table}") for table in tables]


async def test_a_failure_is_told_once_then_now_and_then_and_the_recovery_once(ledger, outbox):
    await ledger.store.channels.add(channel())
    task = await ledger.task("backup")
    for _ in range(3):
        await ran(ledger, task)
    assert await outbox.hear() == ["failed: backup failed"]
    await ran(ledger, task)
    assert await outbox.hear() == []
    # As if the last word were older than the four hours after which it is said again.
    await ledger.pool.execute("UPDATE alert SET told_at = told_at - interval '4 hours'")
    await ran(ledger, task)
    assert await outbox.hear() == ["failed: backup is still failing"]
    await succeeded(ledger, task)
    assert await outbox.hear() == ["recovered: backup has recovered"]
    await succeeded(ledger, task)
    assert await outbox.hear() == []
    assert await rows(ledger, "notice", "alert", "delivery") == [0, 0, 0]


async def test_a_success_right_after_a_failure_nobody_has_looked_at_yet_still_tells_both(ledger, outbox):
    await ledger.store.channels.add(channel())
    task = await ledger.task("backup")
    await ran(ledger, task)
    await succeeded(ledger, task)
    assert await outbox.hear() == ["failed: backup failed", "recovered: backup has recovered"]


async def ended(ledger, *runs):
    """One message of the node: these runs of a task ended so, each so many seconds ago."""
    ids = [await ledger.trigger(task) for task, *_ in runs]
    attempts = dict(await ledger.claim())
    keys = [(run_id, attempts[run_id]) for run_id in ids]
    await ledger.report(keys, RunState.RUNNING, Reason.UNSPECIFIED)
    # As if the node had held them for long: nothing ended before it began.
    await ledger.pool.execute(
        "UPDATE run SET assigned_at = assigned_at - interval '1 hour', not_before = not_before - interval '1 hour'"
    )
    rows = len(runs)
    reports = Reports(
        run_ids=pack_ids(ids),
        attempts=pack("i", [attempt for _, attempt in keys]),
        states=pack("B", [state for _, state, _ in runs]),
        reasons=pack("B", [Reason.OK if state is RunState.SUCCEEDED else Reason.EXIT_CODE for _, state, _ in runs]),
        exit_codes=pack("i", [int(state is not RunState.SUCCEEDED) for _, state, _ in runs]),
        started_ago=pack("q", [-1] * rows),
        finished_ago=pack("q", [ago * 1_000_000 for *_, ago in runs]),
        cpu_time=pack("q", [0] * rows),
        peak_memory=pack("q", [0] * rows),
    )
    request = RecordRequest(node_id="alpha", incarnation=ledger.nodes["alpha"], reports=reports)
    await ledger.store.results.record(request)


@pytest.mark.parametrize("others", [0, 40])
async def test_runs_that_a_node_reports_together_are_told_in_the_order_in_which_they_ended(ledger, outbox, others):
    await ledger.store.channels.add(channel())
    broke, healed = [await ledger.task(name, overlap=Overlap.ALLOW) for name in ("broke", "healed")]
    beside = [(await ledger.task(f"beside{n}"), RunState.SUCCEEDED, 40) for n in range(others)]
    await ended(
        ledger,
        (broke, RunState.FAILED, 10),
        (healed, RunState.SUCCEEDED, 10),
        *beside,
        (broke, RunState.SUCCEEDED, 20),
        (healed, RunState.FAILED, 20),
    )
    assert await outbox.hear() == ["failed: healed failed", "failed: broke failed", "recovered: healed has recovered"]
    assert await ledger.pool.fetchval("SELECT array_agg(task_id::text) FROM alert") == [broke]


async def test_what_is_told_of_a_task_keeps_its_order_though_a_clock_of_a_transaction_began_earlier(ledger, outbox):
    await ledger.store.channels.add(channel())
    task = await ledger.task("backup")
    await ran(ledger, task)
    await succeeded(ledger, task)
    # As if the success were written by a transaction that had begun first.
    await ledger.pool.execute("UPDATE notice SET at = at - interval '1 second' WHERE event = $1", TaskEvent.SUCCEEDED)
    assert await outbox.hear() == ["failed: backup failed", "recovered: backup has recovered"]


async def test_a_recovery_waits_for_the_failure_that_did_not_arrive_yet(ledger, outbox):
    await ledger.store.channels.add(channel())
    task, other = await ledger.task("backup"), await ledger.task("other")
    await ran(ledger, task)
    now = await ledger.now()
    failed = await outbox.take(now)
    await outbox.settle(failed, "h answered 503", retry_in=MINUTE * 30, now=now)
    await ran(ledger, other)
    assert await outbox.hear(now + MINUTE) == ["failed: other failed"]
    await succeeded(ledger, task)
    # There is more to say now: both are tried, in their order, and then rest for unequal times.
    failed, recovered = await outbox.take(now + 2 * MINUTE)
    await outbox.settle([failed], "h answered 503", retry_in=MINUTE * 5, now=now + 2 * MINUTE)
    await outbox.settle([recovered], "h answered 503", retry_in=MINUTE, now=now + 2 * MINUTE)
    assert await outbox.hear(now + 4 * MINUTE) == []
    assert await outbox.hear(now + 7 * MINUTE) == ["failed: backup failed", "recovered: backup has recovered"]


async def test_news_each_second_does_not_take_the_pause_from_a_target_that_is_away(ledger, outbox):
    await ledger.store.channels.add(channel(events=[TaskEvent.STARTED]))
    task = await ledger.task("backup")
    await ran(ledger, task)
    now = await ledger.now()
    await outbox.settle(await outbox.take(now), "h answered 503", retry_in=MINUTE * 30, now=now)
    for seconds in (1, 2, 3, 4):
        await ran(ledger, task)
        assert await outbox.take(now + timedelta(seconds=seconds)) == []
    assert len(await outbox.take(now + timedelta(seconds=6))) == 5


async def test_a_try_that_is_under_way_is_not_taken_from_its_sender_by_further_news(ledger, outbox):
    await ledger.store.channels.add(channel())
    task = await ledger.task("backup")
    await ran(ledger, task)
    now = await ledger.now()
    await outbox.settle(await outbox.take(now), "h answered 503", retry_in=MINUTE, now=now)
    assert len(await outbox.take(now + MINUTE)) == 1
    await succeeded(ledger, task)
    assert await outbox.take(now + MINUTE + LEASE / 2) == []


async def test_what_waits_for_its_digest_keeps_nothing_from_those_who_want_none_any_more(ledger, outbox):
    made = channel(digest_every=60 * MINUTE)
    await ledger.store.channels.add(made)
    task = await ledger.task("backup")
    await ran(ledger, task)
    now = await ledger.now()
    assert await outbox.hear(now) == []
    made.channel.digest_every = None
    await ledger.store.channels.change(made)
    await succeeded(ledger, task)
    assert await outbox.hear(now + timedelta(seconds=1)) == ["recovered: backup has recovered"]


async def test_what_was_gathered_comes_before_what_happened_afterwards(ledger, outbox):
    now = await ledger.now()
    quiet = QuietHours(start=f"{now:%H:%M}", end=f"{now + 60 * MINUTE:%H:%M}", zone="UTC")
    await ledger.store.channels.add(channel(quiet=quiet))
    task = await ledger.task("backup")
    await ran(ledger, task)
    assert await outbox.hear(now) == []
    await succeeded(ledger, task)
    morning = now + 60 * MINUTE
    assert await outbox.hear(morning) + await outbox.hear(morning) == [
        "failed: backup failed",
        "recovered: backup has recovered",
    ]


async def test_runs_of_tasks_that_nobody_listens_to_leave_nothing(ledger, outbox):
    await ledger.store.channels.add(channel(tasks=["backup"]))
    await ledger.store.channels.add(channel("labelled", labels={"team": "db"}))
    other = await ledger.task("other")
    await ran(ledger, other)
    await succeeded(ledger, other)
    assert await rows(ledger, "notice", "alert", "delivery") == [0, 0, 0]
    assert await outbox.hear() == []


async def test_rules_choose_by_event_name_and_label(ledger, outbox):
    await ledger.store.channels.add(channel("names", tasks=["backup"]))
    await ledger.store.channels.add(channel("labels", labels={"team": "db"}))
    await ledger.store.channels.add(channel("skips", events=[TaskEvent.SKIPPED]))
    backup, labelled = await ledger.task("backup"), await ledger.task("labelled")
    await ledger.pool.execute("""UPDATE task SET labels = '{"team": "db", "x": "y"}' WHERE name = 'labelled'""")
    await ran(ledger, backup)
    await ran(ledger, labelled)
    told = [(delivery.channel.channel.name, delivery.event) for delivery in await outbox.take()]
    assert sorted(told) == [("labels", TaskEvent.FAILED), ("names", TaskEvent.FAILED)]


async def test_a_skipped_tick_is_told_and_ends_without_a_word(ledger, outbox):
    await ledger.store.channels.add(channel(events=[TaskEvent.SKIPPED, TaskEvent.RECOVERED]))
    task = await ledger.task("backup")
    await ledger.trigger(task)
    (key,) = await ledger.claim()
    await ledger.trigger(task, Overlap.SKIP)
    assert await ledger.claim() == []
    assert await outbox.hear() == ["skipped: backup was skipped"]
    await ledger.report([key])
    assert await outbox.hear() == []
    assert await rows(ledger, "alert") == [0]


async def test_ticks_that_passed_while_nothing_could_run_are_told_as_missed_with_their_number(ledger, outbox):
    await ledger.store.channels.add(channel())
    task = await ledger.task("backup", every(60), catchup=1)
    await ledger.rewind(task, await ledger.now() - 10 * MINUTE)
    await ledger.materialise()
    (delivery,) = await outbox.take()
    assert '"missed' in delivery.body.replace("task.", "")
    assert " ticks from " in delivery.body


async def test_a_paused_task_misses_nothing(ledger, outbox):
    await ledger.store.channels.add(channel(events=[TaskEvent.SKIPPED, TaskEvent.MISSED]))
    task = await ledger.task("backup", every(60))
    await ledger.change(TaskChange(action=TaskAction.PAUSE, task_id=task))
    await ledger.rewind(task, await ledger.now() - 10 * MINUTE)
    await ledger.change(TaskChange(action=TaskAction.RESUME, task_id=task))
    assert await rows(ledger, "run_history WHERE reason = 'skipped_paused'") == [1]
    assert await outbox.hear() == []


async def test_a_run_that_no_node_takes_is_late_once_and_fails_at_its_deadline(ledger, outbox):
    await ledger.store.channels.add(channel())
    task = await ledger.task("backup", kind=PROCESS)
    await ledger.trigger(task)
    now = await ledger.now()
    assert await outbox.hear(now + MINUTE / 2) == []
    assert await outbox.hear(now + 2 * MINUTE) == ["late: backup is late"]
    assert await outbox.hear(now + 3 * MINUTE) == []
    await ledger.sweep(now + 6 * MINUTE)
    assert await outbox.hear(now + 6 * MINUTE) == ["failed: backup failed"]


async def test_whoever_looks_for_late_runs_holds_up_no_message(ledger, outbox):
    await ledger.store.channels.add(channel())
    await ran(ledger, await ledger.task("backup"))
    await outbox.settle(await outbox.take(), "h answered 503", retry_in=timedelta(0))
    async with ledger.pool.acquire() as other:
        transaction = other.transaction()
        await transaction.start()
        await other.execute("LOCK TABLE run")
        looking = asyncio.create_task(ledger.store.notices.tend(TendOutboxRequest()))
        request = TakeDeliveriesRequest(limit=10, lease=LEASE)
        assert len((await ledger.store.notices.take(request)).deliveries) == 1
        assert not looking.done()
        await transaction.rollback()
    await looking


@pytest.mark.parametrize("how", ["no node", "its turn", "lent to a node"])
async def test_a_run_is_late_wherever_it_waits(ledger, outbox, how):
    await ledger.store.channels.add(channel())
    task = await ledger.task("backup", overlap=Overlap.QUEUE_ALL)
    if how == "its turn":
        await ledger.trigger(task)
        await ledger.report(await ledger.claim(), RunState.RUNNING, Reason.UNSPECIFIED)
    run_id = await ledger.trigger(task)
    claimed = await ledger.claim(slots=0 if how == "no node" else 100)
    assert bool(claimed) is (how == "lent to a node")
    now = await ledger.now()
    late = await outbox.take(now + 2 * MINUTE)
    assert [(one.event, one.run_id) for one in late] == [(TaskEvent.LATE, str(run_id))]


async def test_more_than_may_wait_is_given_up_lesser_news_first_and_counted(ledger, outbox, monkeypatch):
    monkeypatch.setattr(tending, "MOST_WAITING", 3)
    await ledger.store.channels.add(channel(events=[TaskEvent.FAILED, TaskEvent.STARTED]))
    for name in ("a", "b"):
        await ran(ledger, await ledger.task(name))
    assert len(await outbox.take(limit=1)) == 1  # it is being sent: the start of a
    for name in ("c", "d"):
        await ran(ledger, await ledger.task(name))
    await outbox.take(limit=0)
    given_up = (await ledger.store.notices.tend(TendOutboxRequest())).crowded
    assert [(one.channel, one.given_up) for one in given_up] == [("ops", 4)]
    (listed,) = await ledger.store.channels.all()
    assert (listed.given_up, listed.waiting) == (4, 4)
    now = await ledger.now() + LEASE
    assert await outbox.hear(now) == ["failed: b failed", "failed: c failed", "failed: d failed"]


async def somebody_waits(ledger):
    """For a lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    await eventually(lambda: ledger.pool.fetchval(waiting))


async def test_whoever_takes_messages_is_not_at_odds_with_whoever_gives_some_up(ledger, outbox, monkeypatch):
    monkeypatch.setattr(transactions, "TRIES", 1)
    monkeypatch.setattr(tending, "MOST_WAITING", 1)
    await ledger.store.channels.add(channel())
    for name in ("a", "b"):
        await ran(ledger, await ledger.task(name))
    await outbox.settle(await outbox.take(), "h answered 503", retry_in=timedelta(0))
    async with ledger.pool.acquire() as sender, sender.transaction():
        now = await ledger.now()
        ids = [row["id"] for row in await sender.fetch(sql("lock_due_channels"), now, [], 1)]
        tending_it = asyncio.create_task(ledger.store.notices.tend(TendOutboxRequest()))
        await somebody_waits(ledger)
        assert len(await sender.fetch(sql("take_deliveries"), now, LEASE, 10, ids)) == 2
    assert (await tending_it).crowded == []  # both are being sent by now


async def test_whoever_decides_about_news_is_not_at_odds_with_whoever_looks_for_late_runs(ledger, monkeypatch):
    monkeypatch.setattr(transactions, "TRIES", 1)
    await ledger.store.channels.add(channel(stuck_after=timedelta(minutes=10)))
    stuck, late = await ledger.task("stuck"), await ledger.task("late")
    for task in (stuck, late):
        await ran(ledger, task)
    await ledger.trigger(stuck)
    await ledger.report(await ledger.claim(), RunState.RUNNING, Reason.UNSPECIFIED)
    await ledger.trigger(late)
    of_task = "SELECT FROM alert WHERE task_id = (SELECT id FROM task WHERE name = $1) FOR UPDATE"
    async with ledger.pool.acquire() as other, other.transaction():
        await other.execute(of_task, "stuck")
        request = TendOutboxRequest(now=await ledger.now() + LATER)
        looking = asyncio.create_task(ledger.store.notices.tend(request))
        await somebody_waits(ledger)
        await other.execute(of_task, "late")
    await looking


async def test_a_run_that_goes_on_is_stuck_once_and_others_that_succeed_do_not_end_that(ledger, outbox):
    await ledger.store.channels.add(channel(stuck_after=timedelta(minutes=10)))
    task = await ledger.task("backup", overlap=Overlap.ALLOW)
    await ledger.trigger(task)
    (stuck,) = await ledger.claim()
    await ledger.report([stuck], RunState.RUNNING, Reason.UNSPECIFIED)
    now = await ledger.now() + 11 * MINUTE
    assert await outbox.hear(now) == ["stuck: backup does not come to an end"]
    await succeeded(ledger, task)
    assert await outbox.hear(now + MINUTE) == []
    await ledger.report([stuck])
    assert await outbox.hear(now + 2 * MINUTE) == ["recovered: backup has recovered"]


async def test_a_node_that_is_lost_is_told_with_what_it_ran(ledger, outbox):
    await ledger.store.channels.add(channel())
    task = await ledger.task("backup", on_node_loss=NodeLoss.FAIL)
    await ledger.trigger(task)
    await ledger.report(await ledger.claim(), RunState.RUNNING, Reason.UNSPECIFIED)
    now = await ledger.now()
    await ledger.sweep(now + MINUTE)
    await ledger.sweep(now + 2 * MINUTE)
    (delivery,) = await outbox.take()
    assert "node_lost" in delivery.body


async def test_a_ping_hears_every_start_and_end_of_its_task_in_order(ledger, outbox):
    await ledger.store.channels.add(channel(kind=ChannelKind.PING, tasks=["backup"]))
    task = await ledger.task("backup")
    await succeeded(ledger, task)
    await ran(ledger, task)
    starts, ends = await outbox.take(), await outbox.take()
    assert [delivery.event for delivery in starts] == [TaskEvent.STARTED, TaskEvent.STARTED]
    assert ends == []  # the start of a run is to arrive before its end
    await outbox.settle(starts)
    ends = await outbox.take()
    assert [delivery.event for delivery in ends] == [TaskEvent.SUCCEEDED, TaskEvent.FAILED]
    assert [delivery.run_id for delivery in ends] == [delivery.run_id for delivery in starts]


async def test_a_start_is_told_once_also_if_it_is_heard_when_the_node_attaches_again(ledger, outbox):
    await ledger.store.channels.add(channel(events=[TaskEvent.STARTED]))
    await ledger.trigger(await ledger.task("backup"))
    held = await ledger.claim()
    await ledger.node(held=held)
    assert await outbox.hear() == []
    await ledger.node(held=held, started_ago=5_000_000)
    assert await outbox.hear() == ["started: backup has started"]
    # A start that was on its way meanwhile, one that is said twice, and the next connection.
    for _ in range(2):
        await ledger.report(held, RunState.RUNNING, Reason.UNSPECIFIED)
    await ledger.node(held=held, started_ago=9_000_000)
    assert await outbox.hear() == []


async def test_each_attempt_that_starts_is_told(ledger, outbox):
    await ledger.store.channels.add(channel(events=[TaskEvent.STARTED]))
    await ledger.trigger(await ledger.task("backup", retries=1))
    for attempt in (0, 1):
        held = await ledger.claim(now=await ledger.now() + attempt * MINUTE)
        await ledger.report(held, RunState.RUNNING, Reason.UNSPECIFIED)
        assert await outbox.hear() == ["started: backup has started"]
        await ledger.report(held, RunState.FAILED, Reason.EXIT_CODE, exit_code=1)


async def test_what_was_lent_and_not_settled_is_lent_again_with_the_same_id(ledger, outbox):
    await ledger.store.channels.add(channel())
    await ran(ledger, await ledger.task("backup"))
    now = await ledger.now()
    (first,) = await outbox.take(now)
    assert await outbox.take(now + LEASE - timedelta(seconds=1)) == []
    (second,) = await outbox.take(now + LEASE)
    assert (second.id, second.body, second.attempt) == (first.id, first.body, first.attempt + 1)
    # The first sender comes back: what it says of its own try no longer counts, unless the message arrived.
    await outbox.settle([first], "no answer", retry_in=LATER, now=now + LEASE)
    assert await rows(ledger, "delivery") == [1]
    await outbox.settle([first])
    assert await rows(ledger, "delivery") == [0]


async def test_what_does_not_arrive_is_tried_later_and_given_up_after_a_day_with_a_visible_word(ledger, outbox):
    await ledger.store.channels.add(channel())
    await ran(ledger, await ledger.task("backup"))
    now = await ledger.now()
    taken = await outbox.take(now)
    assert await outbox.settle(taken, "h answered 503", retry_in=MINUTE, now=now) == []
    assert await outbox.take(now + MINUTE / 2) == []
    taken = await outbox.take(now + 24 * 60 * MINUTE)
    assert await outbox.settle(taken, "h answered 503", retry_in=MINUTE, now=now + 24 * 60 * MINUTE) == [taken[0].id]
    (listed,) = await ledger.store.channels.all()
    assert (listed.failure, listed.given_up, listed.waiting) == ("h answered 503", 1, 0)
    assert listed.delivered_at is None


async def test_replicas_that_look_at_once_tell_everything_once(ledger, outbox):
    await ledger.store.channels.add(channel(events=[TaskEvent.FAILED]))
    tasks = [await ledger.task(f"t{number}", kind=NOOP) for number in range(20)]
    for task in tasks:
        await ledger.trigger(task)
    await ledger.report(await ledger.claim(), RunState.FAILED, Reason.EXIT_CODE, exit_code=1)
    heard = [word for words in await asyncio.gather(*(outbox.hear() for _ in range(5))) for word in words]
    heard += await outbox.hear()
    assert sorted(heard) == sorted(f"failed: t{number} failed" for number in range(20))


async def test_a_channel_with_much_to_tell_leaves_the_others_their_turn(ledger, outbox):
    for name in ("a", "b"):
        await ledger.store.channels.add(channel(name, tasks=[name]))
    await ran(ledger, await ledger.task("a"))
    await outbox.settle(await outbox.take(), "h answered 503", retry_in=timedelta(0))
    copies = "SELECT gen_random_uuid(), channel_id, event, body, created_at, due_at, held, give_up_at FROM delivery"
    columns = "id, channel_id, event, body, created_at, due_at, held, give_up_at"
    await ledger.pool.execute(f"INSERT INTO delivery ({columns}) {copies}, generate_series(1, 99)")
    await ran(ledger, await ledger.task("b"))
    lent = await outbox.take(limit=10)
    assert [(name, len(of)) for name, of in by_channel(lent).items()] == [("a", 10), ("b", 1)]
    busy = [one.channel.channel.id for one in lent if one.channel.channel.name == "a"]
    assert await outbox.take(limit=10, busy=busy[:1]) == []
    assert len(await outbox.take(limit=10)) == 10


async def test_a_channel_whose_messages_wait_for_others_takes_no_turn(ledger, outbox):
    await ledger.store.channels.add(channel("dead-man", kind=ChannelKind.PING, tasks=["a"]))
    await ledger.store.channels.add(channel("ops", tasks=["b"]))
    await succeeded(ledger, await ledger.task("a"))
    (start,) = await outbox.take()
    await outbox.settle([start], "h answered 503", retry_in=30 * MINUTE)
    await ran(ledger, await ledger.task("b"))
    assert list(by_channel(await outbox.take(channels=1))) == ["ops"]


def by_channel(deliveries):
    names = dict.fromkeys(one.channel.channel.name for one in deliveries)
    return {name: [one for one in deliveries if one.channel.channel.name == name] for name in sorted(names)}


async def test_in_quiet_hours_a_message_waits_for_their_end(ledger, outbox):
    now = await ledger.now()
    quiet = QuietHours(start=f"{now:%H:%M}", end=f"{now + 60 * MINUTE:%H:%M}", zone="UTC")
    await ledger.store.channels.add(channel(quiet=quiet))
    await ran(ledger, await ledger.task("backup"))
    assert await outbox.hear(now) == []
    assert await outbox.hear(now + 60 * MINUTE) == ["failed: backup failed"]


async def test_what_waited_for_the_end_of_quiet_hours_comes_in_one_message(ledger, outbox):
    now = await ledger.now()
    quiet = QuietHours(start=f"{now:%H:%M}", end=f"{now + 60 * MINUTE:%H:%M}", zone="UTC")
    await ledger.store.channels.add(channel(quiet=quiet))
    for name in ("a", "b", "c"):
        await ran(ledger, await ledger.task(name))
    assert await outbox.hear(now) == []
    assert await outbox.hear(now + 60 * MINUTE) == ["channel.digest: dts: 3 messages"]
    assert await rows(ledger, "delivery") == [0]


async def test_a_digest_gathers_and_one_message_alone_stays_what_it_is(ledger, outbox):
    await ledger.store.channels.add(channel(digest_every=60 * MINUTE))
    now = await ledger.now()
    for name in ("a", "b"):
        await ran(ledger, await ledger.task(name))
    assert await outbox.hear(now) == []
    (digest,) = await outbox.take(now + 60 * MINUTE)
    assert [one["data"]["task"] for one in json.loads(digest.body)["data"]["messages"]] == ["a", "b"]
    (again,) = await outbox.take(now + 60 * MINUTE + LEASE)
    assert (again.id, again.body) == (digest.id, digest.body)
    await outbox.settle([again])
    await ran(ledger, await ledger.task("c"))
    later = now + 60 * MINUTE
    assert await outbox.hear(later) == []
    assert await outbox.hear(later + 60 * MINUTE) == ["failed: c failed"]


async def test_a_channel_that_is_deleted_takes_its_messages_along(ledger, outbox):
    await ledger.store.channels.add(channel())
    await ran(ledger, await ledger.task("backup"))
    await outbox.take()
    await ran(ledger, await ledger.task("other"))
    dropped = await ledger.store.channels.drop("ops")
    assert dropped.waiting == 1
    assert await rows(ledger, "channel", "notice", "alert", "delivery") == [0, 0, 0, 0]
    assert await outbox.hear() == []
    with pytest.raises(NotFound):
        await ledger.store.channels.drop("ops")


async def test_a_deleted_task_leaves_no_alert(ledger, outbox):
    await ledger.store.channels.add(channel())
    kept, gone = await ledger.task("kept"), await ledger.task("gone")
    for task in (kept, gone):
        await ran(ledger, task)
    await outbox.hear()
    await ledger.change(TaskChange(action=TaskAction.DELETE, task_id=gone))
    await ledger.store.upkeep.maintain(MaintainRequest())
    assert [str(row["task_id"]) for row in await ledger.pool.fetch("SELECT task_id FROM alert")] == [kept]


async def test_a_name_stands_for_one_channel_and_a_lost_answer_may_be_asked_for_again(ledger):
    made = channel()
    for _ in range(2):
        assert (await ledger.store.channels.add(made)).id == made.channel.id
    with pytest.raises(AlreadyExists):
        await ledger.store.channels.add(channel())
    found = await ledger.store.channels.find(made.channel.id)
    assert found.sealed == made.sealed
    assert "127.0.0.1:9" not in str(await ledger.store.channels.all())
