"""`docker-compose up` on one machine: the first engine of the lab, past the stack that is there."""

from __future__ import annotations

import base64
import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from swarm.images import PROJECT
from swarm.lab import BASE, DTS, POSTGRES, Lab, soon
from swarm.stack import dts

pytestmark = pytest.mark.timeout(300)

Compose = Callable[..., str]


@pytest.fixture(scope="module")
def compose(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    """Runs docker-compose on a copy of compose.yml with the three files that the README makes."""
    home: Path = tmp_path_factory.mktemp("quick")
    shutil.copy(PROJECT / "compose.yml", home)
    files = {
        "token": dts("token", "generate"),
        "postgres-password": secrets.token_urlsafe(24),
        "seal-key": base64.b64encode(secrets.token_bytes(32)).decode(),
    }
    for name, content in files.items():
        (home / name).write_text(content)
        (home / name).chmod(0o600)
    environment = {
        **os.environ,
        "DOCKER_HOST": lab.manager.host,
        "DTS_IMAGE": DTS,
        "DTS_POSTGRES_IMAGE": POSTGRES,
        "DTS_GRPC_PORT": "8461",
        "DTS_HTTP_PORT": "8462",
    }

    def run(*arguments: str) -> str:
        command = ["docker-compose", "--project-name", "quick", *arguments]
        done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout

    yield run
    run("down", "--volumes")


def test_what_compose_starts_runs_a_task_and_says_nothing_to_other_machines(compose, lab):
    compose("up", "--detach", "--no-build")
    container = compose("ps", "--quiet", "dts").strip()
    health = ("inspect", "--format", "{{.State.Health.Status}}", container)
    assert soon(lambda: lab.manager.docker(*health).strip() == "healthy", seconds=60), compose("logs", "dts")
    inside = ("exec", "-T", "dts", "dts")
    compose(*inside, "task", "create", "hello", "--image", BASE, "--", "echo", "hello")
    assert "hello" in compose(*inside, "task", "trigger", "hello", "--follow")
    published = lab.manager.docker("port", container).splitlines()
    assert sorted(line.split(" -> ")[1] for line in published) == ["127.0.0.1:8461", "127.0.0.1:8462"]


def test_it_comes_back_with_what_it_knew(compose):
    compose("restart", "dts")
    inside = ("exec", "-T", "dts", "dts")
    assert soon(lambda: _answers(compose, inside), seconds=60)
    assert "succeeded" in compose(*inside, "run", "list", "--task", "hello")


def _answers(compose: Compose, inside: tuple[str, ...]) -> bool:
    try:
        compose(*inside, "task", "show", "hello")
    except AssertionError:
        return False
    return True


def test_nothing_has_a_password_before_somebody_makes_one():
    stack = yaml.safe_load((PROJECT / "compose.yml").read_text())
    assert all(set(secret) == {"file"} for secret in stack["secrets"].values())
    told = [variable for service in stack["services"].values() for variable in service["environment"]]
    assert not [name for name in told if name.endswith(("PASSWORD", "TOKEN"))]
