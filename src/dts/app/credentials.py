"""What `dts dev` leaves in its data directory so that the command line of the same user finds it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

FILE = "client.json"


@dataclass(frozen=True, slots=True)
class Credentials:
    """server: gRPC address. token: what to show. dsn: the database, for a dump."""

    server: str
    token: str = field(repr=False)
    dsn: str = field(repr=False)


def read(data_dir: Path) -> Credentials | None:
    """What is there; None if nothing is, or nothing that can be read."""
    try:
        content = json.loads((data_dir / FILE).read_text("utf-8"))
        return Credentials(**{name: str(content[name]) for name in ("server", "token", "dsn")})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write(data_dir: Path, credentials: Credentials) -> None:
    """Leaves it for the owner of the process alone; never half-written."""
    path = data_dir / FILE
    draft = path.with_suffix(".new")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o600)
        json.dump(asdict(credentials), file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
