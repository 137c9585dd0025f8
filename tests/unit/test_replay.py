"""A week ahead on a virtual clock: what overlaps, what finds no room, what comes all at once."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime, timedelta

from dts.domain.definition import need_of
from dts.domain.policies import effective
from dts.domain.replay import Replayed, replay
from dts.domain.replay_rooms import simplified
from dts.domain.schedule import compile_schedule
from dts.pb.dts.v1 import (
    Capacity,
    Cron,
    DateRange,
    Kind,
    Node,
    NodeChoice,
    NodeState,
    NoopKind,
    Overlap,
    Policies,
    ProcessKind,
    Resources,
    Rule,
    Schedule,
    TaskSpec,
)

MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
GIB = 1 << 30
PROCESS = Kind(process=ProcessKind(command=["true"]))


def task(cron, minutes, name="t", *, schedule=None, kind=PROCESS, max_runs=None, **policies):
    schedule = schedule or Schedule(rules=[Rule(cron=Cron(expression=cron))])
    spec = TaskSpec(name=name, schedule=schedule, kind=kind, policies=Policies(**policies))
    compiled = compile_schedule(schedule, key=name)
    need = simplified(need_of(spec))
    took = minutes * MINUTE
    return Replayed(name, compiled, effective(spec.policies), need, took, seen=1, max_runs=max_runs)


def node(name="n1", *, slots=10, cpus=4.0, memory=8 * GIB, state=NodeState.READY, **about):
    capacity = Capacity(slots=slots, resources=Resources(cpus=cpus, memory=memory))
    return Node(id=name, hostname=name, state=state, kinds=["process", "noop"], capacity=capacity, **about)


def look(*tasks, nodes=(), until=MONDAY + HOUR, herd=1000):
    return replay(tasks, nodes, since=MONDAY, until=until, herd=herd)


def one(*arguments, **options):
    [figures] = look(*arguments, **options).tasks
    return figures


def test_a_run_that_takes_its_whole_interval_does_not_overlap_the_next():
    figures = one(task("*/10 * * * *", 10))
    assert (figures.ticks, figures.started, figures.skipped) == (6, 6, 0)


def test_how_far_it_is_is_told_once_an_hour():
    told = []
    replay([task("* * * * *", 1)], (), since=MONDAY, until=MONDAY + 3 * HOUR, herd=9, reached=told.append)
    assert told == [0 * HOUR, HOUR, 2 * HOUR]


def test_what_overlaps_is_skipped_and_the_first_time_is_told():
    figures = one(task("*/10 * * * *", 11))
    assert (figures.started, figures.skipped) == (3, 3)
    assert figures.first_overlap == MONDAY + 10 * MINUTE


def test_places_of_a_task_are_counted():
    assert one(task("*/10 * * * *", 11, max_parallel=2)).skipped == 0


def test_each_policy_has_its_own_outcome():
    one_waits = one(task("*/10 * * * *", 25, overlap=Overlap.QUEUE_ONE))
    assert (one_waits.started, one_waits.queued, one_waits.skipped) == (3, 3, 2)
    all_wait = one(task("*/10 * * * *", 25, overlap=Overlap.QUEUE_ALL))
    assert (all_wait.started, all_wait.queued, all_wait.skipped) == (3, 5, 0)
    full = one(task("*/10 * * * *", 25, overlap=Overlap.QUEUE_ALL, queue_limit=1))
    assert full.queue_full == 2
    replaced = one(task("*/10 * * * *", 25, overlap=Overlap.CANCEL_OTHER))
    assert (replaced.started, replaced.replaced) == (6, 5)
    beside = one(task("*/10 * * * *", 25, overlap=Overlap.ALLOW))
    assert (beside.started, beside.beside) == (6, 5)


def test_no_run_is_longer_than_its_timeout():
    assert one(task("*/10 * * * *", 500, timeout=5 * MINUTE)).skipped == 0


def test_excluded_dates_are_counted_and_do_not_run():
    schedule = Schedule(rules=[Rule(cron=Cron(expression="0 * * * *"))], exclude=[DateRange(first="2026-11-24")])
    figures = one(task("", 1, schedule=schedule), until=MONDAY + 2 * DAY)
    assert (figures.ticks, figures.excluded, figures.started) == (48, 24, 24)


def test_a_task_is_due_no_more_often_than_it_may_be():
    assert one(task("*/10 * * * *", 1, max_runs=2)).ticks == 2


def test_jitter_moves_starts_and_not_ticks():
    schedule = Schedule(rules=[Rule(cron=Cron(expression="0 * * * *"))], jitter=30 * MINUTE)
    tasks = [task("", 1, f"t{number}", schedule=schedule) for number in range(20)]
    assert look(*tasks, herd=20).herd_count == 0
    assert look(*(task("0 * * * *", 1, f"t{number}") for number in range(20)), herd=20).herd_count == 1


def test_runs_that_find_no_slot_start_later_and_the_shortage_is_told():
    tasks = [task("0 0 * * *", 2, name) for name in ("a", "b", "c")]
    report = look(*tasks, nodes=[node(slots=1)])
    waits = sorted((figures.waited, figures.longest_wait) for figures in report.tasks)
    assert waits == [(0, 0 * MINUTE), (1, 2 * MINUTE), (1, 4 * MINUTE)]
    [shortage] = report.shortages
    assert (shortage.begins, shortage.ends, shortage.waiting) == (MONDAY, MONDAY + 4 * MINUTE, 2)
    assert shortage.words == "1 node: 1 has no free slot"
    assert [(figures.peak_runs, figures.peak_at) for figures in report.nodes] == [(1, MONDAY)]


def test_reservations_are_added_up_and_what_exceeds_them_waits():
    reserved = Resources(cpus=3.0, memory=GIB)
    tasks = [task("0 0 * * *", 2, name, resources=reserved) for name in ("a", "b")]
    report = look(*tasks, nodes=[node(cpus=4.0)])
    assert report.shortages[0].words == "1 node: 1 has 1 of 3 cpus free"
    assert [(figures.peak_cpus, figures.peak_memory) for figures in report.nodes] == [(3.0, GIB)]


def test_what_waits_longer_than_its_start_deadline_has_no_place():
    tasks = [task("0 0 * * *", 20, "a"), task("0 0 * * *", 20, "b", start_deadline=5 * MINUTE)]
    report = look(*tasks, nodes=[node(slots=1)])
    assert [figures.no_place for figures in report.tasks] == [0, 1]
    assert report.shortages[0].ends == MONDAY + 5 * MINUTE


def test_a_reservation_that_no_node_has_ends_with_the_start_deadline_although_nothing_else_happens():
    report = look(task("0 0 * * *", 1, resources=Resources(cpus=64.0)), nodes=[node()])
    assert report.tasks[0].no_place == 1
    assert report.shortages[0].ends == MONDAY + 5 * MINUTE


def test_a_task_that_no_node_could_have_says_what_they_lack():
    figures = one(task("0 * * * *", 1, constraints=["node.labels.gpu==true"]), nodes=[node()])
    assert (figures.no_place, figures.started) == (1, 0)
    assert "gpu" in figures.nowhere


def test_nodes_that_take_nothing_are_left_out_and_without_any_everything_has_room():
    tasks = [task("0 0 * * *", 2, name) for name in ("a", "b")]
    report = look(*tasks, nodes=[node(slots=1, state=NodeState.DOWN)])
    assert ([figures.started for figures in report.tasks], list(report.nodes)) == ([1, 1], [])


def test_every_node_has_a_run_of_its_own():
    report = look(task("0 0 * * *", 5, node=NodeChoice.EVERY), nodes=[node("n1"), node("n2")])
    assert (report.tasks[0].ticks, report.tasks[0].started) == (1, 2)
    assert [figures.peak_runs for figures in report.nodes] == [1, 1]


def test_a_group_lets_no_more_run_than_its_limit():
    tasks = [task("0 0 * * *", 2, name, group="g", group_limit=1) for name in ("a", "b")]
    report = look(*tasks)
    assert [figures.longest_wait for figures in report.tasks] == [0 * MINUTE, 2 * MINUTE]
    assert report.shortages[0].words == "group g is full"


def test_what_takes_nothing_of_a_node_never_waits_for_one():
    tasks = [task("0 0 * * *", 2, name, kind=Kind(noop=NoopKind())) for name in ("a", "b")]
    assert look(*tasks, nodes=[node(slots=1)]).shortage_count == 0


def test_herds_are_told_by_second_and_by_minute():
    second = look(*(task("0 0 * * *", 1, f"t{number}") for number in range(5)), herd=5)
    [herd] = second.herds
    assert (herd.tasks, herd.span, herd.at) == (5, timedelta(seconds=1), MONDAY)
    minute = look(*(task(f"{number} 0 0 * * *", 1, f"t{number}") for number in range(5)), herd=5)
    assert [(herd.tasks, herd.span) for herd in minute.herds] == [(5, MINUTE)]


def test_the_worst_herds_are_kept_and_all_are_counted():
    tasks = [task("* * * * *", 0.5, f"t{number}") for number in range(5)]
    report = look(*tasks, task("30 * * * *", 1, "more"), herd=5)
    assert (report.herd_count, len(report.herds)) == (60, 10)
    assert (report.herds[0].tasks, report.herds[0].at) == (6, MONDAY + 30 * MINUTE)
    assert report.herds[1].at == MONDAY


def test_one_task_that_is_due_every_second_is_no_herd():
    assert look(task("* * * * * *", 0.01), until=MONDAY + 5 * MINUTE, herd=2).herd_count == 0


def test_a_week_needs_no_more_memory_than_a_day():
    def peak(days):
        tasks = [task("*/5 * * * *", 7, f"t{number}", overlap=Overlap.QUEUE_ONE) for number in range(20)]
        tracemalloc.start()
        look(*tasks, nodes=[node(slots=5)], until=MONDAY + days * DAY, herd=5)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(2) < 1.5 * peak(0.25)
