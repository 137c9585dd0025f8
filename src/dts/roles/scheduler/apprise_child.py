"""The process that sends one message by Apprise: it reads what to send, and prints why it did not arrive.

Python reports each connection before it is made. Here that is where the policy is kept: it holds for every protocol,
for redirections, and for names whose address changes after it was looked at.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import re
import sys
from typing import Any
from urllib.parse import unquote

import apprise

from dts.domain.node_policy import NodePolicy, allowed_address, http_denials

FORBIDDEN = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "os.forkpty",
    "syslog.openlog",
    "syslog.syslog",
)
"""What no message needs, and targets on this machine would do: programs, and the log of the system."""

_SECRET = re.compile(r"[^A-Za-z0-9_-]+")
_LEAST_SECRET = 4


def main() -> None:
    """Sends what standard input says."""
    given = json.load(sys.stdin)
    policy = NodePolicy(
        hosts=tuple(given["hosts"]),
        private_addresses=tuple(ipaddress.ip_network(network) for network in given["private_addresses"]),
    )
    sys.stdout.write(send(given["target"], given["title"], given["text"], policy))


def send(target: str, title: str, text: str, policy: NodePolicy) -> str:
    """Answers why the message did not arrive, or with nothing. The policy holds for this process from then on."""
    said, guard = _listen(), _Guard(policy)
    box = apprise.Apprise(asset=apprise.AppriseAsset(app_id="dts", app_desc="dts", secure_logging=True))
    sys.addaudithook(guard)
    if not box.add(target):
        return guard.denied or "Apprise cannot read the target"
    if box.notify(title=title, body=text, body_format=apprise.NotifyFormat.TEXT):
        return ""
    return guard.denied or _without_secrets(said[-1] if said else "the target did not take it", target)


class _Guard:
    """An audit hook. denied: what it last refused."""

    def __init__(self, policy: NodePolicy) -> None:
        self._policy = policy
        self.denied = ""

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
            self._check_address(arguments[1])
        elif event == "socket.getaddrinfo":
            if denied := http_denials(self._policy, _text(arguments[0])):
                self._deny(f"the policy of this process does not allow {denied[0]}")
        elif event in FORBIDDEN:
            self._deny(f"a message may not use {event}")

    def _check_address(self, address: object) -> None:
        host = address[0] if isinstance(address, tuple) and address else ""
        try:
            allowed = allowed_address(self._policy, _text(host))
        except ValueError:  # a socket of this machine, or a name that nobody has looked at
            allowed = False
        if not allowed:
            self._deny(f"its address {_text(host)[:64] or 'on this machine'} is not a public one (private_addresses)")

    def _deny(self, why: str) -> None:
        self.denied = why
        raise PermissionError(why)


class _Said(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage())


def _listen() -> list[str]:
    """What Apprise warns of from now on."""
    lines: list[str] = []
    logger = logging.getLogger("apprise")
    logger.addHandler(_Said(lines))
    logger.propagate = False
    return lines


def _without_secrets(line: str, target: str) -> str:
    """Every word of a target may be one, but for its scheme."""
    rest = target.partition("://")[2]
    words = {word for text in (rest, unquote(rest)) for word in _SECRET.split(text) if len(word) >= _LEAST_SECRET}
    for word in sorted(words, key=len, reverse=True):
        line = line.replace(word, "…")
    return line


def _text(given: object) -> str:
    return given.decode(errors="replace") if isinstance(given, bytes) else str(given or "")


if __name__ == "__main__":
    main()
