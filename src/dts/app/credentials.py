"""What `dts dev` leaves in its data directory so that the command line of the same user finds it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from dts.domain.errors import FailedPrecondition
from dts.domain.seal_keys import keys_of, new_key_line

FILE = "client.json"
SEAL_KEYS = "seal.key"


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
    _write(data_dir / FILE, json.dumps(asdict(credentials)))


def seal_keys(data_dir: Path, rand: Callable[[int], int]) -> tuple[bytes, ...]:
    """What seals the addresses of channels: made once, or what was closed would stay so.

    Raises:
        FailedPrecondition: the file is there, and is not what was written.
    """
    path = data_dir / SEAL_KEYS
    if not path.exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        _write(path, new_key_line(rand))
    try:
        return keys_of(path.read_text("utf-8"))
    except (OSError, ValueError) as wrong:
        raise FailedPrecondition(
            f"{path} has the keys that seal addresses of channels, and cannot be used: {wrong}", code="seal.keys"
        ) from None


def _write(path: Path, text: str) -> None:
    draft = path.with_suffix(".new")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
