"""What `dts top` shows of a snapshot, in a terminal of any size."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from rich.cells import cell_len

from dts.cli.top_data import LogView, Place, Snapshot
from dts.cli.top_screen import lists, log, rooms
from dts.pb.dts.v1 import Capacity, Node, NodeState, Reason, Run, RunState, Tick

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def run(number, state, **more):
    return Run(id=f"{number:08x}-rest", task=f"task-{number}", state=state, scheduled_at=NOON - 60 * SECOND, **more)


def snapshot(*, nodes=1, running=2, upcoming=2, recent=2):
    return Snapshot(
        at=NOON,
        nodes=[
            Node(hostname=f"n{number}", state=NodeState.READY, running=1, capacity=Capacity(slots=8))
            for number in range(nodes)
        ],
        running=[run(number, RunState.RUNNING, started_at=NOON - 59 * SECOND, node="n0") for number in range(running)],
        upcoming=[Tick(task="soon", scheduled_at=NOON + number * SECOND) for number in range(upcoming)],
        recent=[
            run(
                1000 + number,
                RunState.FAILED,
                reason=Reason.EXIT_CODE,
                exit_code=3,
                started_at=NOON - 50 * SECOND,
                finished_at=NOON - 48 * SECOND,
                node="n0",
            )
            for number in range(recent)
        ],
    )


def text(screen):
    return ["".join(part for _, part in line) for line in screen.lines]


def shown(found, place=None, *, width=100, height=30, problem=""):
    return lists(found, place or Place(), server="here:7461", width=width, height=height, problem=problem)


@pytest.mark.parametrize("width", [20, 80, 200])
@pytest.mark.parametrize("height", [6, 10, 24, 60])
@pytest.mark.parametrize("counts", [{}, {"nodes": 50, "running": 200, "upcoming": 50, "recent": 200}])
def test_the_screen_is_filled_exactly_whatever_its_size(width, height, counts):
    lines = text(shown(snapshot(**counts), width=width, height=height))
    assert len(lines) == height
    assert all(cell_len(line) <= width for line in lines)


def test_each_list_is_told_with_how_many_there_are():
    lines = "\n".join(text(shown(snapshot(recent=100))))
    for part in ("1 of 1 nodes ready", "NODES 1", "RUNNING 2", "NEXT 2", "of 100", "1/8 runs", "59.0s", "in 1s"):
        assert part in lines
    assert "exit code 3, late" not in lines
    assert "exit code 3  late 10.0s" in lines


def test_neither_what_runs_nor_what_ran_drives_the_other_out():
    crowded = rooms(snapshot(running=200, recent=200), 40)
    assert min(crowded.running, crowded.recent) >= 15
    assert rooms(snapshot(running=0, recent=200), 40).recent >= 30


def test_the_pointer_stays_on_its_run_when_others_come_and_when_it_moves_to_what_ran():
    place = Place()
    first = shown(snapshot(), place)
    place.move(first.runs, 1)
    assert place.chosen == first.runs[1].id
    place.move(first.runs, 100)
    assert place.run(shown(snapshot(running=7), place).runs).id == first.runs[-1].id
    assert any(line.startswith("❯ 000003e9") for line in text(shown(snapshot(running=7), place)))


def test_without_runs_there_is_nothing_to_choose():
    place = Place()
    place.move([], 1)
    assert place.run(shown(snapshot(running=0, recent=0), place).runs) is None


def test_a_question_takes_the_place_of_the_keys_and_a_silent_server_is_told():
    assert text(shown(snapshot(), Place(asked="Cancel it?")))[-1] == "Cancel it? [y/N]"
    assert "no answer since: away" in text(shown(snapshot(), problem="away"))[0]


def test_a_log_shows_its_end_and_nothing_that_acts_on_the_terminal():
    view = LogView(run(1, RunState.RUNNING))
    view.add(b"".join(b"line %d\n" % number for number in range(50)), error=False)
    view.add("ä".encode()[:1], error=True)
    view.add("ä".encode()[1:] + b"\x1b[2J", error=True)
    screen = log(view, Place(), width=40, height=10)
    lines = text(screen)
    assert (len(lines), lines[1], lines[-2]) == (10, "line 43", "ä\\x1b[2J")
    assert screen.lines[-2][0][0] == "fg:ansired"
