"""The policy of this node, in a file of this node: read at the start, and again when it has changed."""

from __future__ import annotations

import difflib
import ipaddress
import logging
import posixpath
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from dts.domain.errors import InvalidArgument, Violation
from dts.domain.node_policy import Bind, Network, NodePolicy
from dts.domain.sizes import parse_size

log = logging.getLogger(__name__)

MOST_BYTES = 64 * 1024


class PolicyFile:
    """The policy that counts now.

    Args:
        path: of the file; None: nothing is opened.

    Raises:
        InvalidArgument: it cannot be read, or says what no policy can.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._policy = NodePolicy()
        if path is not None:
            self._stamp = _stamp(path)
            self._policy = read_policy(path)

    def current(self) -> NodePolicy:
        """Reads the file again if it has changed; one that is broken leaves what was."""
        if self._path is None:
            return self._policy
        try:
            stamp = _stamp(self._path)
            if stamp != self._stamp:
                self._stamp = stamp
                self._policy = read_policy(self._path)
                log.info("the policy of this node has changed")
        except InvalidArgument as error:
            log.error("%s; the policy read before stays in force", error)  # noqa: TRY400 - no trace for a user
        return self._policy


def read_policy(path: Path) -> NodePolicy:
    """Reads a policy.

    Raises:
        InvalidArgument: with a violation for each key that is wrong.
    """
    try:
        with path.open("rb") as file:
            content = yaml.safe_load(file.read(MOST_BYTES))
    except OSError as error:
        why = f"names a file that cannot be read, {path}: {error.strerror}"
        raise InvalidArgument.of("DTS_POLICY_FILE", "policy.unreadable", why) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidArgument.of(str(path), "policy.syntax", "is no YAML") from error
    return parse_policy({} if content is None else content, where=str(path))


def parse_policy(content: object, *, where: str) -> NodePolicy:
    """Makes a policy of what a file holds.

    Raises:
        InvalidArgument: with a violation for each key that is wrong.
    """
    if not isinstance(content, Mapping):
        raise InvalidArgument.of(where, "policy.form", f"is a mapping with the keys {', '.join(_KEYS)}")
    values: dict[str, Any] = {}
    violations: list[Violation] = []
    for key, value in content.items():
        try:
            parse = _KEYS[key]
        except (KeyError, TypeError):
            violations.append(Violation(f"{where}: {str(key)[:64]}", "policy.unknown", f"is no key{_nearest(key)}"))
            continue
        try:
            values[key] = parse(value)
        except ValueError as error:
            violations.append(Violation(f"{where}: {key}", "policy.invalid", str(error)))
    if violations:
        raise InvalidArgument(violations)
    return NodePolicy(**values)


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        stat = path.stat()
    except OSError as error:
        why = f"names a file that cannot be read, {path}: {error.strerror}"
        raise InvalidArgument.of("DTS_POLICY_FILE", "policy.unreadable", why) from error
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _nearest(key: object) -> str:
    near = difflib.get_close_matches(str(key), _KEYS, n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(_KEYS)}"


def _patterns(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) and one.strip("!") for one in value):
        raise ValueError("is a list of patterns such as registry.example/*; one that begins with ! denies")
    return tuple(value)


def _words(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise ValueError("is a list of words")
    return tuple(value)


def _binds(value: object) -> tuple[Bind, ...]:
    return tuple(_bind(text) for text in _words(value))


def _bind(text: str) -> Bind:
    path, _, mode = text.partition(":")
    if not path.startswith("/") or posixpath.normpath(path) != path or mode not in {"", "ro", "rw"}:
        raise ValueError("is a list of absolute paths, each with :ro or :rw after it, such as /srv/data:ro")
    return Bind(path, write=mode == "rw")


def _networks(value: object) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(text) for text in _words(value))
    except ValueError as error:
        raise ValueError("is a list of networks such as 10.0.0.0/8 or ::1") from error


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("is true or false")  # noqa: TRY004 - a mistake in a file, not in the program
    return value


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1 << 22:
        raise ValueError("is a whole number from 1 to 4194304")
    return value


def _cpus(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1024:
        raise ValueError("is a number of processors above 0, such as 2 or 0.5")
    return float(value)


def _memory(value: object) -> int:
    try:
        size = parse_size(str(value))
    except ValueError:
        size = 0
    if size < 6 << 20:
        raise ValueError("is a size of at least 6 MiB, such as 512m or 2GiB")
    return size


_KEYS: dict[str, Callable[[object], Any]] = {
    "images": _patterns,
    "volumes": _patterns,
    "networks": _patterns,
    "secrets": _patterns,
    "configs": _patterns,
    "copies": _patterns,
    "binds": _binds,
    "capabilities": _words,
    "host_network": _flag,
    "root": _flag,
    "execs": _patterns,
    "hosts": _patterns,
    "private_addresses": _networks,
    "pids": _count,
    "cpus": _cpus,
    "memory": _memory,
}
