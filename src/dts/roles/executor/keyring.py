"""Who we are at private registries: a file as `docker login` writes it, most often a Docker secret."""

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections.abc import Mapping
from pathlib import Path

from dts.domain.errors import InvalidArgument
from dts.domain.image import HUB, whole_name

log = logging.getLogger(__name__)

SETTING = "DTS_REGISTRY_AUTH_FILE"
MOST_BYTES = 256 * 1024
HUB_KEYS = frozenset({"index.docker.io", "registry-1.docker.io", HUB})

Login = Mapping[str, str]
"""What the engine passes on: username and password, or identitytoken; and serveraddress."""


class Keyring:
    """Logins by registry. A changed file counts at the next pull; a broken one leaves what was.

    Args:
        path: of the file; None: no registry knows us.

    Raises:
        InvalidArgument: it cannot be read. What it says is never echoed.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._logins: dict[str, Login] = {}
        if path is not None:
            self._stamp, self._logins = _stamp(path), _read(path)

    def login(self, image: str) -> Login | None:
        """The login for the registry of an image; None if there is none."""
        self._refresh()
        return self._logins.get(whole_name(image).partition("/")[0])

    def _refresh(self) -> None:
        if self._path is None:
            return
        try:
            stamp = _stamp(self._path)
            if stamp != self._stamp:
                self._stamp = stamp
                self._logins = _read(self._path)
        except InvalidArgument as error:
            log.error("%s; what was read before stays in use", error)  # noqa: TRY400 - no trace for a user


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        stat = path.stat()
    except OSError as error:
        raise _refused(f"names a file that cannot be read, {path}: {error.strerror}") from error
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _read(path: Path) -> dict[str, Login]:
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(MOST_BYTES))
        entries = content["auths"].items()
        return {_registry(key): _login(key, entry) for key, entry in entries}
    except OSError as error:
        raise _refused(f"names a file that cannot be read, {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError):
        # Without a cause: it could hold a password.
        why = f'names a file that is not as `docker login` writes it, {path}: {{"auths": {{REGISTRY: {{"auth": …}}}}}}'
        raise _refused(why) from None


def _registry(key: str) -> str:
    host = key.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return HUB if host in HUB_KEYS else host


def _login(key: str, entry: Mapping[str, str]) -> Login:
    if token := entry.get("identitytoken"):
        return {"identitytoken": token, "serveraddress": key}
    name, password = entry.get("username", ""), entry.get("password", "")
    if encoded := entry.get("auth"):
        try:
            name, _, password = base64.b64decode(encoded, validate=True).decode("utf-8").partition(":")
        except binascii.Error as error:
            raise ValueError from error
    if not name or not password:
        raise ValueError
    return {"username": name, "password": password, "serveraddress": key}


def _refused(why: str) -> InvalidArgument:
    return InvalidArgument.of(SETTING, "settings.unreadable", why)
