from __future__ import annotations

import pytest

from dts.domain.constraints import parse_constraint
from dts.pb.dts.v1 import Node

NODE = Node(
    id="x1",
    hostname="Alpha",
    role="worker",
    platform="linux/x86_64",
    labels={"disk": "ssd"},
    engine_labels={"zone": "b"},
)


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("node.labels.disk==ssd", True),
        ("node.labels.disk == SSD", True),
        ("node.labels.Disk==ssd", False),
        ("node.labels.gpu==true", False),
        ("node.labels.gpu!=true", True),
        ("engine.labels.zone!=b", False),
        ("NODE.hostname==alpha", True),
        ("node.role!=manager", True),
        ("node.platform.os==linux", True),
        ("node.platform.arch==x86_64", True),
        ("node.id==x1", True),
    ],
)
def test_a_condition_is_compared_as_swarm_does(text, matches):
    assert parse_constraint(text).matches(NODE) is matches


def test_a_node_that_does_not_match_is_told_why():
    assert parse_constraint("node.labels.gpu==true").explain(NODE) == "lacks label gpu=true"
    assert parse_constraint("engine.labels.zone!=b").explain(NODE) == "has zone=b"
    assert parse_constraint("node.hostname==beta").explain(NODE) == "is not hostname=beta"


@pytest.mark.parametrize(
    "text", ["", "disk=ssd", "disk==ssd", "node.labels.==x", "node.labels.a==", "node.ip==1.2.3.4", "a" * 300]
)
def test_what_is_no_condition_is_refused(text):
    with pytest.raises(ValueError, match=r"constraint|known|begin"):
        parse_constraint(text)
