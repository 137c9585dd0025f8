"""A real Docker engine for the tests: the one that answers, else a private one, else the tests are skipped.

The image is made here, from the static busybox of this machine: no registry is asked for anything.
"""

from __future__ import annotations

import http.client
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import pytest

T = TypeVar("T")

IMAGE = "dts-test:1"
BUSYBOX = Path("/bin/busybox")
DEFAULT_HOST = "unix:///var/run/docker.sock"

_APPLETS = ("sh", "sleep", "echo", "cat", "env", "dd", "yes", "head", "printf", "id", "pwd", "touch", "seq", "true")
_LITTLE = ("--iptables=false", "--ip6tables=false", "--bridge=none")
_START_SECONDS = 30.0
_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.05


class NoEngine(Exception):
    """There is no engine here, and none can be started; the text says why."""


@dataclass(frozen=True, slots=True)
class Api:
    """What the tests ask an engine themselves, past the code under test. host: as in DOCKER_HOST."""

    host: str

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        content: str = "application/x-tar",
        timeout: float = 60.0,
    ) -> bytes:
        """The body of the answer.

        Raises:
            OSError: it does not answer, or answers with an error.
        """
        connection = _connection(self.host, timeout)
        try:
            connection.request(method, path, body=body, headers={"Content-Type": content} if body else {})
            answer = connection.getresponse()
            answered = answer.read()
        except http.client.HTTPException as error:
            raise OSError(f"{method} {path}: {error!r}") from error
        finally:
            connection.close()
        if answer.status >= 400:
            raise OSError(f"{method} {path}: {answer.status} {answered.decode(errors='replace').strip()}")
        return answered

    def answers(self) -> bool:
        """Whether there is an engine."""
        with suppress(OSError):
            return self.call("GET", "/_ping", timeout=2.0) == b"OK"
        return False

    def containers(self, label: str = "") -> list[dict[str, Any]]:
        """All containers, or those with a label, whatever their state."""
        filters = quote(json.dumps({"label": [label]} if label else {}))
        found: list[dict[str, Any]] = json.loads(self.call("GET", f"/containers/json?all=1&filters={filters}"))
        return found

    def created(self, label: str) -> list[str]:
        """The containers with a label that were ever created; engines remember their last 256 events."""
        filters = quote(json.dumps({"type": ["container"], "event": ["create"], "label": [label]}))
        events = self.call("GET", f"/events?since=0&until={time.time():.9f}&filters={filters}")
        return [json.loads(line)["Actor"]["ID"] for line in events.splitlines()]

    def inspect(self, container: str) -> dict[str, Any]:
        """All about a container."""
        found: dict[str, Any] = json.loads(self.call("GET", f"/containers/{container}/json"))
        return found

    def remove(self, container: str) -> None:
        """Removes a container, whatever it does."""
        self.call("DELETE", f"/containers/{container}?force=1&v=1")

    def load_image(self) -> None:
        """Makes the image of the tests."""
        if not BUSYBOX.exists():
            raise NoEngine(f"the image of the tests needs a static {BUSYBOX}")
        repository, _, tag = IMAGE.partition(":")
        path = f"/images/create?fromSrc=-&repo={repository}&tag={tag}&changes={quote('ENV PATH=/bin')}"
        self.call("POST", path, _root_file_system())


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _connection(host: str, timeout: float) -> http.client.HTTPConnection:
    parts = urlsplit(host)
    if parts.scheme == "unix":
        return _UnixConnection(parts.path, timeout)
    return http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port or 2375, timeout=timeout)


def _root_file_system() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for directory in ("bin", "tmp", "etc", "data"):
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if directory == "tmp" else 0o755
            tar.addfile(entry)
        tar.add(BUSYBOX, arcname="bin/busybox")
        for applet in _APPLETS:
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
    return content.getvalue()


@dataclass
class PrivateEngine:
    """An engine of the tests' own, below a directory of its own; it may be stopped, killed, paused and started again.

    directory: short, since the paths of sockets are limited to some hundred bytes.
    """

    directory: Path
    flags: Sequence[str] = _LITTLE
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def host(self) -> str:
        """Its address."""
        return f"unix://{self.directory}/docker.sock"

    @property
    def api(self) -> Api:
        """The way to ask it."""
        return Api(self.host)

    def start(self) -> None:
        """Starts it, with the storage it prefers or else the one that works everywhere.

        Raises:
            NoEngine: it does not start.
        """
        try:
            self._start(())
        except NoEngine:
            self._start(("--storage-driver=vfs",))

    def stop(self) -> None:
        """Asks it to stop, as a machine that shuts down does; kills it if it takes too long."""
        process = self._running()
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """kill -9; what it started lives on, as after a crash. Its containerd goes too: a new one cannot share it."""
        process = self._running()
        process.kill()
        process.wait()
        self._process = None
        self._kill_containerd()

    def pause(self) -> None:
        """It answers nobody any more."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """It answers again."""
        self._running().send_signal(signal.SIGCONT)

    def lose_containerd(self, pid: int) -> None:
        """After a kill: a container of it dies too, with its shim, and what containerd knew is lost."""
        shim = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        for process in (shim, pid):
            os.kill(process, signal.SIGKILL)
        _unmount_below(self.directory / "exec")
        shutil.rmtree(self.directory / "exec" / "containerd", ignore_errors=True)
        shutil.rmtree(self.directory / "data" / "containerd", ignore_errors=True)

    def close(self) -> None:
        """Stops it with all its containers and removes what it kept."""
        if self._process is not None and self.api.answers():
            for container in self.api.containers():
                with suppress(OSError):
                    self.api.remove(container["Id"])
        if self._process is not None:
            self.stop()
        _unmount_below(self.directory)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _start(self, flags: Sequence[str]) -> None:
        base = self.directory
        command = [
            *_apart(),
            "dockerd",
            f"--data-root={base}/data",
            f"--exec-root={base}/exec",
            f"--pidfile={base}/docker.pid",
        ]
        with (base / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, f"--host={self.host}", *self.flags, *flags], stdout=log, stderr=log, start_new_session=True
            )
        if not _soon(lambda: self.api.answers() or self._ended()) or self._ended():
            self._give_up()
            raise NoEngine("dockerd did not start: " + (base / "log").read_text(errors="replace")[-300:])

    def _give_up(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        self._process = None

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the engine does not run"
        return self._process

    def _ended(self) -> bool:
        return self._running().poll() is not None

    def _kill_containerd(self) -> None:
        pidfile = self.directory / "exec" / "containerd" / "containerd.pid"
        with suppress(OSError, ValueError):
            os.kill(int(pidfile.read_text()), signal.SIGKILL)
        # A new engine waits for the process of this file, and a killed one may stay a zombie for seconds.
        pidfile.unlink(missing_ok=True)


def _apart() -> Sequence[str]:
    """In a network of its own where another engine has its bridge: `--bridge=none` takes away any that it sees."""
    return ("unshare", "--net") if Path("/sys/class/net/docker0").exists() else ()


def _unmount_below(directory: Path) -> None:
    """What an engine that was killed leaves mounted."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for mount in reversed([mount for mount in mounts if mount.startswith(f"{directory}/")]):
        subprocess.run(["umount", "--lazy", mount], check=False)


def _soon(check: Callable[[], bool]) -> bool:
    until = time.monotonic() + _START_SECONDS
    while not (done := check()) and time.monotonic() < until:
        time.sleep(_POLL_SECONDS)
    return done


@contextmanager
def private_engine() -> Iterator[PrivateEngine]:
    """An engine that belongs to the caller, with the image.

    Raises:
        NoEngine: this machine cannot run one.
    """
    if os.geteuid() != 0 or not shutil.which("dockerd"):
        raise NoEngine("no engine answers, and it takes root and dockerd to start one")
    engine = PrivateEngine(Path(tempfile.mkdtemp(prefix="dts-docker-")))
    try:
        engine.start()
        engine.api.load_image()
        yield engine
    finally:
        engine.close()


@contextmanager
def running_engine() -> Iterator[str]:
    """The address of the engine for this test run, with the image.

    Raises:
        NoEngine: there is none.
    """
    given = Api(os.environ.get("DOCKER_HOST") or DEFAULT_HOST)
    if given.answers():
        given.load_image()
        yield given.host
        return
    with private_engine() as engine:
        yield engine.host


@pytest.fixture(scope="session")
def docker_host() -> Iterator[str]:
    """The address of an engine that has the image of the tests; a test that asks for it is skipped where none is."""
    with _or_skip(running_engine()) as host:
        yield host


@pytest.fixture
def own_engine() -> Iterator[PrivateEngine]:
    """An engine that a test may stop and kill."""
    with _or_skip(private_engine()) as engine:
        yield engine


@contextmanager
def _or_skip(engine: AbstractContextManager[T]) -> Iterator[T]:
    with ExitStack() as stack:
        try:
            found = stack.enter_context(engine)
        except NoEngine as error:
            pytest.skip(str(error))
        yield found
