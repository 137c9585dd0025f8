"""A registry that asks who comes, on loopback, where engines need no TLS."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import closing

import pytest

from dts.pb.dts.v1 import PullPolicy, Reason
from dts.roles.executor.keyring import Keyring
from dts.roles.executor.work import Refused
from support.polling import eventually

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(shutil.which("docker-registry") is None, reason="needs Debian's package docker-registry"),
]

HASH = "$2y$05$abcdefghijklmnopqrstuupbGrAoc7afbRSYwPzZkbnRxDCajcUju"
"""Of the password `drowssap`, by bcrypt."""


def answers(port: int) -> bool:
    with closing(socket.socket()) as door:
        return door.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
async def registry(tmp_path) -> AsyncIterator[str]:
    with closing(socket.socket()) as door:
        door.bind(("127.0.0.1", 0))
        port = door.getsockname()[1]
    (tmp_path / "htpasswd").write_text(f"anna:{HASH}\n")
    (tmp_path / "registry.yml").write_text(
        "version: 0.1\nlog: {level: error}\n"
        f"storage: {{filesystem: {{rootdirectory: {tmp_path}/registry}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
        f"auth: {{htpasswd: {{realm: test, path: {tmp_path}/htpasswd}}}}\n"
    )
    process = await asyncio.create_subprocess_exec(
        "docker-registry", "serve", str(tmp_path / "registry.yml"), stderr=subprocess.DEVNULL
    )
    try:
        await eventually(lambda: answers(port))
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()


def logged_in(tmp_path, registry: str, password: str) -> Keyring:
    encoded = base64.b64encode(f"anna:{password}".encode()).decode()
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"auths": {registry: {"auth": encoded}}}))
    return Keyring(path)


async def pushed(bench, registry: str) -> str:
    """An image that only the registry has."""
    login = {"username": "anna", "password": "drowssap", "serveraddress": registry}
    name = f"{registry}/private/tool"
    await bench.engine._docker.images.tag("dts-test:1", name, tag="1")
    await bench.engine._docker.images.push(name, tag="1", auth=login)
    await bench.engine._docker.images.delete(f"{name}:1", force=True)
    return f"{name}:1"


async def test_an_image_of_a_private_registry_is_had_with_a_login_and_not_without(bench, registry, tmp_path):
    image = await pushed(bench, registry)
    job = bench.job("echo from afar", image=image, pull=PullPolicy.ALWAYS)
    for keyring in (Keyring(None), logged_in(tmp_path, registry, "wrong")):
        bench.runner._images._login = keyring.login
        with pytest.raises(Refused) as refused:
            await bench.runner.prepare(job)
        assert refused.value.reason is Reason.IMAGE_PULL
        assert "wrong" not in refused.value.message
    bench.runner._images._login = logged_in(tmp_path, registry, "drowssap").login
    try:
        assert (await bench.run(job)).exit_code == 0
        assert bench.printed.out == "from afar\n"
    finally:
        await bench.engine._docker.images.delete(image, force=True)
