"""Commands in the containers of services, on the nodes that have them."""

from __future__ import annotations

import pytest

from swarm.lab import BASE, Lab
from swarm.test_kinds import ran, well

pytestmark = pytest.mark.timeout(300)

SERVES = ("bash", "-c", "trap exit TERM; while true; do sleep 0.2; done")


def serve(lab: Lab, name: str, *options: str) -> None:
    """A service of a user."""
    made = ("service", "create", "--detach=false", "--quiet", "--name", name, "--endpoint-mode", "dnsrr")
    lab.manager.docker(*made, "--stop-grace-period", "1s", *options, BASE, *SERVES)


async def test_a_command_runs_in_the_replica_on_the_node_that_has_it(stack, lab):
    serve(lab, "shop_db", "--constraint", "node.hostname==n3", "--env", "COLOUR=blue")
    script = 'echo "$COLOUR on $DTS_NODE in $(cat /etc/hostname)"; exit 7'
    await well(stack, "task", "create", "vacuum", "--exec", "service/shop_db", "--", "bash", "-c", script)
    run, log = await ran(stack, "vacuum")
    assert (run["node"], run["reason"], run["exit_code"]) == ("n3", "exit_code", 7), run
    container = lab.nodes[2].docker("ps", "--quiet", "--filter", "name=shop_db").strip()
    assert log == f"blue on n3 in {container}\n"

    lab.manager.docker(
        *("service", "update", "--detach=false", "--quiet", "--constraint-rm", "node.hostname==n3"),
        *("--constraint-add", "node.hostname==n2", "shop_db"),
    )
    run, log = await ran(stack, "vacuum")
    assert (run["node"], log.split()[2]) == ("n2", "n2"), run


async def test_all_replicas_of_a_node_run_it_and_each_line_says_where(stack, lab):
    serve(lab, "shop_web", "--replicas", "2", "--constraint", "node.hostname==n2")
    options = ("--exec", "service/shop_web", "--replicas", "all")
    await well(stack, "task", "create", "reload", *options, "--", "bash", "-c", "echo $HOSTNAME")
    run, log = await ran(stack, "reload")
    assert (run["node"], run["state"]) == ("n2", "succeeded"), run
    containers = lab.nodes[1].docker("ps", "--filter", "name=shop_web", "--format", "{{.Names}} {{.ID}}").splitlines()
    assert sorted(log.splitlines()) == sorted(line.replace(" ", "| ") for line in containers)
    assert len(containers) == 2


async def test_a_service_that_runs_nowhere_is_told_node_by_node(stack):
    options = ("--exec", "service/nobody", "--start-deadline", "3s")
    await well(stack, "task", "create", "lost", *options, "--", "true")
    run, _ = await ran(stack, "lost")
    assert (run["state"], run["reason"]) == ("failed", "no_node"), run
    assert "3 nodes: 3 have no container of the service nobody" in run["message"]


async def test_nobody_gets_into_the_containers_of_dts(stack):
    await well(stack, "task", "create", "thief", "--exec", "service/dts_postgres", "--", "cat", "/run/secrets/x")
    run, _ = await ran(stack, "thief")
    assert run["reason"] == "policy_denied", run
    assert "does not allow a command in dts_postgres" in run["message"]
