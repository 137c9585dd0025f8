"""PostgreSQL runs once over its volume, whatever Swarm does: two at once destroyed the ledger within minutes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.polling import eventually
from swarm.lab import LabNode
from swarm.stack import NAME

pytestmark = pytest.mark.timeout(300)

SERVICE = f"{NAME}_postgres"
DATA = "/var/lib/postgresql/data"


def as_swarm_would(node: LabNode) -> str:
    """Starts one more, as if Swarm took the first for gone; answers with its id."""
    (service,) = json.loads(node.docker("service", "inspect", SERVICE))
    spec: dict[str, Any] = service["Spec"]["TaskTemplate"]["ContainerSpec"]
    volume = next(mount["Source"] for mount in spec["Mounts"] if mount["Target"] == DATA)
    environment = [*spec["Env"], "POSTGRES_PASSWORD_FILE=/etc/hostname"]  # it is read when the volume is new
    return node.docker(
        *("run", "--detach", "--volume", f"{volume}:{DATA}", "--stop-signal", spec["StopSignal"]),
        *(f"--env={variable}" for variable in environment),
        *("--entrypoint", spec["Command"][0], spec["Image"], *spec["Command"][1:], *spec["Args"]),
    ).strip()


def waits_for_a_lock(node: LabNode, container: str) -> bool:
    pid = node.docker("inspect", "--format", "{{.State.Pid}}", container).strip()
    lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return any(words[1:3] == ["->", "FLOCK"] and words[5] == pid for words in lines)


def runs_postgres(node: LabNode, container: str) -> bool:
    return "checkpointer" in node.docker("top", container)


async def test_a_second_one_waits_for_the_end_of_the_first(stack, lab):
    manager = lab.manager
    second = as_swarm_would(manager)
    try:
        await eventually(lambda: waits_for_a_lock(manager, second), within=30)
        assert not runs_postgres(manager, second)
        assert stack.all_well(), stack.what_is_wrong()
        manager.docker("service", "scale", f"{SERVICE}=0")
        await eventually(lambda: runs_postgres(manager, second), within=60)
        manager.docker("stop", second)
    finally:
        manager.docker("rm", "--force", second)
        manager.docker("service", "scale", f"{SERVICE}=1")
    assert stack.all_well(), stack.what_is_wrong()
