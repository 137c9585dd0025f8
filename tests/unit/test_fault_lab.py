"""The fault run on the lab: what of it needs no lab."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime

import pytest

from faults.lab.breakages import CATALOGUE
from faults.lab.engines import event_of, leftovers_of
from faults.lab.load import PLACE, VOLUME, changing, definitions, spec
from faults.lab.overlay import Neighbour, containers_of, neighbours_of, ways_of
from faults.load import witnesses_in
from faults.model import EngineEvent, Leftover, Overlap
from faults.timetable import timetable

RUN = "0198c0de-0000-7000-8000-000000000001"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
DEFINITIONS = definitions(NOON, random.Random(1))


def said(action: str, **attributes: str) -> str:
    nanoseconds = int(NOON.timestamp()) * 1_000_000_000 + 123_456_789
    actor = {"ID": "abc", "Attributes": {"dts.run": RUN, "dts.attempt": "2", **attributes}}
    return json.dumps({"Type": "container", "Action": action, "Actor": actor, "timeNano": nanoseconds})


def test_an_event_of_an_engine_is_known_to_the_microsecond():
    at = NOON.replace(microsecond=123_456)
    assert event_of(said("die", exitCode="137"), "n2") == EngineEvent(at, "n2", "abc", "die", RUN, 2, 137)
    assert event_of(said("start"), "n2").exit_code is None


def test_an_event_that_is_heard_twice_is_the_same():
    assert len({event_of(said("start"), "n1"), event_of(said("start"), "n1"), event_of(said("die"), "n1")}) == 2


def test_containers_that_are_left_say_of_which_run_they_are():
    listing = f"abc\trunning\t{RUN}\t1\ndef\texited\t{RUN}\t2\nghi\tcreated\t\t\n"
    assert list(leftovers_of(listing, "n1")) == [
        Leftover("n1", "abc", RUN, 1, running=True),
        Leftover("n1", "def", RUN, 2, running=False),
        Leftover("n1", "ghi", "", 0, running=False),
    ]


def test_the_containers_of_a_network_and_the_ways_to_them_can_be_read():
    described = [{"Containers": {"a": {"IPv4Address": "10.0.1.8/24", "MacAddress": "02:42:0a:00:01:08"}}}]
    assert list(containers_of(json.dumps(described), "10.77.0.1")) == [
        Neighbour("10.0.1.8", "02:42:0a:00:01:08", "10.77.0.1")
    ]
    assert neighbours_of("10.0.1.8 lladdr 02:42:0a:00:01:08 PERMANENT \n10.0.1.9 FAILED\n") == {
        ("10.0.1.8", "02:42:0a:00:01:08")
    }
    listing = "02:42:0a:00:01:08 dst 10.77.0.1 link-netnsid 0 self permanent\n02:42:0a:00:01:09 dst 10.77.0.1 self \n"
    assert ways_of(listing) == {("02:42:0a:00:01:08", "10.77.0.1")}


def test_what_is_witnessed_is_a_container_that_writes_into_the_volume_and_the_rest_does_nothing():
    for name, definition in DEFINITIONS.items():
        made = spec(name, definition).kind
        assert (made.noop is None) is definition.witnessed
        if definition.witnessed:
            assert [(one.volume, one.target) for one in made.container.mounts] == [(VOLUME, PLACE)]
            assert f"me={PLACE}/$DTS_RUN_ID.$DTS_ATTEMPT" in made.container.command[-1]


def test_some_tasks_are_for_one_node_only():
    pinned = {name: spec(name, one).policies.constraints for name, one in DEFINITIONS.items()}
    assert {name: rules for name, rules in pinned.items() if rules} == {
        f"pinned-n{number}": [f"node.hostname==n{number}"] for number in (1, 2, 3)
    }


def test_every_overlap_policy_is_among_them():
    assert {one.overlap for one in DEFINITIONS.values()} == set(Overlap)


def test_two_processors_can_bear_it():
    starts = [1 / one.plan.period.total_seconds() for one in DEFINITIONS.values() if hasattr(one.plan, "period")]
    containers = [
        1 / one.plan.period.total_seconds()
        for one in DEFINITIONS.values()
        if one.witnessed and hasattr(one.plan, "period")
    ]
    assert 1 <= sum(containers) <= 2
    assert 5 <= sum(starts) - sum(containers) <= 10


@pytest.mark.parametrize("seed", range(20))
def test_people_make_only_what_the_lab_can_run(seed):
    made = spec("edited", changing(random.Random(seed)))
    assert made.kind.process is None


def test_there_are_more_than_twenty_faults_each_of_its_own_name():
    assert len({breakage.name for breakage in CATALOGUE}) == len(CATALOGUE) > 20


def test_a_long_run_has_each_of_them():
    planned = timetable(CATALOGUE, len(CATALOGUE), random.Random(1))
    assert {breakage.name for plan in planned for breakage in plan.breakages} == {one.name for one in CATALOGUE}


def test_witnesses_are_of_the_node_whose_directory_they_lie_in(tmp_path):
    (tmp_path / f"{RUN}.2").write_text(
        f"start 1767268800250000000 quick {NOON.isoformat()}\nend 1767268801250000000 3\n"
    )
    (tmp_path / f"{RUN}.2.seen").touch()
    (witness,) = witnesses_in(tmp_path, "n3")
    assert (witness.run_id, witness.number, witness.node, witness.code) == (RUN, 2, "n3", 3)
    assert witness.started == NOON.replace(microsecond=250_000)
    assert witness.seen is not None
