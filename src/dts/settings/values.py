"""What variables may say: each function reads one, and its ValueError is the sentence for people."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from dts.domain.durations import parse_duration
from dts.domain.sizes import parse_size
from dts.domain.tokens import is_secret

MOST_SLOTS = 100_000
LEAST_KEEP = timedelta(hours=1)
MOST_KEEP = timedelta(days=3650)

_LABEL_KEY = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?")
_NODE_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_FLAGS = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(("0", "false", "no", "off"), False)
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_EVERY = "dns:"


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port; `dns:` before the host stands for every address behind the name, each a replica."""

    host: str
    port: int

    def __str__(self) -> str:
        """As it is written: `host:port`, an IPv6 address in brackets."""
        bare = self.host.removeprefix(_EVERY)
        return f"[{self.host}]:{self.port}" if ":" in bare else f"{self.host}:{self.port}"


def addresses(text: str) -> tuple[Address, ...]:
    """Where replicas are, with commas between."""
    return tuple(_address(part.strip()) for part in text.split(","))


def _address(text: str) -> Address:
    whole, _, port = text.rpartition(":")
    many = whole.startswith(_EVERY)
    host = whole.removeprefix(_EVERY)
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host if ":" not in host else ""
    if not host or any(c.isspace() or c == "/" for c in host) or not port.isdecimal() or not 0 < int(port[:6]) < 65536:
        raise ValueError(
            "must be HOST:PORT, or dns:NAME:PORT for every address of a name, or several of them with commas; "
            "a port is from 1 to 65535"
        )
    return Address(_EVERY + host if many else host, int(port))


def labels(text: str) -> dict[str, str]:
    """Labels of a node, with commas between."""
    labels: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not _LABEL_KEY.fullmatch(key) or key in labels:
            raise ValueError("must be KEY=VALUE with commas between, each key once, of letters, digits and . _ / -")
        labels[key] = value
    return labels


def node_name(text: str) -> str:
    """The name of a node."""
    if not _NODE_NAME.fullmatch(text):
        raise ValueError("must be 1 to 63 letters, digits and . _ -, beginning and ending with a letter or digit")
    return text


def slots(text: str) -> int:
    """How many runs a node has at once."""
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text[:9]) <= MOST_SLOTS:
        raise ValueError(f"must be a whole number from 1 to {MOST_SLOTS}")
    return int(text)


def cpus(text: str) -> float:
    """Processors of a node."""
    if not re.fullmatch(r"\d{1,5}(\.\d{1,6})?", text, re.ASCII) or float(text) <= 0:
        raise ValueError("must be a number of processors above 0, such as 2 or 0.5")
    return float(text)


def size(text: str) -> int:
    """Bytes, also with a unit."""
    try:
        size = parse_size(text)
    except ValueError:
        size = 0
    if not size:
        raise ValueError("must be a number of bytes above 0, or one with a unit such as 512m or 8GiB")
    return size


def keep(text: str) -> timedelta:
    """How long what happened is kept."""
    try:
        keep = parse_duration(text)
    except ValueError:
        keep = timedelta(0)
    if not LEAST_KEEP <= keep <= MOST_KEEP:
        raise ValueError(f"must be from 1h to {MOST_KEEP.days}d, such as 30d or 12h")
    return keep


def flag(text: str) -> bool:
    """Yes or no."""
    if text.lower() not in _FLAGS:
        raise ValueError("must be true or false")
    return _FLAGS[text.lower()]


def level(text: str) -> str:
    """From which level on is logged."""
    return one_of(*_LEVELS)(text.upper())


def access_token(text: str) -> str:
    """The secret of an access token."""
    if not is_secret(text):
        raise ValueError("names a file that does not hold one access token; `dts token generate` prints one")
    return text


def one_of(*allowed: str) -> Callable[[str], str]:
    """One of these words, and nothing else."""

    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"must be {', '.join(allowed[:-1])} or {allowed[-1]}")
        return text

    return parse
