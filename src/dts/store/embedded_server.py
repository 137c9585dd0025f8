"""The process of the embedded PostgreSQL: start it, recognise it, stop it."""

from __future__ import annotations

import asyncio
import enum
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dts.domain.errors import Internal
from dts.store.embedded_home import Home

STOP_SECONDS = 20.0
"""How long a server may take to stop before it is stopped without a last checkpoint."""

QUIT_SECONDS = 5.0
"""How long the latter may take."""

_POLL = 0.03
_LOG_BYTES = 8 * 1024 * 1024
_PROC = Path("/proc")


class Life(enum.Enum):
    """What a process id stands for."""

    GONE = "no process, or a zombie nobody has reaped"
    OURS = "the server over our data"
    FOREIGN = "some other process"


def life_of(pid: int, cluster: Path) -> Life:
    """Whose process this is: a server works inside its data directory.

    Where there is no /proc, a living process is taken for the server.
    """
    try:
        os.kill(pid, 0)
        if not (_PROC / "self").exists():
            return Life.OURS
        return Life.OURS if (_PROC / str(pid) / "cwd").samefile(cluster) else Life.FOREIGN
    except PermissionError:
        return Life.FOREIGN
    except (ProcessLookupError, FileNotFoundError):
        return Life.GONE


@dataclass(frozen=True, slots=True)
class Note:
    """What a server writes about itself into `postmaster.pid`."""

    pid: int
    socket_dir: Path

    @classmethod
    def read(cls, cluster: Path) -> Note | None:
        """The note over this data; None if there is none, or it is not written to its end."""
        try:
            lines = (cluster / "postmaster.pid").read_text().splitlines()
            return cls(int(lines[0]), Path(lines[4]))
        except (FileNotFoundError, IndexError, ValueError):
            return None


class Server:
    """A running server: our child, or one that an earlier dts left."""

    def __init__(self, pid: int, cluster: Path, child: subprocess.Popen[bytes] | None = None) -> None:
        self.pid = pid
        self._cluster = cluster
        self._child = child

    @classmethod
    def launch(cls, home: Home, settings: Mapping[str, str]) -> Server:
        """Start a server; it does not take connections yet, and may still refuse to live."""
        options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        with _log(home) as log:
            child = subprocess.Popen(  # noqa: S603 - our own binary
                [home.binaries / "postgres", "-D", home.cluster, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C in the terminal is meant for dts, which stops the server last.
                start_new_session=True,
                cwd="/",
                env=_ENVIRONMENT,
                user=home.account.as_user,
                group=home.account.as_group,
                extra_groups=home.account.as_groups,
            )
        return cls(child.pid, home.cluster, child)

    def alive(self) -> bool:
        """Whether it has not ended."""
        if self._child is not None:
            return self._child.poll() is None
        return life_of(self.pid, self._cluster) is Life.OURS

    async def stop(self) -> None:
        """Disconnect everybody and stop; the next start needs no recovery unless it took too long.

        Raises:
            Internal: it does not end.
        """
        for number, seconds in ((signal.SIGINT, STOP_SECONDS), (signal.SIGQUIT, QUIT_SECONDS)):
            if await self._ends_after(number, seconds):
                return
        raise Internal(f"the embedded PostgreSQL (process {self.pid}) does not stop")

    async def _ends_after(self, number: signal.Signals, seconds: float) -> bool:
        clock = asyncio.get_running_loop().time
        until = clock() + seconds
        with suppress(ProcessLookupError):
            if self.alive():
                os.kill(self.pid, number)
        while self.alive() and clock() < until:  # noqa: ASYNC110 - the end of a process sets no event
            await asyncio.sleep(_POLL)
        return not self.alive()


# Nothing of ours goes along: a token in our environment is nobody else's business.
_ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/local/bin:/usr/bin:/bin"}


@contextmanager
def _log(home: Home) -> Iterator[int]:
    """The log of the server, open to append; the one before it is kept."""
    with suppress(FileNotFoundError):
        if home.log_file.lstat().st_size > _LOG_BYTES:
            home.log_file.rename(home.log_file.with_suffix(".log.1"))
    # The directory belongs to the account: as root we follow no link it may have put there.
    handle = os.open(home.log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        if home.account.switch:
            os.fchown(handle, home.account.uid, home.account.gid)
        yield handle
    finally:
        os.close(handle)


async def run_tool(home: Home, name: str, *arguments: str) -> str:
    """Run one of PostgreSQL's programs as the account, and return what it printed.

    Raises:
        Internal: it failed; the text carries its last words.
    """
    process = await asyncio.create_subprocess_exec(
        home.binaries / name,
        *arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        env=_ENVIRONMENT,
        user=home.account.as_user,
        group=home.account.as_group,
        extra_groups=home.account.as_groups,
    )
    output, _ = await process.communicate()
    said = output.decode(errors="replace").strip()
    if process.returncode != 0:
        raise Internal(f"{name} failed with code {process.returncode}: {said[-500:]}")
    return said
