"""What the coming ticks make of nodes, against counting by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dts.domain.constraints import parse_constraint
from dts.domain.placement import Need
from dts.domain.shares import shares
from dts.pb.dts.v1 import Capacity, Node, NodeState, NodeTicks
from dts.roles.gateway.web.charts import density

QUARTERS = {"cells": 4, "cell": 15}
GPU = (parse_constraint("node.labels.gpu==true"),)
EVERY = Need("container", every=True)
ANY = Need("container")


def fleet(*names, state=NodeState.READY, **more):
    own = {"state": state, "kinds": ["container"], "capacity": Capacity(slots=4), **more}
    return [Node(id=name, hostname=name, **own) for name in names]


def peaks(found):
    return {share.node.hostname: list(share.peaks) for share in found}


def test_what_any_node_could_take_falls_upon_all_alike():
    found = shares({ANY: {0: 3, 14: 1, 59: 6}}, fleet("a", "b", "c"), **QUARTERS)
    assert peaks(found) == {name: [1, 0, 0, 2] for name in "abc"}


def test_what_each_node_takes_falls_whole_upon_each():
    assert peaks(shares({EVERY: {20: 2}}, fleet("a", "b"), **QUARTERS)) == {name: [0, 2, 0, 0] for name in "ab"}


def test_what_only_some_nodes_could_take_falls_upon_them_and_they_come_first():
    nodes = [*fleet("a"), *fleet("z", labels={"gpu": "true"})]
    found = shares({Need("container", constraints=GPU): {0: 5}, ANY: {0: 2}}, nodes, **QUARTERS)
    assert peaks(found) == {"z": [6, 0, 0, 0], "a": [1, 0, 0, 0]}
    assert [share.node.hostname for share in found] == ["z", "a"]


def test_minutes_of_different_needs_add_up_only_where_they_are_the_same_minute():
    found = shares({ANY: {0: 2}, EVERY: {1: 2}}, fleet("a"), **QUARTERS)
    assert peaks(found) == {"a": [2, 0, 0, 0]}


@pytest.mark.parametrize("state", [state for state in NodeState if state is not NodeState.READY])
def test_nodes_that_take_nothing_are_left_out(state):
    nodes = [*fleet("a"), *fleet("b", state=state)]
    assert peaks(shares({ANY: {0: 2}}, nodes, **QUARTERS)) == {"a": [2, 0, 0, 0]}


def test_what_takes_no_slot_falls_upon_nobody():
    assert peaks(shares({Need("container", weightless=True): {0: 9}}, fleet("a"), **QUARTERS)) == {"a": [0] * 4}


def test_what_nobody_could_take_falls_upon_nobody():
    assert peaks(shares({Need("container", constraints=GPU): {0: 9}}, fleet("a"), **QUARTERS)) == {"a": [0] * 4}


COUNTS = st.dictionaries(st.integers(0, 59), st.integers(1, 9), max_size=8)


@given(st.lists(COUNTS, min_size=1, max_size=4), st.integers(1, 5))
def test_nothing_is_lost_and_nothing_added(counts, how_many):
    needs = {Need("container", spread=(f"a{i}",)): ticks for i, ticks in enumerate(counts)}
    found = shares(needs, fleet(*(f"n{i}" for i in range(how_many))), cells=60, cell=1)
    fallen = [sum(share.peaks[minute] for share in found) for minute in range(60)]
    assert fallen == pytest.approx([sum(ticks.get(minute, 0) for ticks in counts) for minute in range(60)])


def test_the_lane_of_a_node_says_where_it_has_too_much():
    [lane] = density.lanes([NodeTicks(hostname="a", slots=2, peaks=[0, 1, 1, 3, 2, 0])], together=1)
    assert (lane.width, lane.most) == (6, 3)
    assert lane.paths == {"level3": "M1 0h2v10h-2z", "over": "M3 0h1v10h-1z", "level5": "M4 0h1v10h-1z"}


def test_cells_drawn_as_one_are_as_full_as_the_fullest():
    [lane] = density.lanes([NodeTicks(hostname="a", slots=2, peaks=[0, 1, 1, 3, 2, 0])], together=4)
    assert (lane.width, lane.paths) == (2, {"over": "M0 0h1v10h-1z", "level5": "M1 0h1v10h-1z"})
