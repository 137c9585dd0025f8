"""Kinds of work that need a Swarm: services with what only services can have."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.polling import eventually
from swarm.lab import BASE
from swarm.stack import Stack

pytestmark = pytest.mark.timeout(300)


async def well(stack: Stack, *arguments: str, given: str | None = None) -> str:
    done = await stack.system.dts(*arguments, given=given)
    assert done.code == 0, (arguments, done)
    return done.out


async def ran(stack: Stack, task: str) -> tuple[dict[str, Any], str]:
    """A run by hand, as `run show` and `run logs` tell of it."""
    run_id = (await well(stack, "task", "trigger", task)).strip()
    await stack.system.dts("run", "wait", run_id)
    shown = json.loads(await well(stack, "run", "show", run_id, "-o", "json"))
    return shown, await well(stack, "run", "logs", run_id)


@pytest.fixture(scope="module")
def furnished(lab) -> None:
    """A secret, a config and a network of the Swarm, and a user's service that has them."""
    manager = lab.manager
    manager.docker("secret", "create", "job_secret", "-", given="s3cret")
    manager.docker("config", "create", "job_config", "-", given="configured")
    manager.docker("network", "create", "--driver", "overlay", "backend")
    manager.docker(
        *("service", "create", "--detach", "--name", "web_app", "--endpoint-mode", "dnsrr", "--network", "backend"),
        *("--secret", "job_secret", "--config", "source=job_config,target=/etc/job", "--env", "COLOUR=blue"),
        *("--env", "SHAPE=round", "--constraint", "node.hostname==n3", "--stop-grace-period", "1s", "--init"),
        *(BASE, "bash", "-c", "echo serving; sleep 3600"),
    )


READS = "echo $(cat /run/secrets/job_secret) $(cat /etc/job) $(cat /etc/hostname); echo wrong >&2; exit 3"


@pytest.mark.usefixtures("furnished")
async def test_a_service_has_secret_config_and_network_and_its_true_exit_code(stack, lab):
    document = f"""
name: oneshot
service:
  image: {BASE}
  command: [bash, -c, "{READS}"]
  secrets: [job_secret]
  configs: [{{name: job_config, target: /etc/job}}]
  networks: [backend]
constraints: [node.hostname==n2]
"""
    await well(stack, "apply", "-f", "-", given=document)
    run, log = await ran(stack, "oneshot")
    assert (run["state"], run["reason"], run["attempts"][-1]["exit_code"]) == ("failed", "exit_code", 3), run
    assert "s3cret configured" in log
    await eventually(lambda: "dts-" not in services(lab), within=20)


@pytest.mark.usefixtures("furnished")
async def test_a_copy_of_a_service_runs_once_and_leaves_the_service_alone(stack, lab):
    before = lab.manager.docker("service", "inspect", "web_app")
    command = "echo $COLOUR $SHAPE $EXTRA $(cat /run/secrets/job_secret) $(cat /etc/job)"
    options = ("--service", "web_app", "--env", "SHAPE=square", "--env", "EXTRA=more")
    await well(stack, "task", "create", "copy", *options, "--", "bash", "-c", command)
    run, log = await ran(stack, "copy")
    assert run["state"] == "succeeded", run
    assert log.strip().endswith("blue square more s3cret configured")
    assert lab.manager.docker("service", "inspect", "web_app") == before
    await eventually(lambda: "dts-" not in services(lab), within=20)


async def test_a_service_in_the_network_of_the_machine_is_not_copied(stack, lab):
    options = ("--detach", "--name", "nearby", "--network", "host", "--replicas", "0")
    lab.manager.docker("service", "create", *options, BASE, "true")
    await well(stack, "task", "create", "near", "--service", "nearby", "--", "true")
    run, _ = await ran(stack, "near")
    assert (run["state"], run["reason"]) == ("failed", "policy_denied"), run
    assert run["message"] == "the policy of node n1 does not allow the network of the machine (host_network)", run
    assert "dts-" not in services(lab)


async def test_what_the_swarm_lacks_is_named(stack):
    await well(stack, "task", "create", "no-secret", "--swarm", "--image", BASE, "--secret", "nowhere", "--", "true")
    run, _ = await ran(stack, "no-secret")
    assert (run["state"], run["message"]) == ("failed", "the Swarm has no secret nowhere"), run
    await well(stack, "task", "create", "no-service", "--service", "nobody", "--", "true")
    run, _ = await ran(stack, "no-service")
    assert run["state"] == "failed", run
    assert "nobody" in run["message"]


async def test_a_tag_is_resolved_once_for_all_nodes(stack, lab):
    await well(stack, "task", "create", "tagged", "--swarm", "--image", BASE, "--", "true")
    run, _ = await ran(stack, "tagged")
    known = lab.manager.docker("image", "inspect", "--format", "{{index .RepoDigests 0}}", BASE).strip()
    assert run["attempts"][0]["image_digest"] == known.partition("@")[2], run


async def test_a_service_that_no_node_takes_says_so_at_its_start_deadline(stack, lab):
    options = ("--swarm", "--image", BASE, "--constraint", "node.labels.gpu==yes", "--start-deadline", "5s")
    await well(stack, "task", "create", "homeless", *options, "--", "true")
    run, _ = await ran(stack, "homeless")
    assert (run["state"], run["reason"]) == ("failed", "no_node"), run
    assert "no suitable node" in run["message"]
    await eventually(lambda: "dts-" not in services(lab), within=20)


async def test_a_service_is_stopped_when_its_run_is_cancelled(stack, lab):
    command = "trap 'echo bye; exit 7' TERM; echo up; while true; do sleep 0.1; done"
    await well(stack, "task", "create", "long", "--swarm", "--image", BASE, "--", "bash", "-c", command)
    run_id = (await well(stack, "task", "trigger", "long")).strip()

    async def is_up() -> bool:
        return "up" in await well(stack, "run", "logs", run_id)

    await eventually(is_up, within=60)
    await well(stack, "run", "cancel", run_id)
    await stack.system.dts("run", "wait", run_id)
    run = json.loads(await well(stack, "run", "show", run_id, "-o", "json"))
    assert (run["state"], run["attempts"][-1]["exit_code"]) == ("cancelled", 7), run
    assert "bye" in await well(stack, "run", "logs", run_id)
    await eventually(lambda: "dts-" not in services(lab), within=20)


async def test_a_service_goes_on_while_the_executor_that_asked_for_it_is_replaced(stack):
    # On the manager: the executor there looks for what an earlier process left, containers and services.
    on_manager = ("--swarm", "--constraint", "node.role==manager")
    command = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do echo line $i; sleep 1; done; exit 5"
    await well(stack, "task", "create", "lasting", *on_manager, "--image", BASE, "--", "bash", "-c", command)
    run_id = (await well(stack, "task", "trigger", "lasting")).strip()

    async def has_begun() -> bool:
        return "line 2" in await well(stack, "run", "logs", run_id)

    await eventually(has_begun, within=60)
    stack.update("executor")
    await stack.system.dts("run", "wait", run_id)
    run = json.loads(await well(stack, "run", "show", run_id, "-o", "json"))
    assert (len(run["attempts"]), run["attempts"][-1]["exit_code"]) == (1, 5)
    log = (await well(stack, "run", "logs", run_id)).splitlines()
    assert [line for line in log if "line" in line][-1].endswith("line 20")


def services(lab) -> str:
    return lab.manager.docker("service", "ls", "--format", "{{.Name}}").replace("dts_", "")
