"""Nodes of the Swarm: their labels and availability, and who may do what from outside."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from support.polling import eventually
from swarm.lab import BASE, Lab
from swarm.stack import Stack

pytestmark = pytest.mark.timeout(300)


async def asked(stack: Stack, *arguments: str) -> Any:
    done = await stack.system.dts(*arguments, "-o", "json")
    assert done.code == 0, (arguments, done)
    return json.loads(done.out)


async def node_of(stack: Stack, name: str) -> dict[str, Any]:
    return next(node for node in await asked(stack, "node", "list") if node["hostname"] == name)


async def created(stack: Stack, name: str, *options: str, command: Sequence[str] = ("true",)) -> None:
    done = await stack.system.dts("task", "create", name, "--image", BASE, *options, "--", *command)
    assert done.code == 0, done


async def triggered(stack: Stack, task: str) -> str:
    return (await stack.system.dts("task", "trigger", task)).out.strip()


async def ran_on(stack: Stack, run: str) -> str:
    assert (await stack.system.dts("run", "wait", run)).code == 0
    return (await asked(stack, "run", "show", run))["node"]


async def node_that_has(stack: Stack, run: str) -> str:
    return (await asked(stack, "run", "show", run)).get("node", "")


@pytest.fixture
def availability(lab: Lab) -> Iterator[Any]:
    """Sets the availability of n2; active again in the end."""

    def make(word: str) -> None:
        lab.manager.docker("node", "update", "--availability", word, "n2")

    yield make
    make("active")


async def test_nodes_are_known_by_what_the_swarm_says_of_them(stack, lab):
    nodes = {node["hostname"]: node for node in await asked(stack, "node", "list")}
    for name, node in nodes.items():
        assert node["id"] == lab.manager.docker("node", "inspect", "--format", "{{.ID}}", name).strip()
    assert {name: node["role"] for name, node in nodes.items()} == {"n1": "manager", "n2": "worker", "n3": "worker"}


async def test_a_label_of_a_node_counts_as_soon_as_a_manager_knows_it(stack, lab):
    await created(stack, "labelled", "--constraint", "node.labels.disk==ssd")
    run = await triggered(stack, "labelled")

    async def answers() -> dict[str, str]:
        said = (await asked(stack, "run", "show", run))["nodes"]
        assert len(said) == 3
        return said

    assert set((await eventually(answers)).values()) == {"lacks label disk=ssd"}
    lab.manager.docker("node", "update", "--label-add", "disk=ssd", "n3")
    assert await ran_on(stack, run) == "n3"
    lab.manager.docker("node", "update", "--label-rm", "disk", "n3")


async def test_every_node_that_could_has_a_run_of_its_own(stack):
    await created(stack, "everywhere", "--node", "every", "--constraint", "node.hostname!=n2")
    first = await triggered(stack, "everywhere")

    async def all_over() -> bool:
        runs = await asked(stack, "run", "list", "--task", "everywhere")
        return sorted((run["node"], run["state"]) for run in runs) == [("n1", "succeeded"), ("n3", "succeeded")]

    await eventually(all_over, within=60)
    runs = await asked(stack, "run", "list", "--task", "everywhere")
    assert first in {run["id"] for run in runs}
    assert len({run["scheduled_at"] for run in runs}) == 1


async def test_a_paused_node_takes_nothing_new(stack, availability):
    availability("pause")

    async def is_paused() -> bool:
        node = await node_of(stack, "n2")
        return (node["state"], node["drain_note"]) == ("draining", "paused in the Swarm")

    await eventually(is_paused, within=20)
    options = ("--overlap", "allow", "--spread", "node.hostname")
    await created(stack, "spread", *options, command=("sleep", "600"))
    runs: list[str] = []
    nodes: Counter[str] = Counter()
    for _ in range(4):
        runs.append(await triggered(stack, "spread"))
        nodes[await eventually(lambda: node_that_has(stack, runs[-1]), within=30)] += 1
    assert nodes == {"n1": 2, "n3": 2}
    for run in runs:
        assert (await stack.system.dts("run", "cancel", run)).code == 0
    availability("active")
    await eventually(lambda: is_ready(stack, "n2"), within=20)


async def test_a_drained_node_stays_in_the_list_without_its_executor(stack, availability):
    availability("drain")

    async def is_drained() -> bool:
        node = await node_of(stack, "n2")
        return (node["state"], node["drain_note"]) == ("no_executor", "drained in the Swarm")

    await eventually(is_drained, within=60)
    assert (await stack.system.dts("status")).code == 0  # somebody means it to be away
    availability("active")
    await eventually(lambda: is_ready(stack, "n2"), within=60)


async def is_ready(stack: Stack, name: str) -> bool:
    return (await node_of(stack, name))["state"] == "ready"


async def test_nothing_of_dts_itself_can_be_had_by_a_task(stack):
    done = await stack.system.dts("task", "create", "spy", "--service", "dts_executor", "--", "cat", "/run/secrets/x")
    assert done.code == 0, done
    run = await triggered(stack, "spy")
    await stack.system.dts("run", "wait", run)
    shown = await asked(stack, "run", "show", run)
    assert (shown["state"], shown["reason"]) == ("failed", "policy_denied")
    assert "the copy of the service dts_executor" in shown["message"]


async def test_only_who_is_known_and_may_gets_in(stack):
    viewer = (await stack.system.dts("token", "create", "looker", "--scope", "viewer")).out.strip()
    create = ("task", "create", "by-viewer", "--noop")
    for token, arguments, code in (
        (viewer, ("task", "list"), 0),
        (viewer, create, 5),
        (viewer, ("token", "list"), 5),
        ("wrong", ("task", "list"), 5),
        ("", ("task", "list"), 5),
        (stack.token, ("token", "list"), 0),
    ):
        environment = {**stack.system.environment, "DTS_TOKEN": token}
        system = type(stack.system)(stack.system.grpc, stack.system.http, stack.system.data, environment)
        done = await system.dts(*arguments)
        assert done.code == code, (token == viewer, arguments, done)
    await stack.system.dts("token", "revoke", "looker")
