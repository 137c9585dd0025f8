"""A one-shot service before managers that have no leader for a moment, and nodes that do not answer."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest

from dts.docker.swarm import Swarm, SwarmTask
from dts.docker.values import Membership
from dts.domain.errors import Unavailable
from dts.pb.dts.v1 import Reason
from dts.roles.executor.oneshot.runner import OneshotRunner
from dts.roles.executor.oneshot.work import NOBODY, OneshotWork
from dts.roles.executor.work import Refused

RUNNING = SwarmTask(
    id="t", state="running", message="", node_id="n", container="c", exit_code=None, created_at="2026-01-01T00:00:00Z"
)


class Managers:
    """answers: of each look at the tasks, the last one for ever."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.removed = []
        self.spec = {"Mode": {"Replicated": {"Replicas": 0}}, "TaskTemplate": {}}

    async def service(self, _id):
        replicas = self.spec["Mode"]["Replicated"]["Replicas"]
        return SimpleNamespace(id="s", replicas=replicas, spec=self.spec, version=1)

    async def update(self, _service, spec):
        self.spec = spec

    async def tasks(self, _service):
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return [answer]

    async def remove(self, service):
        self.removed.append(service)

    async def logs(self, _service, *, since, follow):  # noqa: ARG002
        for pieces in ():
            yield pieces


def work(managers, *, start_by=1e9):
    return OneshotWork(
        managers, "s", image="i", start_by=start_by, monotonic=lambda: 0.0, discarded=lambda _: None, margin=0.1
    )


async def test_managers_without_a_leader_do_not_make_a_start_fail_that_was_given():
    managers = Managers(Unavailable("no leader"), RUNNING)
    await asyncio.wait_for(work(managers).start(), 10)
    assert managers.removed == []


async def test_a_service_whose_node_does_not_answer_is_killed_when_its_grace_is_over():
    managers = Managers(RUNNING)
    await asyncio.wait_for(work(managers).stop(grace=timedelta(0)), 10)
    assert managers.removed == ["s"]


async def test_a_service_that_is_killed_is_over_only_when_its_container_is():
    """The Swarm gives what it removes its grace, too, and forgets it at once: the next run would begin beside it."""
    managers = Managers(RUNNING, RUNNING, RUNNING, replace(RUNNING, state="shutdown", exit_code=143))
    managers.spec["TaskTemplate"] = {"ContainerSpec": {"StopGracePeriod": 3_600_000_000_000}}
    killed = work(managers)
    await asyncio.wait_for(killed.kill(), 10)
    assert managers.removed == []
    assert len(managers.answers) == 1
    assert managers.spec["TaskTemplate"]["Placement"]["Constraints"] == [NOBODY]


async def test_a_service_that_is_killed_on_a_node_that_does_not_answer_is_removed_after_its_grace():
    managers = Managers(RUNNING)
    managers.spec["TaskTemplate"] = {"ContainerSpec": {"StopGracePeriod": 1_000_000}}
    await asyncio.wait_for(work(managers).kill(), 10)
    assert managers.removed == ["s"]


async def test_a_service_that_waits_for_its_node_is_removed_when_it_is_stopped():
    managers = Managers(replace(RUNNING, state="pending"))
    await asyncio.wait_for(work(managers).stop(grace=timedelta(hours=1)), 10)
    assert managers.removed == ["s"]


@pytest.mark.parametrize(
    ("says", "reason"), [("no suitable node (3 nodes)", Reason.NO_NODE), ("", Reason.START_DEADLINE)]
)
async def test_a_service_of_an_earlier_process_that_waits_beyond_its_start_deadline_is_given_up(says, reason):
    managers = Managers(replace(RUNNING, state="pending", message=says))
    with pytest.raises(Refused) as refused:
        await asyncio.wait_for(work(managers, start_by=-1.0).wait(print), 10)
    assert (refused.value.reason, managers.removed) == (reason, ["s"])


async def test_a_service_of_an_earlier_process_that_runs_has_no_start_deadline_any_more():
    managers = Managers(RUNNING, RUNNING, replace(RUNNING, state="complete", exit_code=0))
    ended = await asyncio.wait_for(work(managers, start_by=-1.0).wait(print), 10)
    assert (ended.exit_code, managers.removed) == (0, [])


async def test_an_engine_that_is_not_back_in_its_swarm_has_not_lost_its_services():
    class Engine:
        async def membership(self):
            return Membership(name="n1", node_id="", manager=False, labels={})

    runner = OneshotRunner.__new__(OneshotRunner)
    runner._engine = Engine()
    with pytest.raises(Unavailable):
        await runner.find([SimpleNamespace(key=(1, 1))])
    assert await runner.find([]) == {}


async def test_a_node_that_has_said_nothing_of_itself_yet_is_left_out():
    ready = {"Spec": {"Role": "worker", "Availability": "active"}, "Status": {"State": "ready"}}
    nodes = [
        {**ready, "ID": "a", "Description": {"Hostname": "n1"}},
        {**ready, "ID": "b", "Description": {"Platform": {}}},
        {**ready, "ID": "c"},
    ]

    class Engine:
        async def call(self, *_):
            return nodes

    assert [node.hostname for node in await Swarm(Engine()).nodes()] == ["n1"]
