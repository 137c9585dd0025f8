"""A real PgBouncer in transaction mode: each transaction may get another session of the server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from dts.store.embedded import USER
from support.postgres import database_of, open_directory

CONFIG = """\
[databases]
* = host={sockets} port=5432 user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {sessions}
query_wait_timeout = 5
"""


def free_port() -> int:
    """A port of this machine that nobody has."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def pgbouncer(dsn: str, *, sessions: int) -> Iterator[str]:
    """The address of the same database through a PgBouncer that shares so many sessions; skips where there is none."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        pytest.skip("there is no pgbouncer on this machine")
    port = free_port()
    with open_directory("dts-pgb-") as directory:
        config = directory / "pgbouncer.ini"
        config.write_text(CONFIG.format(sockets=sockets_of(dsn), user=USER, port=port, sessions=sessions))
        config.chmod(0o644)
        # It refuses to run as root, and the socket is for the server's user alone.
        user = sockets_of(dsn).stat().st_uid if os.geteuid() == 0 else None
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen([program, str(config)], stdout=log, stderr=log, user=user)
        try:
            yield f"postgresql://{USER}@127.0.0.1:{port}/{database_of(dsn)}"
        finally:
            process.terminate()
            process.wait(10)


def sockets_of(dsn: str) -> Path:
    """The directory of the server's socket, in an address of `EmbeddedPostgres.dsn`."""
    return Path(dsn.partition("host=")[2].partition("&")[0])
