"""Why a task ran, did not run, or has not yet."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dts.domain.explain import explain
from dts.domain.explain_facts import Facts
from dts.domain.explain_words import SAID_BY_MESSAGE, SENTENCE
from dts.domain.schedule import Tick, compile_schedule
from dts.pb.dts.v1 import (
    Attempt,
    Capacity,
    Cron,
    ExplainTaskResponse,
    Kind,
    Node,
    NodeState,
    NoopKind,
    Policies,
    Reason,
    Rule,
    Run,
    RunState,
    Schedule,
    Task,
    TaskSpec,
    Trigger,
)

DUE = datetime(2026, 11, 23, 2, tzinfo=UTC)
SECOND = timedelta(seconds=1)
NIGHTLY = Schedule(rules=[Rule(cron=Cron(expression="0 3 * * *"))], timezone="Europe/Zurich")


def task(**changes) -> Task:
    policies = Policies(constraints=["node.labels.gpu==true"])
    spec = TaskSpec(name="report", schedule=NIGHTLY, kind=Kind(noop=NoopKind()), policies=policies)
    return Task(id="t", spec=spec, enabled=True, created_at=DUE - timedelta(days=9), **changes)


def facts(run: Run | None = None, *, now: datetime = DUE + 10 * SECOND, of: Task | None = None) -> Facts:
    return Facts(
        task=of or task(),
        schedule=compile_schedule(NIGHTLY, key="report"),
        now=now,
        at=None,
        tick=Tick(DUE, DUE, excluded=False),
        run=run,
        nodes=[Node(hostname="n1", state=NodeState.READY, kinds=["noop"], labels={"gpu": "true"})],
    )


def row(state: RunState, reason: Reason = Reason.UNSPECIFIED, **more) -> Run:
    return Run(id="0123456789abcdef", task_version=3, scheduled_at=DUE, state=state, reason=reason, **more)


def chain(answer: ExplainTaskResponse) -> list[str]:
    return [f"{'+' if step.ok else '-'} {step.step}: {step.detail}" for step in answer.steps]


def test_a_run_that_failed_says_so_once():
    started = DUE + timedelta(milliseconds=7)
    run = row(
        RunState.FAILED,
        Reason.EXIT_CODE,
        message="it ended with exit code 3",
        exit_code=3,
        attempt=1,
        node="n1",
        started_at=started,
        finished_at=started + SECOND,
    )
    answer = explain(facts(run))
    assert answer.verdict == "failed"
    assert answer.message == "its command ended with exit code 3"
    assert chain(answer) == [
        "+ schedule: due at 2026-11-23 03:00:00 Europe/Zurich (2026-11-23 02:00:00 UTC)",
        "+ ledger: run 01234567, version 3 of the task",
        "+ overlap: no earlier run was in its way",
        "+ placement: given to node n1",
        "+ start: attempt 1 started 0.007 s after its instant",
        "- result: its command ended with exit code 3 after 1s",
    ]


def test_a_run_that_waits_hears_each_node():
    nodes = [
        Node(hostname="n1", state=NodeState.READY, kinds=["noop"]),
        Node(hostname="n2", state=NodeState.READY, kinds=["noop"]),
        Node(hostname="n3", state=NodeState.DRAINING, kinds=["noop"]),
    ]
    answer = explain(replace(facts(row(RunState.PENDING, message="1 node: 1 lacks label gpu=true")), nodes=nodes))
    assert answer.verdict == "waiting"
    assert chain(answer)[2:] == [
        "- placement: 3 nodes: 2 lack label gpu=true, 1 is draining",
        "- node n1: lacks label gpu=true",
        "- node n2: lacks label gpu=true",
        "- node n3: is draining",
    ]


def test_a_run_that_waits_without_any_node():
    answer = explain(replace(facts(row(RunState.PENDING)), nodes=[]))
    assert chain(answer)[-1] == "- placement: no node is attached"


def test_a_skip_names_the_run_that_was_in_the_way_once():
    run = row(RunState.SKIPPED, Reason.SKIPPED_OVERLAP, message="run aaaaaaaa was not over", blocked_by="aaaaaaaabbbb")
    answer = explain(facts(run))
    assert answer.verdict == "skipped"
    assert answer.message == "run aaaaaaaa was not over"
    assert chain(answer)[-1] == "- overlap: run aaaaaaaa was not over"


def test_a_stretch_of_missed_ticks_is_one_row():
    run = row(RunState.SKIPPED, Reason.MISSED, ticks=4, last_scheduled_at=DUE + timedelta(days=3))
    answer = explain(facts(run))
    assert answer.verdict == "missed"
    assert "+ ledger: one row stands for 4 ticks up to 2026-11-26 02:00:00 UTC" in chain(answer)


@pytest.mark.parametrize(
    ("note", "again"),
    [("", "dts node resume n2"), ("drained in the Swarm", "docker node update --availability active n2")],
)
def test_of_a_run_that_waits_all_nodes_are_heard_and_the_one_that_would_take_it_is_named(note, again):
    room = Capacity(slots=4)
    nodes = [
        Node(hostname="n1", state=NodeState.READY, kinds=["noop"], labels={"gpu": "false"}, capacity=room),
        Node(
            hostname="n2",
            state=NodeState.DRAINING,
            kinds=["noop"],
            labels={"gpu": "true"},
            capacity=room,
            drain_note=note,
        ),
    ]
    known = facts(row(RunState.PENDING, message="1 node: 1 lacks label gpu=true"))
    answer = explain(replace(known, nodes=nodes))
    assert answer.message == "2 nodes: 1 lacks label gpu=true, 1 is draining"
    assert f"- placement: {answer.message}" in chain(answer)
    assert f"`{again}`" in answer.advice


def test_a_run_that_no_node_took_keeps_the_nodes_words():
    said = "no node took it before its start deadline: 1 node: 1 is draining"
    answer = explain(facts(row(RunState.FAILED, Reason.NO_NODE, message=said)))
    assert answer.verdict == "failed"
    assert f"- placement: {said}" in chain(answer)
    assert answer.message == said


@pytest.mark.parametrize(
    ("now", "verdict", "message"),
    [
        (DUE - SECOND, "not_yet", "it is due at 2026-11-23 03:00:00 Europe/Zurich"),
        (DUE + SECOND, "waiting", "is being written into the ledger"),
        (DUE + 60 * SECOND, "unknown", "no scheduler is running"),
    ],
)
def test_a_tick_without_a_row(now, verdict, message):
    answer = explain(facts(now=now))
    assert answer.verdict == verdict
    assert message in answer.message


def test_a_paused_task_says_who_paused_it_and_how_to_go_on():
    answer = explain(facts(of=replace(task(paused_by="anna", pause_note="audit"), enabled=False)))
    assert answer.verdict == "paused"
    assert answer.message == "the task is paused by anna (audit)"
    assert answer.advice == "resume it with `dts task resume report`"


def test_a_tick_before_the_task_was_made():
    answer = explain(facts(of=replace(task(), created_at=DUE + SECOND)))
    assert answer.verdict == "never"
    assert answer.message.startswith("the task did not exist at that time: it was made at 2026-11-23 03:00:01")


def test_a_task_without_a_schedule_never_runs_by_itself():
    answer = explain(replace(facts(), schedule=None, tick=None))
    assert answer.verdict == "never"
    assert chain(answer) == ["- schedule: none: the task runs only when it is triggered"]


def test_a_run_that_somebody_asked_for_is_not_at_odds_with_a_task_without_a_schedule():
    run = row(RunState.RUNNING, trigger=Trigger.MANUAL, node="n1")
    answer = explain(replace(facts(run), schedule=None, tick=None))
    assert chain(answer)[0] == "+ schedule: not a tick of the schedule: somebody asked for this run"


def test_a_run_of_an_earlier_schedule_was_not_asked_for_by_anybody():
    run = row(RunState.RUNNING, trigger=Trigger.SCHEDULE, node="n1")
    answer = explain(replace(facts(run), tick=None))
    assert chain(answer)[0] == "+ schedule: not a tick of the schedule: due by a schedule that the task had then"


@pytest.mark.parametrize("now", [DUE - SECOND, DUE + 60 * SECOND])
def test_a_deleted_task_owes_nothing_that_is_due_later(now):
    of = replace(task(), updated_at=DUE - 5 * SECOND)
    answer = explain(replace(facts(now=now, of=of), deleted=True))
    assert (answer.verdict, answer.message) == ("never", "the task was deleted at 2026-11-23 01:59:55 UTC")
    assert chain(answer)[1:] == ["- deleted: the task was deleted at 2026-11-23 01:59:55 UTC"]


def test_a_run_of_a_deleted_task_is_told_and_so_is_that_it_was_deleted():
    of = replace(task(), updated_at=DUE + SECOND)
    answer = explain(replace(facts(row(RunState.SUCCEEDED, Reason.OK), of=of), deleted=True))
    assert answer.verdict == "ran"
    assert "- deleted: the task was deleted at 2026-11-23 02:00:01 UTC" in chain(answer)


def test_a_node_says_why_it_does_not_run_a_kind_and_the_count_does_not():
    node = Node(hostname="n1", state=NodeState.READY, kinds=["http"], missing_kinds={"noop": "it is off"})
    answer = explain(replace(facts(row(RunState.PENDING)), nodes=[node]))
    assert chain(answer)[2:] == [
        "- placement: 1 node: 1 does not run noop tasks",
        "- node n1: does not run noop tasks: it is off",
    ]


def test_what_kept_a_run_from_starting_is_said_once_in_its_steps():
    run = row(RunState.FAILED, Reason.IMAGE_PULL, message="no such host", attempt=1, node="n1", finished_at=DUE)
    assert chain(explain(facts(run)))[-2:] == ["- start: no such host", "- result: its image could not be pulled"]


@pytest.mark.parametrize("reason", [each for each in SENTENCE if each is not Reason.OK])
def test_every_reason_says_what_can_be_done_and_names_what_is_meant(reason):
    more = {"task": "report", "node": "n1", "blocked_by": "aaaaaaaabbbb"}
    answer = explain(facts(row(RunState.FAILED, reason, **more)))
    assert SENTENCE[reason] in answer.message or reason in SAID_BY_MESSAGE
    assert answer.advice
    assert "{" not in answer.advice


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"not_before": DUE + 3 * SECOND}, "jitter puts it off by 3s"),
        ({"attempt": 2}, "it is its attempt 2"),
        ({"attempts": [Attempt(assigned_at=DUE + 4 * SECOND)]}, "it waited 4s for its turn or a place"),
        ({"attempts": [Attempt(assigned_at=DUE - SECOND)]}, "node n1 took 6s to prepare it, as to pull its image"),
    ],
)
def test_a_run_that_started_late_says_why(more, why):
    times = {"started_at": DUE + 5 * SECOND, "finished_at": DUE + 9 * SECOND}
    told = {"trigger": Trigger.SCHEDULE, "node": "n1", "attempt": 1, **times, **more}
    answer = explain(facts(row(RunState.SUCCEEDED, Reason.OK, **told)))
    assert (answer.verdict, answer.message) == ("ran", f"it succeeded, but started late: {why}")
    assert any(why in line for line in chain(answer) if "start:" in line)


def test_a_backfilled_run_is_not_late():
    late = DUE + timedelta(days=3)
    run = row(RunState.SUCCEEDED, Reason.OK, trigger=Trigger.BACKFILL, attempt=1, started_at=late, finished_at=late)
    assert explain(facts(run)).message == "it succeeded"


def test_a_run_that_its_node_still_prepares_is_told_as_that():
    answer = explain(facts(row(RunState.ASSIGNED, node="n1")))
    assert answer.message == "it was given to n1, which still prepares it 10s after its instant, as to pull its image"


def test_every_reason_has_a_sentence():
    assert set(SENTENCE) == set(Reason) - {Reason.UNSPECIFIED, Reason.DEPENDENCY_FAILED}


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("it ended with exit code 6", "its command ended with exit code 6"),
        ("it ended with exit code 6: the name is not known", "it ended with exit code 6: the name is not known"),
    ],
)
def test_what_is_known_beside_an_exit_code_is_told_once(message, told):
    run = row(RunState.FAILED, Reason.EXIT_CODE, message=message, exit_code=6)
    assert explain(facts(run)).message == told


def test_a_run_that_rests_before_its_next_attempt_says_how_the_last_one_ended_and_when_the_next_comes():
    run = row(
        RunState.PENDING,
        Reason.EXIT_CODE,
        message="it ended with exit code 3",
        attempt=1,
        node="n1",
        not_before=DUE + 40 * SECOND,
    )
    answer = explain(facts(run))
    assert answer.message == "attempt 1 failed: ended with exit code 3; it is tried again in 30s"
    assert "`dts run logs 01234567`" in answer.advice
    assert not any("could take it" in step for step in chain(answer))


def test_a_run_whose_rest_is_over_and_that_waits_for_a_place_hears_the_nodes():
    run = row(RunState.PENDING, Reason.EXIT_CODE, message="it ended with exit code 3", attempt=1, not_before=DUE)
    assert explain(facts(run)).message == "1 node: 1 could take it"
