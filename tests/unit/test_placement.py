"""Which node takes a run, and what the others say."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dts.domain.constraints import parse_attribute, parse_constraint, parse_preference
from dts.domain.placement import COULD, Crowd, Need, Refusal, Room, choose, objection, refusal, standing
from dts.pb.dts.v1 import Capacity, Node, NodeState, Resources

ZONES = ("a", "b", "c")
GIB = 1 << 30


def node(name: str, *, state: NodeState = NodeState.READY, slots: int = 8, **labels: str) -> Node:
    most = Capacity(slots=slots, resources=Resources(cpus=4, memory=8 * GIB))
    return Node(id=name, hostname=name, state=state, kinds=["container", "noop"], labels=labels, capacity=most)


def room(of: Node, *, slots: int = 8, cpus: float = 4, memory: int = 8 * GIB) -> Room:
    return Room(of, slots, cpus, memory, window=10)


def need(
    *, prefer: tuple[str, ...] = (), spread: tuple[str, ...] = (), constraints: tuple[str, ...] = (), **more
) -> Need:
    return Need(
        kind=more.pop("kind", "container"),
        constraints=tuple(map(parse_constraint, constraints)),
        prefer=tuple(map(parse_preference, prefer)),
        spread=tuple(map(parse_attribute, spread)),
        **more,
    )


def taker(wanted: Need, rooms: list[Room], **options) -> str:
    chosen = choose(wanted, rooms, **options)
    assert isinstance(chosen, Room), chosen
    return chosen.node.id


def test_the_least_loaded_node_is_chosen():
    assert taker(need(), [room(node("a"), slots=2), room(node("b"), slots=3), room(node("c"), slots=1)]) == "b"


def test_equal_nodes_have_their_turns():
    rooms = [room(node(name)) for name in "abc"]
    assert [taker(need(), rooms, turn=turn) for turn in range(4)] == ["a", "b", "c", "a"]


def test_another_node_than_the_last_is_taken_where_there_is_one():
    rooms = [room(node("a")), room(node("b"), slots=1)]
    assert taker(need(), rooms, avoid="a") == "b"
    assert taker(need(), rooms[:1], avoid="a") == "a"


def test_a_preferred_node_comes_first_however_loaded():
    rooms = [room(node("a")), room(node("b", disk="ssd"), slots=1)]
    assert taker(need(prefer=("node.labels.disk==ssd",)), rooms) == "b"


def test_a_preferred_node_without_room_does_not_block():
    rooms = [room(node("a")), room(node("b", disk="ssd"), slots=0)]
    assert taker(need(prefer=("node.labels.disk==ssd",)), rooms) == "a"


def test_preferences_weigh():
    rooms = [room(node("a", disk="ssd")), room(node("b", zone="x"))]
    assert taker(need(prefer=("node.labels.disk==ssd", "5*node.labels.zone==x")), rooms) == "b"
    assert taker(need(prefer=("6*node.labels.disk==ssd", "5*node.labels.zone==x")), rooms) == "a"


def test_a_retry_leaves_even_a_preferred_node():
    rooms = [room(node("a")), room(node("b", disk="ssd"))]
    assert taker(need(prefer=("node.labels.disk==ssd",)), rooms, avoid="b") == "a"


def test_runs_are_spread_over_the_values_of_an_attribute_before_the_load_counts():
    nodes = [node("a1", zone="a"), node("a2", zone="a"), node("b1", zone="b")]
    crowd = Crowd(nodes, {"a1": 1})
    rooms = [room(nodes[1]), room(nodes[2], slots=1)]
    assert taker(need(spread=("node.labels.zone",)), rooms, crowd=crowd) == "b1"
    assert (
        taker(need(spread=("node.labels.zone", "node.hostname")), [room(nodes[0]), room(nodes[1])], crowd=crowd) == "a2"
    )


@pytest.mark.parametrize(
    ("text", "weight"), [("node.labels.a==b", 1), ("5*node.labels.a==b", 5), (" 100 * node.labels.a != b", 100)]
)
def test_a_weight_stands_before_the_condition(text, weight):
    assert parse_preference(text).weight == weight


@pytest.mark.parametrize(
    "text", ["0*node.labels.a==b", "101*node.labels.a==b", "-1*node.labels.a==b", "5*", "node.x==y"]
)
def test_what_is_no_preference_is_refused(text):
    with pytest.raises(ValueError, match=r"weight|constraint|known|key and value"):
        parse_preference(text)


@pytest.mark.parametrize("text", ["", "zone", "node.labels.", "node.labels.a==b", "node.labels.a b"])
def test_what_is_no_attribute_is_refused(text):
    with pytest.raises(ValueError, match=r"node\.labels\.KEY"):
        parse_attribute(text)


def test_a_refusal_counts_what_the_nodes_say():
    rooms = [room(node("a")), room(node("b")), room(node("c", state=NodeState.DRAINING))]
    wanted = need(constraints=("node.labels.gpu==true",))
    assert refusal(wanted, rooms) == "3 nodes: 2 lack label gpu=true, 1 is draining"
    assert refusal(wanted, rooms[:1]) == "1 node: 1 lacks label gpu=true"
    assert refusal(wanted, []) == "no node is attached"


def test_a_refusal_counts_the_nodes_of_other_replicas():
    wanted = need(constraints=("node.labels.gpu==true",))
    said = choose(wanted, [room(node("a"))], others=[node("b"), node("c", gpu="true")])
    assert said == Refusal("3 nodes: 2 lack label gpu=true, 1 has no room")


def test_each_node_says_what_is_in_the_way():
    full = node("full")
    full.used = Capacity(slots=8, resources=Resources())
    small = node("small")
    small.used = Capacity(slots=1, resources=Resources(cpus=3, memory=0))
    nodes = [node("free"), full, small, node("away", state=NodeState.NO_EXECUTOR)]
    said = {each.hostname: why for each, why in standing(need(cpus=2), nodes)}
    assert said == {
        "free": COULD,
        "full": "has no free slot",
        "small": "has 1 of 2 cpus free",
        "away": "has no executor",
    }


STATES = st.sampled_from([NodeState.READY, NodeState.READY, NodeState.DRAINING, NodeState.UNKNOWN])


@st.composite
def fleets(draw) -> list[Room]:
    rooms = []
    for number in range(draw(st.integers(0, 6))):
        labels = draw(st.dictionaries(st.sampled_from(["zone", "disk"]), st.sampled_from(ZONES)))
        each = node(f"n{number}", state=draw(STATES), **labels)
        free = draw(st.integers(0, 8))
        rooms.append(room(each, slots=free, cpus=draw(st.floats(0, 4)), memory=draw(st.integers(0, 8)) * GIB))
    return rooms


CONDITIONS = st.sampled_from(["node.labels.zone==a", "node.labels.zone!=b", "node.labels.disk==c", "node.hostname!=n1"])


@given(
    rooms=fleets(),
    constraints=st.lists(CONDITIONS, max_size=2),
    prefer=st.lists(CONDITIONS, max_size=2),
    cpus=st.floats(0, 4),
    avoid=st.sampled_from(["", "n0", "n1"]),
    turn=st.integers(0, 2**127),
)
def test_no_choice_breaks_a_condition_and_none_is_left_out(rooms, constraints, prefer, cpus, avoid, turn):
    wanted = need(constraints=tuple(constraints), prefer=tuple(prefer), cpus=cpus)
    able = [each for each in rooms if objection(wanted, each) is None]
    chosen = choose(wanted, rooms, avoid=avoid, turn=turn)
    if isinstance(chosen, Refusal):
        assert able == []
        return
    assert chosen in able
    assert chosen.node.state is NodeState.READY
    assert all(condition.matches(chosen.node) for condition in wanted.constraints)
    assert chosen.slots >= 1
    assert chosen.cpus >= cpus
    others = [each for each in able if each.node.id != avoid] or able
    merits = {each.node.id: Crowd().merit(wanted, each.node) for each in others}
    assert merits[chosen.node.id] == max(merits.values())


@given(runs=st.integers(1, 40), zones=st.lists(st.sampled_from(ZONES), min_size=1, max_size=6))
def test_spread_runs_differ_by_one_at_most_where_there_is_room(runs, zones):
    nodes = [node(f"n{number}", slots=100, zone=zone) for number, zone in enumerate(zones)]
    rooms = [room(each, slots=100) for each in nodes]
    wanted, live = need(spread=("node.labels.zone",)), Counter[str]()
    for turn in range(runs):
        chosen = choose(wanted, rooms, turn=turn, crowd=Crowd(nodes, live))
        assert isinstance(chosen, Room)
        chosen.take(wanted)
        live[chosen.node.id] += 1
    by_zone = Counter(dict.fromkeys(zones, 0))
    for each in nodes:
        by_zone[each.labels["zone"]] += live[each.id]
    assert max(by_zone.values()) - min(by_zone.values()) <= 1
