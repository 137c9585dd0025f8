from __future__ import annotations

import time
from datetime import UTC, datetime
from uuid import UUID, uuid4

from dts.docker.values import Membership
from dts.pb.dts.v1 import (
    DescribeNodeRequest,
    ListAttemptsRequest,
    RunState,
)
from dts.roles.executor.node import Describer, Machine, identify, owner_of
from dts.roles.executor.service import ExecutorService
from support.executors import ScriptedRunner, process, running
from support.polling import eventually
from support.scheduler import ScriptedScheduler


def test_the_id_of_a_node_stays_and_its_incarnation_does_not(tmp_path):
    first, second = (identify(tmp_path / "new", new_id=uuid4) for _ in range(2))
    assert first.id == second.id == str(UUID(first.id))
    assert first.incarnation != second.incarnation
    assert identify(tmp_path / "new", new_id=uuid4, node_id="swarm").id == "swarm"


def test_installations_on_a_node_have_owners_of_their_own(tmp_path):
    def owner(home: str, installation: str = "", node_id: str = "n") -> str:
        return owner_of(tmp_path / home, installation=installation, node_id=node_id, new_id=uuid4)

    assert owner("a") == owner("a") != owner("b")
    assert owner("a", "dts_executor") == owner("b", "dts_executor")
    assert (
        len({owner("a", "dts_executor"), owner("a", "test_executor"), owner("a", "dts_executor", "m"), owner("a")}) == 4
    )


async def test_a_node_says_what_it_can_run_and_why_not_the_rest(tmp_path):
    well, ill = ScriptedRunner(), ScriptedRunner()
    ill.why_missing = "the engine does not answer"

    async def engine():
        return Membership("alpha", "x", manager=True, labels={"disk": "ssd"})

    machine = Machine(slots=7, labels={"zone": "a"}, absent={"exec": "not built"})
    runners = {"process": well, "container": ill}
    node = await Describer(identify(tmp_path, new_id=uuid4), machine, runners, engine)()
    assert node.kinds == ["process", "noop"]
    assert node.missing_kinds == {"container": "the engine does not answer", "exec": "not built"}
    assert (node.capacity.slots, node.labels, node.engine_labels, node.role) == (
        7,
        {"zone": "a"},
        {"disk": "ssd"},
        "manager",
    )
    assert node.capacity.resources.cpus > 0
    assert node.capacity.resources.memory > 2**20
    assert node.hostname
    assert "/" in node.platform


async def test_a_kind_that_fails_to_answer_is_missing(tmp_path):
    class Broken(ScriptedRunner):
        async def missing(self):
            raise OSError("no socket")

    async def engine():
        raise OSError("no socket")

    node = await Describer(identify(tmp_path, new_id=uuid4), Machine(), {"container": Broken()}, engine)()
    assert node.kinds == ["noop"]
    assert "OSError" in node.missing_kinds["container"]


async def test_the_service_says_what_the_node_holds(tmp_path):
    scheduler, runner, key = ScriptedScheduler(), ScriptedRunner(), (uuid4(), 2)
    async with running(scheduler, tmp_path, runners={"process": runner}) as executor:
        service = ExecutorService(
            executor, scheduler="127.0.0.1:1", monotonic=time.monotonic, now=lambda: datetime.now(UTC)
        )
        scheduler.assign([key], process())
        await eventually(lambda: scheduler.of(key))
        described = await service.describe_node(DescribeNodeRequest())
        (held,) = (await service.list_attempts(ListAttemptsRequest())).attempts
        assert (described.node.id, described.node.running, described.attached_to) == ("n1", 1, "127.0.0.1:1")
        assert (held.run_id, held.task, held.attempt.number) == (str(key[0]), "work", 2)
        assert (held.attempt.state, held.attempt.handle) == (RunState.RUNNING, "1234")
        assert abs((datetime.now(UTC) - held.attempt.started_at).total_seconds()) < 5
