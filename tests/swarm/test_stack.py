"""The real stack on a real Swarm: what a team gets that deploys stack.yml."""

from __future__ import annotations

import json

import pytest

from swarm.stack import Stack, task_image

pytestmark = pytest.mark.timeout(900)


async def said(stack: Stack, *arguments: str) -> object:
    done = await stack.system.dts(*arguments, "-o", "json")
    assert done.code == 0, (arguments, done)
    return json.loads(done.out)


async def well(stack: Stack, *arguments: str) -> str:
    done = await stack.system.dts(*arguments)
    assert done.code == 0, (arguments, done)
    return done.out


def test_from_nothing_to_every_part_well_in_a_minute(stack, record_property):
    """The images are in the registry, nothing else is there."""
    record_property("seconds from docker stack deploy to every part well", stack.seconds_to_well)
    assert stack.seconds_to_well <= 60


async def test_every_node_of_the_swarm_has_an_executor(stack):
    nodes = await said(stack, "node", "list")
    assert {node["hostname"]: node["state"] for node in nodes} == {"n1": "ready", "n2": "ready", "n3": "ready"}


async def test_a_constraint_is_kept_and_the_true_exit_code_reported(stack):
    command = ("bash", "-c", "echo here is $DTS_NODE; exit 3")
    await well(
        stack, "task", "create", "pinned", "--image", task_image(), "--constraint", "node.hostname==n3", "--", *command
    )
    run_id = (await well(stack, "task", "trigger", "pinned")).strip()
    assert (await stack.system.dts("run", "wait", run_id)).code == 1
    run = await said(stack, "run", "show", run_id)
    assert (run["state"], run["exit_code"], run["node"]) == ("failed", 3, "n3"), run
    assert "here is n3" in await well(stack, "run", "logs", run_id)
    await well(stack, "task", "delete", "pinned", "--yes")
