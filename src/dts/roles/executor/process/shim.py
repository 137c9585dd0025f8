"""The supervisor of one process: a shell of some lines that outlives the executor and writes down how the work ended.

It leads a session of its own, so no signal to the executor reaches the work. It runs the command in the foreground:
a command in the background would have SIGINT ignored. It sets no variable before the command runs, because a variable
of the same name in the task's environment would change for the task too. It uses nothing but the shell's own
commands, so the task's PATH does not matter to it.
"""

from __future__ import annotations

import errno
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from signal import Signals

SHELL = "/bin/sh"

PID_FILE = "pid"
EXIT_FILE = "exit"
NOW_FILE = "now"
STDOUT_FILE = "stdout"
STDERR_FILE = "stderr"

PAGE = 16 * 1024
"""A file of /proc that fills it is read on; few do."""

EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Then it cannot be said that a process is gone because its file cannot be read."""

SCRIPT = r"""
trap : 1 2 3 10 12 13 14 15 "$2"
read -r _dts_stat <"/proc/$$/stat"
printf '%s\n' "$_dts_stat" >"$1/pid"
unset _dts_stat
exec 3>&2 2>/dev/null
(shift 2; exec "$@" 2>&3 3>&-)
set -- "$1" "$?"
{ times; printf 'exit %s\n' "$2"; } >"$1/exit"
exit "$2"
"""
"""Traps the stop signals to live through them, leaves its own line of /proc behind, runs the command, and writes the
time it took and its exit code. A shell says "Terminated" of a command that was killed: not into the task's stderr."""

_SPENT = re.compile(r"(\d+)m([\d.,]+)s")


@dataclass(frozen=True, slots=True)
class Shim:
    """A supervisor. started: clock ticks since boot; with the pid it names a process for good."""

    pid: int
    started: int


@dataclass(frozen=True, slots=True)
class Exit:
    """What the supervisor wrote at the end."""

    code: int
    cpu_time: timedelta


@dataclass(frozen=True, slots=True)
class Stat:
    """One line of /proc/<pid>/stat."""

    pid: int
    state: str
    parent: int
    group: int
    session: int
    started: int

    @property
    def gone(self) -> bool:
        """It has ended, and nobody has asked for its status yet."""
        return self.state in "ZX"


def launch(
    directory: Path, command: Sequence[str], *, environment: Mapping[str, str], cwd: Path, stop: Signals
) -> Shim:
    """Starts the command under a supervisor; takes about a millisecond.

    Raises:
        OSError: the system refused.
    """
    with (directory / STDOUT_FILE).open("ab") as stdout, (directory / STDERR_FILE).open("ab") as stderr:
        child = subprocess.Popen(  # noqa: S603 - the command goes through as it is, no shell reads it
            [SHELL, "-c", SCRIPT, "dts", str(directory), str(int(stop)), *(part.encode() for part in command)],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=cwd,
            env={name.encode(): value.encode() for name, value in environment.items()},
            start_new_session=True,
        )
    # It is waited for by pid elsewhere: without this its object would complain, and wait for a stranger one day.
    child.returncode = 0
    return Shim(child.pid, _started(child.pid))


def _started(child: int) -> int:
    """When a child started. A child that cannot be named for good must not run."""
    try:
        stat = read_stat(child)
    except OSError:
        os.killpg(child, Signals.SIGKILL)
        os.waitpid(child, 0)
        raise
    assert stat is not None, "a child that nobody waited for has its line in /proc"
    return stat.started


def read_stat(pid: int) -> Stat | None:
    """What the kernel says of a process; None if there is none.

    Raises:
        OSError: the system had no descriptor or no memory left for a look.
    """
    try:
        return parse_stat(read_all(f"/proc/{pid}/stat"))
    except ValueError:
        return None
    except OSError as error:
        if error.errno in EXHAUSTED:
            raise
        return None


def parse_stat(line: bytes) -> Stat:
    """Reads a line of /proc/<pid>/stat; the name in it may hold anything, so what counts stands after it.

    Raises:
        ValueError: it is none.
    """
    name, closed, rest = line.rpartition(b")")
    fields = rest.split()
    if not closed or len(fields) < 20:
        raise ValueError("not a line of /proc/<pid>/stat")
    parent, group, session = map(int, fields[1:4])
    return Stat(int(name.split(b" ", 1)[0]), fields[0].decode(), parent, group, session, int(fields[19]))


def left_behind(directory: Path) -> Shim | None:
    """The supervisor that once ran in a directory, whether it lives or not."""
    try:
        stat = parse_stat(read_all(str(directory / PID_FILE)))
    except (OSError, ValueError):
        return None
    return Shim(stat.pid, stat.started)


def read_exit(directory: Path) -> Exit | None:
    """What the supervisor wrote at the end; None if it did not, or died over it."""
    try:
        text = read_all(str(directory / EXIT_FILE)).decode()
    except (OSError, UnicodeDecodeError):
        return None
    times, found, code = text.rpartition("exit ")
    if not found or not code.endswith("\n") or not code.strip().isdecimal():
        return None
    return Exit(int(code), _spent(times))


def written_ago(directory: Path, name: str) -> timedelta | None:
    """How long ago it wrote a file, by the one clock that stamps files; None if it did not."""
    try:
        (directory / NOW_FILE).touch()
        ago = (directory / NOW_FILE).stat().st_mtime - (directory / name).stat().st_mtime
    except OSError:
        return None
    return timedelta(seconds=max(0.0, ago))


def peak_below(pid: int) -> int:
    """The most memory that a supervisor's command has had so far, in bytes; 0 if it cannot be known."""
    try:
        children = read_all(f"/proc/{pid}/task/{pid}/children").split()
        return max((_peak(int(child)) for child in children), default=0)
    except (OSError, ValueError):
        return 0


def _peak(pid: int) -> int:
    _, found, rest = read_all(f"/proc/{pid}/status").partition(b"VmHWM:")
    return int(rest.split(None, 1)[0]) * 1024 if found else 0


def _spent(times: str) -> timedelta:
    """What `times` printed: the shell's own first, then everything below it."""
    spent = [int(m) * 60 + float(s.replace(",", ".")) for m, s in _SPENT.findall(times)]
    return timedelta(seconds=sum(spent))


def read_all(path: str) -> bytes:
    """A small file, mostly of /proc: five times as fast as through a file object."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = os.read(descriptor, PAGE)
        while content and len(content) % PAGE == 0 and (more := os.read(descriptor, PAGE)):
            content += more
        return content
    finally:
        os.close(descriptor)
