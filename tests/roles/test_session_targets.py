"""Where commands can run, between a heartbeat and the lease that carries it."""

from __future__ import annotations

from dts.pb.dts.v1 import Heartbeat, Node, Targets
from dts.roles.scheduler.session import Session


def test_that_the_last_container_is_gone_is_passed_on_once():
    session = Session(Node(id="n1"), lambda: 0.0)
    session.heard(Heartbeat(sequence=1, targets=Targets(names=["container/db"])))
    session.heard(Heartbeat(sequence=2, targets=Targets()))
    session.heard(Heartbeat(sequence=3))
    taken = session.take_heartbeat()
    assert taken is not None
    lease, sequence = taken
    assert (sequence, lease.targets) == (3, Targets())
    assert lease.targets is not None
    session.renewed(lease, sequence, None)
    session.heard(Heartbeat(sequence=4))
    taken = session.take_heartbeat()
    assert taken is not None
    assert taken[0].targets is None
