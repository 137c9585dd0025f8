"""A real Swarm of three engines on one machine, each in a network namespace of its own; and a registry beside them.

As a program: `PYTHONPATH=tests python -m swarm.lab up`, or `down`, or one of `kill`, `start`, `pause`, `resume`,
`partition`, `heal` and `env` with the number of a node, 1 to 3.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from swarm import images
from swarm.images import docker, run

PREFIX = "dtslab"
BRIDGE = f"{PREFIX}0"
NETWORK = "10.77.0"
GATE = f"{NETWORK}.254"
REGISTRY_PORT = 5000
REGISTRY = f"{GATE}:{REGISTRY_PORT}"
DTS = f"{REGISTRY}/dts:lab"
POSTGRES = f"{REGISTRY}/postgres:lab"
BASE = f"{REGISTRY}/base:lab"
HOME = Path(tempfile.gettempdir()) / "dts-lab"
SIZE = 3
START_SECONDS = 60.0
SHARES = Path("/sys/fs/cgroup/cpu/docker/cpu.shares")
ONE_SHARE = 1024
STOP_SECONDS = 30.0
POLL_SECONDS = 0.1


class NoLab(Exception):
    """No lab can be had here; the text says why."""


@dataclass
class LabNode:
    """An engine in its own network namespace. number: 1 to SIZE; hostname: n1 …"""

    number: int
    home: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        """Its hostname, which Swarm shows."""
        return f"n{self.number}"

    @property
    def space(self) -> str:
        """Its network namespace."""
        return f"{PREFIX}-{self.name}"

    @property
    def address(self) -> str:
        """Where the others reach it."""
        return f"{NETWORK}.{self.number}"

    @property
    def cable(self) -> str:
        """Its end of the wire at the bridge."""
        return f"{PREFIX}-v{self.number}"

    @property
    def host(self) -> str:
        """Its engine, as in DOCKER_HOST."""
        return f"unix://{self.home}/docker.sock"

    def docker(self, *arguments: str, given: str | None = None, timeout: float = 300) -> str:
        """Docker's command line on this node."""
        return docker(self.host, *arguments, given=given, timeout=timeout)

    def answers(self) -> bool:
        """Whether its engine does."""
        try:
            self.docker("version", "--format", "{{.Server.Version}}", timeout=5)
        except (RuntimeError, subprocess.TimeoutExpired):
            return False
        return True

    def wire(self) -> None:
        """Makes its namespace and the cable to the bridge. No default route: nothing outside is ever asked."""
        run("ip", "netns", "add", self.space)
        run("ip", "link", "add", self.cable, "type", "veth", "peer", "name", "eth0", "netns", self.space)
        run("ip", "link", "set", self.cable, "master", BRIDGE, "up")
        run(*self._inside, "ip", "addr", "add", f"{self.address}/24", "dev", "eth0")
        run(*self._inside, "ip", "link", "set", "eth0", "up")
        run(*self._inside, "ip", "link", "set", "lo", "up")

    def start(self) -> None:
        """Starts its engine.

        Raises:
            NoLab: it does not start.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        self._forget_containerd()
        # A /run of its own, and /sys as it is: `ip netns exec` would hide the cgroups from the engine.
        script = f'hostname {self.name}; mount -t tmpfs tmpfs /run; mkdir -p /run/netns; exec "$@"'
        command = [
            "nsenter",
            f"--net=/var/run/netns/{self.space}",
            "unshare",
            "--uts",
            "--mount",
            "bash",
            "-c",
            script,
            "-",
        ]
        engine = ["dockerd", f"--data-root={self.home}/data", f"--exec-root={self.home}/exec", f"--host={self.host}"]
        engine += ["--host=unix:///var/run/docker.sock"]  # in the /run of its own, where stack.yml looks for it
        engine += [f"--pidfile={self.home}/pid", f"--insecure-registry={NETWORK}.0/24", "--ip6tables=false"]
        with (self.home / "log").open("ab") as log:
            process = subprocess.Popen([*command, *engine], stdout=log, stderr=log, start_new_session=True)
        self.process = process
        if not soon(lambda: self.answers() or process.poll() is not None) or process.poll() is not None:
            process.kill()
            raise NoLab(f"the engine of {self.name} did not start: " + (self.home / "log").read_text()[-500:])

    def kill(self) -> None:
        """kill -9 of the engine and its containerd; what it started lives on."""
        for pid in self._pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        (self.home / "pid").unlink(missing_ok=True)
        if self.process is not None:
            self.process.wait()

    def stop(self) -> None:
        """SIGTERM of the engine, and its end; it stops what it started."""
        self._signal(signal.SIGTERM)
        if not soon(lambda: not any(map(_lives, self._pids())), seconds=STOP_SECONDS):
            self.kill()
        if self.process is not None:
            self.process.wait()

    def reset(self) -> None:
        """As if its power went: the engine, containerd, the shims and all that they started, at once."""
        mark = f"{self.home}/exec/".encode()
        shims = [pid for pid in _processes() if b"shim" in (line := _command_line(pid)) and mark in line]
        works = [pid for pid in _processes() if _parent(pid) in shims]
        for pid in (*self._pids(), *shims, *works):  # the first of a container takes all of it along
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.kill()
        shutil.rmtree(self.home / "exec", ignore_errors=True)

    def pause(self) -> None:
        """The engine answers nobody any more."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """It answers again."""
        self._signal(signal.SIGCONT)

    def partition(self) -> None:
        """Nobody reaches it, and it reaches nobody."""
        run("ip", "link", "set", self.cable, "down")

    def heal(self) -> None:
        """The cable is in again."""
        run("ip", "link", "set", self.cable, "up")

    def lose(self, share: float) -> None:
        """It hears nothing any more, or less: that share of all packets to it is lost. It is heard as before."""
        run(*self._inside, "iptables", "--wait", "-t", "raw", "-F", "PREROUTING")
        chance = ("-m", "statistic", "--mode", "random", "--probability", str(share)) if share < 1 else ()
        run(*self._inside, "iptables", "--wait", "-t", "raw", "-A", "PREROUTING", "-i", "eth0", *chance, "-j", "DROP")

    def hear(self) -> None:
        """All packets reach it again."""
        run(*self._inside, "iptables", "--wait", "-t", "raw", "-F", "PREROUTING")

    @property
    def _inside(self) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.space)

    def close(self) -> None:
        """Containers first, since their shims outlive the engine; then the engine."""
        self._signal(signal.SIGCONT)
        with suppress(RuntimeError, subprocess.TimeoutExpired):
            self.docker("swarm", "leave", "--force", timeout=20)
        with suppress(RuntimeError, subprocess.TimeoutExpired):
            if containers := self.docker("ps", "--all", "--quiet", timeout=20).split():
                self.docker("rm", "--force", "--volumes", *containers, timeout=60)
        self._signal(signal.SIGTERM)
        soon(lambda: not any(map(_lives, self._pids())), seconds=15)
        self.kill()

    def _pids(self) -> list[int]:
        files = (self.home / "pid", self.home / "exec" / "containerd" / "containerd.pid")
        return [pid for file in files if (pid := _pid_in(file))]

    def _signal(self, number: signal.Signals) -> None:
        if (pid := _pid_in(self.home / "pid")) and _lives(pid):
            os.kill(pid, number)

    def _forget_containerd(self) -> None:
        # A new engine waits for the process of this file, and a killed one may stay a zombie for seconds.
        (self.home / "exec" / "containerd" / "containerd.pid").unlink(missing_ok=True)


@dataclass
class Lab:
    """The Swarm: n1 is the manager, the others are workers."""

    home: Path = HOME
    nodes: Sequence[LabNode] = field(default_factory=list)
    registry: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        """Its nodes."""
        self.nodes = [LabNode(number, self.home / f"n{number}") for number in range(1, SIZE + 1)]

    @property
    def manager(self) -> LabNode:
        """The node that the others joined."""
        return self.nodes[0]

    def up(self) -> None:
        """From nothing to a Swarm with the images in its registry.

        Raises:
            NoLab: this machine cannot have one.
        """
        check()
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "owner").write_text(str(os.getpid()))
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "addr", "add", f"{GATE}/24", "dev", BRIDGE)
        run("ip", "link", "set", BRIDGE, "up")
        # Another engine on this machine would set the policy to DROP, and bridged frames pass there too.
        run("iptables", "-I", "FORWARD", "-i", BRIDGE, "-o", BRIDGE, "-j", "ACCEPT")
        self._start_registry()
        for node in self.nodes:
            node.wire()
            node.start()
        self._join()
        give_processors()
        self._make_images()

    def down(self) -> None:
        """Leaves nothing behind, whatever state it is in."""
        for node in self.nodes:
            if node.home.exists():
                node.close()
            for command in (("link", "del", node.cable), ("netns", "del", node.space)):
                subprocess.run(["ip", *command], check=False, capture_output=True)
        if (pid := _pid_in(self.home / "registry.pid")) and _lives(pid):
            os.kill(pid, signal.SIGTERM)
        if self.registry is not None:
            self.registry.wait()
        rule = ("-D", "FORWARD", "-i", BRIDGE, "-o", BRIDGE, "-j", "ACCEPT")
        subprocess.run(["iptables", *rule], check=False, capture_output=True)
        subprocess.run(["ip", "link", "del", BRIDGE], check=False, capture_output=True)
        if SHARES.exists():
            SHARES.write_text(str(ONE_SHARE))
        _unmount_below(self.home)
        shutil.rmtree(self.home, ignore_errors=True)

    def _join(self) -> None:
        first = self.manager
        first.docker("swarm", "init", "--advertise-addr", first.address)
        token = first.docker("swarm", "join-token", "--quiet", "worker")
        for node in self.nodes[1:]:
            node.docker("swarm", "join", "--token", token, "--advertise-addr", node.address, f"{first.address}:2377")

    def _make_images(self) -> None:
        first = self.manager
        images.wheels()
        first.docker("import", str(images.base_root()), BASE)
        images.build_dts(first.host, DTS, base=BASE)
        images.build_postgres(first.host, POSTGRES, base=BASE)
        for image in (BASE, DTS, POSTGRES):
            first.docker("push", "--quiet", image)

    def _start_registry(self) -> None:
        config = self.home / "registry.yml"
        config.write_text(
            "version: 0.1\nlog: {level: error}\n"
            f"storage: {{filesystem: {{rootdirectory: {self.home}/registry}}, delete: {{enabled: true}}}}\n"
            f"http: {{addr: '{GATE}:{REGISTRY_PORT}'}}\n"
        )
        with (self.home / "registry.log").open("ab") as log:
            command = ["docker-registry", "serve", str(config)]
            self.registry = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        (self.home / "registry.pid").write_text(str(self.registry.pid))


def give_processors() -> None:
    """Containers count as the many that they are.

    Of the first version of control groups, where the kernel has it: all containers of all engines are in one, which
    has no more of the processors than any single process beside it, so that their health checks are not answered in
    time when somebody runs three other things here.
    """
    if SHARES.exists():
        SHARES.write_text(str(20 * ONE_SHARE))


def check() -> None:
    """Whether this machine can have a lab.

    Raises:
        NoLab: it cannot, or has one.
    """
    if os.geteuid() != 0:
        raise NoLab("network namespaces and engines take root")
    needed = ("dockerd", "docker", "docker-compose", "docker-registry", "ip", "iptables", "nsenter", "unshare")
    if missing := [name for name in needed if not shutil.which(name)]:
        raise NoLab(f"not installed: {', '.join(missing)}")
    if Path(f"/sys/class/net/{BRIDGE}").exists():
        raise NoLab("there is a lab already; `python -m swarm.lab down` ends it")


def soon(true: Callable[[], bool], *, seconds: float = START_SECONDS) -> bool:
    """Whether it becomes true in time."""
    until = time.monotonic() + seconds
    while not (done := true()) and time.monotonic() < until:
        time.sleep(POLL_SECONDS)
    return done


@contextmanager
def running_lab() -> Iterator[Lab]:
    """A lab that belongs to the caller; one at a time on a machine.

    Raises:
        NoLab: none can be had.
    """
    lock = HOME.with_suffix(".lock")
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        lab = Lab()
        lab.down()
        try:
            lab.up()
            yield lab
        finally:
            lab.down()


def _pid_in(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _processes() -> list[int]:
    return [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def _unmount_below(directory: Path) -> None:
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for mount in reversed([mount for mount in mounts if mount.startswith(f"{directory}/")]):
        subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)


def main(arguments: Sequence[str]) -> None:
    """The command line."""
    lab = Lab()
    match arguments:
        case ["up"]:
            try:
                lab.up()
            except BaseException:
                lab.down()
                raise
            print(f"export DOCKER_HOST={lab.manager.host}  # {DTS} and {POSTGRES} are in the registry")
        case ["down"]:
            lab.down()
        case ["env", number]:
            print(f"export DOCKER_HOST={lab.nodes[int(number) - 1].host}")
        case [("kill" | "start" | "pause" | "resume" | "partition" | "heal") as verb, number]:
            getattr(lab.nodes[int(number) - 1], verb)()
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
