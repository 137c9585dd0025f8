"""The real stack.yml on the lab, and a person before its gateway."""

from __future__ import annotations

import base64
import os
import secrets
import subprocess
from dataclasses import dataclass
from pathlib import Path

from support.system import DTS as COMMAND
from support.system import System
from swarm.images import PROJECT
from swarm.lab import BASE, DTS, POSTGRES, Lab, soon

NAME = "dts"
SERVICES = ("postgres", "database", "definition", "scheduler", "gateway", "executor")
WELL_SECONDS = 60.0


@dataclass
class Stack:
    """A deployed stack.

    token: the first admin's. seconds_to_well: from `docker stack deploy` to every part well.
    """

    lab: Lab
    token: str = ""
    seconds_to_well: float = 0.0

    @property
    def system(self) -> System:
        """dts as a person on a manager reaches it."""
        server = f"{self.lab.manager.address}:7461"
        environment = {
            "DTS_SERVER": server,
            "DTS_TOKEN": self.token,
            "DTS_TLS_CA": str(self.lab.home / "pki" / "ca.pem"),
            "DTS_DATA": str(self.lab.home / "person"),
        }
        return System(server, f"{self.lab.manager.address}:7462", self.lab.home, environment)

    def deploy(self) -> None:
        """As the README says."""
        self._make_secrets()
        self.deploy_again()

    def deploy_again(self, *overrides: str, **settings: str) -> None:
        """With files that stand beside stack.yml over it, and more settings."""
        manager = self.lab.manager
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/root"),
            "DOCKER_HOST": manager.host,
            "DTS_IMAGE": DTS,
            "DTS_POSTGRES_IMAGE": POSTGRES,
            "DTS_POSTGRES_NODE": manager.name,
            **settings,
        }
        files = [f"--compose-file={PROJECT / name}" for name in ("stack.yml", *overrides)]
        done = subprocess.run(
            ["docker", "stack", "deploy", *files, NAME], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    def _make_secrets(self) -> None:
        manager = self.lab.manager
        self.token = dts("token", "generate").strip()
        given = {
            "dts_admin_token": self.token,
            "dts_postgres_password": secrets.token_urlsafe(24),
            "dts_seal_key": base64.b64encode(secrets.token_bytes(32)).decode(),
        }
        for name, secret in given.items():
            manager.docker("secret", "create", name, "-", given=secret)
        # It prints the commands that an operator types next.
        printed = dts("pki", "init", "--dir", str(self.lab.home / "pki"))
        for line in printed.splitlines():
            if line.startswith("docker "):
                manager.docker(*line.split()[1:])

    def all_well(self) -> bool:
        """Whether every part is well, as `dts status` says by its exit code, with an executor on every node."""
        return soon(self._is_well, seconds=WELL_SECONDS)

    def update(self, service: str) -> None:
        """A rolling update: every container of the service is replaced, as an operator does it; waits for its end."""
        self.lab.manager.docker("service", "update", "--force", "--quiet", "--detach=false", f"{NAME}_{service}")

    def what_is_wrong(self) -> str:
        """For the message of a test that fails."""
        listing = self.lab.manager.docker(
            *("stack", "ps", NAME, "--no-trunc", "--format", "{{.Name}} {{.Node}} {{.CurrentState}} {{.Error}}")
        )
        logs = [self.lab.manager.docker("service", "logs", "--tail", "5", f"{NAME}_{name}") for name in SERVICES]
        return "\n".join([listing, *logs])

    def _is_well(self) -> bool:
        environment = {**os.environ, **self.system.environment}
        status = [*COMMAND, "status"]
        try:
            done = subprocess.run(status, env=environment, capture_output=True, text=True, check=False, timeout=10)
        except subprocess.TimeoutExpired:
            return False
        executors = sum(line.startswith("executor ") for line in done.stdout.splitlines())
        return done.returncode == 0 and executors == len(self.lab.nodes)


def dts(*arguments: str) -> str:
    """What the command line prints, for commands that ask no server."""
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def witnesses(lab: Lab, volume: str) -> dict[str, list[str]]:
    """What containers wrote into a volume of this name, by node and line."""
    found: dict[str, list[str]] = {}
    for node in lab.nodes:
        folder: Path = node.home / "data" / "volumes" / volume / "_data"
        files = sorted(folder.glob("*")) if folder.exists() else []
        found[node.name] = [line for file in files for line in file.read_text().splitlines()]
    return found


def task_image() -> str:
    """An image in the lab's registry that has a shell."""
    return BASE
