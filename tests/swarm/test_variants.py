"""What an operator does with a stack that runs: renew its certificates, make it compact."""

from __future__ import annotations

import json

import pytest

from support.polling import eventually
from swarm.lab import BASE, Lab
from swarm.stack import NAME, SERVICES, dts
from swarm.test_kinds import ran, well

pytestmark = pytest.mark.timeout(600)

ROLES = ("database", "definition", "scheduler", "gateway", "executor")


def converged(lab: Lab) -> bool:
    """Whether every service has as many containers as it is to have, and no update goes on."""
    lines = lab.manager.docker("service", "ls", "--format", "{{.Name}} {{.Replicas}}").splitlines()
    replicas = [line.split()[1] for line in lines if line.startswith(f"{NAME}_")]
    return bool(replicas) and all(len(set(each.split("/"))) == 1 for each in replicas) and not updating(lab)


def updating(lab: Lab) -> list[str]:
    format_ = "{{.Spec.Name}} {{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}"
    names = lab.manager.docker("service", "ls", "--quiet").split()
    lines = lab.manager.docker("service", "inspect", "--format", format_, *names).splitlines()
    return [line for line in lines if line.endswith(("updating", "rollback_started", "paused"))]


def store(lab: Lab, name: str, file: str) -> None:
    lab.manager.docker("secret", "create", name, str(lab.home / "pki" / file))


async def test_certificates_are_renewed_by_a_deployment_with_a_new_suffix(stack, lab):
    await well(stack, "task", "create", "before", "--image", BASE, "--", "true")
    for role in ROLES:
        dts("pki", "issue", role, "--dir", str(lab.home / "pki"), "--name", lab.manager.address)
        store(lab, f"dts_tls_{role}.2", f"{role}.pem")
    store(lab, "dts_tls_ca.2", "ca.pem")
    stack.deploy_again(DTS_TLS_SUFFIX=".2")
    await eventually(lambda: converged(lab), within=240)
    # Nobody has the old ones any more, or the Swarm would keep them.
    lab.manager.docker("secret", "rm", "dts_tls_ca", *(f"dts_tls_{role}" for role in ROLES))
    assert stack.all_well(), stack.what_is_wrong()
    run, _ = await ran(stack, "before")
    assert run["state"] == "succeeded", run


async def test_a_stack_becomes_compact_and_keeps_what_it_knows(stack, lab):
    await well(stack, "task", "create", "kept", "--image", BASE, "--every", "1h", "--", "true")
    dts(
        "pki",
        "issue",
        "database,definition,gateway,scheduler",
        "--dir",
        str(lab.home / "pki"),
        "--name",
        lab.manager.address,
    )
    store(lab, "dts_tls_control.2", "database+definition+gateway+scheduler.pem")
    stack.deploy_again("stack.compact.yml", DTS_TLS_SUFFIX=".2")
    await eventually(lambda: converged(lab), within=240)
    assert stack.all_well(), stack.what_is_wrong()
    containers = lab.manager.docker("stack", "ps", NAME, "--filter", "desired-state=running", "--format", "{{.Name}}")
    running = {line.partition(".")[0].removeprefix(f"{NAME}_") for line in containers.splitlines()}
    assert running == {"postgres", "gateway", "executor"} < set(SERVICES)
    assert "kept" in {task["name"] for task in json.loads(await well(stack, "task", "list", "-o", "json"))}
    run, _ = await ran(stack, "kept")
    assert run["state"] == "succeeded", run
