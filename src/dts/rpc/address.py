"""Where a service is: a host and a port, or a name that stands for many hosts."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import NamedTuple

DNS = "dns:"


class HostPort(NamedTuple):
    """An address.

    host: name or address; `dns:` before a name means that every address behind it is a replica of its own
        (`dns:tasks.scheduler` in a Swarm).
    port: of the service.
    """

    host: str
    port: int

    def __str__(self) -> str:
        """As people write it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host.removeprefix(DNS) else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> HostPort:
        """Reads `host:port`, `[::1]:port` or `dns:name:port`.

        Raises:
            ValueError: it is none of these.
        """
        host, _, port = text.strip().rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not host.removeprefix(DNS) or not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise ValueError(f"{text!r} is no address; expected is host:port, [IPv6]:port or dns:name:port")
        return cls(host, int(port))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return self.host == "localhost" or (self.is_literal and ipaddress.ip_address(self.host).is_loopback)

    @property
    def is_literal(self) -> bool:
        """Whether the host is an address, not a name."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return True

    async def resolve(self) -> list[HostPort]:
        """The addresses to try: itself, or all that stand behind a `dns:` name.

        Raises:
            OSError: the name is not known.
        """
        if not self.host.startswith(DNS):
            return [self]
        name = self.host.removeprefix(DNS)
        found = await asyncio.get_running_loop().getaddrinfo(name, self.port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(HostPort(str(entry[4][0]), self.port) for entry in found))
