"""Runs processes on this machine. They survive the executor, and its next incarnation finds them.

Each attempt has a directory, `<run id>-<attempt>`:

    work/           where it runs unless the task says otherwise
    stdout, stderr  what it prints
    owner           whose it is, where several executors share a machine
    pid             its supervisor's line of /proc, written before the command runs
    exit            the time it took and its exit code, written at the end
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import Signals
from uuid import UUID

from dts.pb.dts.v1 import Reason
from dts.roles.executor.process.census import Census, Mark, carries
from dts.roles.executor.process.shim import STDERR_FILE, STDOUT_FILE, Shim, left_behind, read_stat
from dts.roles.executor.process.work import Place, ProcessWork
from dts.roles.executor.process.world import House, stop_signal, world
from dts.roles.executor.work import Job, Refused, Work

NOT_ALLOWED = "processes are not allowed on this node (DTS_ALLOW_PROCESS)"

WORK_DIRECTORY = "work"
OWNER_FILE = "owner"

Key = tuple[UUID, int]


class ProcessRunner:
    """Runs the kind `process`.

    Args:
        root: where the attempts have their directories.
        path: comes first in the PATH of every process.
        environment: added to every process, such as DTS_DATA.
        node: the name of this node.
        allowed: whether processes may run here at all.
        owner: whose processes these are; those of other owners below the same root are left alone.
    """

    def __init__(
        self, *, root: Path, path: Sequence[Path], environment: Mapping[str, str], node: str, allowed: bool, owner: str
    ) -> None:
        self._root = root.absolute()
        self._house = House(node, tuple(path), dict(environment))
        self._allowed = allowed
        self._owner = owner
        self._census = Census()
        self._held: set[Key] = set()

    async def missing(self) -> str:
        """Why this node runs no processes; empty if it does."""
        return "" if self._allowed else NOT_ALLOWED

    async def prepare(self, job: Job) -> Work:
        """Checks everything and makes the attempt's directory.

        Raises:
            Refused: processes are not allowed here, the definition is wrong, or something is missing on this node.
        """
        if not self._allowed:
            raise Refused(Reason.POLICY_DENIED, NOT_ALLOWED)
        place = self._place(job.key)
        prepared = world(job, self._house, home=place.directory / WORK_DIRECTORY)
        self._held.add(job.key)
        try:
            await asyncio.to_thread(_make, place.directory, self._owner)
        except BaseException as error:
            self._held.discard(job.key)
            if not isinstance(error, OSError):
                raise
            sentence = f"the directory of the run could not be made: {error.strerror or error}"
            raise Refused(Reason.ENGINE_ERROR, sentence) from error
        return ProcessWork(place, world=prepared, discarded=lambda: self._held.discard(job.key))

    async def find(self, jobs: Sequence[Job]) -> dict[tuple[UUID, int], Work]:
        """Finds what an earlier incarnation started; kills and removes what belongs to none of the jobs."""
        wanted = {job.key: job for job in jobs}
        found: dict[Key, Work] = {}
        strays: list[tuple[Key, ProcessWork]] = []
        for key in await asyncio.to_thread(_attempts_in, self._root, self._owner):
            if key in self._held and key not in wanted:
                continue
            work = await self._adopt(key, wanted.get(key))
            if work is None or key not in wanted:
                strays.append((key, work or ProcessWork(self._place(key))))
            else:
                self._held.add(key)
                found[key] = work
        await asyncio.gather(*(stray.discard() for key, stray in strays if key not in self._held))
        return found

    async def _adopt(self, key: Key, job: Job | None) -> ProcessWork | None:
        """What runs or ran in a directory; None if it was never started."""
        place = self._place(key)
        left = left_behind(place.directory)
        if left is None and (left := await self._starting(place)) is None:
            return None
        shim = left if _lives(left, place) else None
        return ProcessWork.adopted(place, shim, _stop_of(job), discarded=lambda: self._held.discard(key))

    async def _starting(self, place: Place) -> Shim | None:
        """A supervisor that had no time yet to leave its pid behind: the leader of a session with the cookie."""
        members = await self._census.members(Mark(place.run_id, place.attempt, None))
        leaders = [m for m in members if m.session == m.pid]
        oldest = min(leaders, key=lambda m: m.started, default=None)
        return Shim(oldest.pid, oldest.started) if oldest else None

    def _place(self, key: Key) -> Place:
        run_id, attempt = key
        return Place(str(run_id), attempt, self._root / f"{run_id}-{attempt}", self._census)


def _make(directory: Path, owner: str) -> None:
    """An empty directory for the attempt; what an attempt that never started left there is removed."""
    directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if directory.exists() and left_behind(directory) is None:
        shutil.rmtree(directory)
    directory.mkdir(mode=0o700)
    (directory / WORK_DIRECTORY).mkdir(mode=0o700)
    for name in (STDOUT_FILE, STDERR_FILE):
        (directory / name).touch(mode=0o600)
    (directory / OWNER_FILE).write_text(owner)


def _attempts_in(root: Path, owner: str) -> list[Key]:
    """The attempts of the owner that have a directory."""
    if not root.is_dir():
        return []
    keys = (_key_of(directory.name) for directory in root.iterdir() if _owner_of(directory) in (owner, ""))
    return [key for key in keys if key]


def _owner_of(directory: Path) -> str:
    """Whose directory it is; empty if it was not made to the end."""
    try:
        return (directory / OWNER_FILE).read_text()
    except OSError:
        return ""


def _key_of(name: str) -> Key | None:
    """The attempt of a directory's name; None if it is not an attempt's."""
    run_id, _, attempt = name.rpartition("-")
    try:
        return UUID(run_id), int(attempt)
    except ValueError:
        return None


def _lives(shim: Shim, place: Place) -> bool:
    """Whether a supervisor still runs: the same number, the same start, the run's cookie."""
    stat = read_stat(shim.pid)
    cookie = Mark(place.run_id, place.attempt, shim).cookie
    return stat is not None and not stat.gone and stat.started == shim.started and carries(shim.pid, cookie)


def _stop_of(job: Job | None) -> Signals:
    """What stops the work of a job; its definition was good when it was started."""
    kind = job.spec.kind.process if job and job.spec.kind else None
    return stop_signal(kind.stop_signal if kind else "")
