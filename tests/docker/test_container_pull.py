"""Pulling, from a registry of one image on loopback."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import tarfile
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dts.pb.dts.v1 import PullPolicy, Reason
from dts.roles.executor.work import Refused
from support.engine import BUSYBOX
from support.polling import eventually

pytestmark = pytest.mark.docker

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def digest(content: bytes) -> str:
    return f"sha256:{sha256(content).hexdigest()}"


class Registry:
    """Serves one image under one tag; may be told to fail a few times, or to take its time."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.publish(edition=1)
        self.asked: Counter[str] = Counter()
        self.failures = 0
        self.open = threading.Event()
        self.open.set()

    def publish(self, *, edition: int) -> None:
        """The tag means another image from now on; older ones can be had by their digests."""
        layer = _layer()
        packed = gzip.compress(layer, mtime=0)
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Env": ["PATH=/bin", f"EDITION={edition}"]},
                "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
            }
        ).encode()
        self.manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": {"mediaType": CONFIG, "size": len(config), "digest": digest(config)},
                "layers": [{"mediaType": LAYER, "size": len(packed), "digest": digest(packed)}],
            }
        ).encode()
        self.blobs |= {digest(config): config, digest(packed): packed}
        self.manifests |= {"1": self.manifest, digest(self.manifest): self.manifest}

    def answer(self, path: str) -> tuple[int, str, bytes]:
        last = path.rpartition("/")[2]
        if path == "/v2/":
            return 200, "application/json", b"{}"
        if "/manifests/" in path and last in self.manifests:
            self.asked["manifest"] += 1
            if self.failures:
                self.failures -= 1
                return 503, "text/plain", b"not now"
            return 200, MANIFEST, self.manifests[last]
        if last in self.blobs:
            self.asked["blob"] += 1
            self.open.wait(30)
            return 200, "application/octet-stream", self.blobs[last]
        refusal = {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}
        return 404, "application/json", json.dumps(refusal).encode()


def _layer() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        tar.add(BUSYBOX, arcname="bin/sh")
    return content.getvalue()


class Handler(BaseHTTPRequestHandler):
    registry: Registry

    def do_GET(self, *, body: bool = True) -> None:
        status, kind, content = self.registry.answer(self.path)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        if kind == MANIFEST:
            self.send_header("Docker-Content-Digest", digest(content))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def do_HEAD(self) -> None:
        self.do_GET(body=False)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def registry(bench):
    found = Registry()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OneHandler", (Handler,), {"registry": found}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found.image = f"127.0.0.1:{server.server_port}/app:1"
    yield found
    found.open.set()
    server.shutdown()
    server.server_close()
    with suppress(OSError):
        bench.api.call("DELETE", f"/images/{found.image}?force=1")


async def test_a_missing_image_is_pulled_once_and_its_digest_is_known(bench, registry):
    job = bench.job("echo pulled", image=registry.image, pull=PullPolicy.MISSING)
    work = await bench.start(job)
    assert (await work.wait(bench.printed.emit)).exit_code == 0
    await work.discard()
    asked = registry.asked.copy()
    await bench.run(bench.job("echo again", image=registry.image, pull=PullPolicy.UNSPECIFIED))
    assert bench.printed.out == "pulled\nagain\n"
    assert work.image_digest == digest(registry.manifest)
    assert registry.asked == asked


async def test_always_asks_the_registry_for_every_run(bench, registry):
    for _ in range(2):
        before = registry.asked["manifest"]
        await bench.run(bench.job("echo ran", image=registry.image, pull=PullPolicy.ALWAYS))
        assert registry.asked["manifest"] > before


async def test_many_who_want_an_image_cause_one_pull_and_one_who_gives_up_does_not_end_it(bench, registry):
    registry.open.clear()
    preparing = [
        asyncio.create_task(bench.runner.prepare(bench.job("true", image=registry.image, pull=PullPolicy.MISSING)))
        for _ in range(20)
    ]
    await eventually(lambda: registry.asked["blob"])
    preparing[0].cancel()
    registry.open.set()
    works = await asyncio.gather(*preparing[1:])
    await asyncio.gather(*(work.discard() for work in works))
    assert registry.asked["blob"] == len(registry.blobs)


async def test_a_registry_that_fails_for_a_moment_is_asked_again(bench, registry):
    registry.failures = 2
    await bench.run(bench.job("echo ran", image=registry.image, pull=PullPolicy.MISSING))
    assert bench.printed.out == "ran\n"
    assert registry.failures == 0


async def test_a_tag_that_does_not_exist_is_refused_at_once(bench, registry):
    image = registry.image.replace("app:1", "app:2")
    with pytest.raises(Refused, match="app:2") as refused:
        await bench.runner.prepare(bench.job(image=image, pull=PullPolicy.MISSING))
    assert refused.value.reason is Reason.IMAGE_PULL


async def test_a_later_attempt_has_the_image_of_the_first_though_the_tag_has_moved(bench, registry):
    first = digest(registry.manifest)
    registry.publish(edition=2)
    job = bench.job("echo $EDITION", image=registry.image, pull=PullPolicy.ALWAYS)
    work = await bench.start(replace(job, image_digest=first))
    await work.wait(bench.printed.emit)
    await work.discard()
    assert bench.printed.out == "1\n"
    assert work.image_digest == first
    await bench.run(bench.job("echo $EDITION", image=registry.image, pull=PullPolicy.ALWAYS))
    assert bench.printed.out == "1\n2\n"


async def test_an_image_that_is_not_to_be_had_any_more_is_replaced_by_what_its_tag_says(bench, registry):
    job = bench.job("echo $EDITION", image=registry.image, pull=PullPolicy.MISSING)
    work = await bench.start(replace(job, image_digest="sha256:" + "0" * 64))
    await work.wait(bench.printed.emit)
    await work.discard()
    assert (bench.printed.out, work.image_digest) == ("1\n", digest(registry.manifest))
