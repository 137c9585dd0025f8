"""Where a fault run takes place: how people and the server are reached there, and what can be found afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import asyncpg

from dts.rpc.address import HostPort
from dts.rpc.channel import Channel, connect
from faults import gather
from faults.load import witnesses
from faults.model import EngineEvent, Leftover, Text, Witness
from faults.parts import Installation


class Ground(Protocol):
    """One machine, or several."""

    @property
    def canaries(self) -> Mapping[str, str]:
        """Secrets that nobody may ever see, by name."""

    def channel(self) -> Channel:
        """The way of people to the gateway."""

    async def database(self) -> asyncpg.Connection:
        """A connection past every part of dts; raises what asyncpg does, or OSError."""

    async def whole(self) -> None:
        """Returns when whatever stands in for broken parts is there."""

    async def nodes(self) -> Mapping[str, str]:
        """What witnesses call a node, by what the ledger calls it; nothing where it is the same."""

    async def witnesses(self) -> Sequence[Witness]:
        """What the work wrote, on every node."""

    async def leftovers(self) -> Sequence[Leftover]:
        """What is there now of the work of runs."""

    async def events(self) -> Sequence[EngineEvent]:
        """What engines said meanwhile."""

    async def texts(self) -> Sequence[Text]:
        """What strangers might read."""


@dataclass(slots=True)
class OneMachine:
    """Processes. token: of its people. dsn: of the server."""

    installed: Installation
    token: str
    dsn: str

    @property
    def canaries(self) -> Mapping[str, str]:
        """The token that all share."""
        return {"token": self.token}

    def channel(self) -> Channel:
        """Without encryption: it leads nowhere else."""
        return connect([HostPort.parse(self.installed.gateway)], token=self.token, tls=None)

    async def database(self) -> asyncpg.Connection:
        """The server's own address, whatever happens to cables."""
        return await asyncpg.connect(self.dsn, timeout=5, command_timeout=5)

    async def whole(self) -> None:
        """What broke it has mended it."""

    async def nodes(self) -> Mapping[str, str]:
        """Executors are called what they are."""
        return {}

    async def witnesses(self) -> Sequence[Witness]:
        """Beside the executors' directories."""
        return list(witnesses(self.installed.data))

    async def leftovers(self) -> Sequence[Leftover]:
        """Processes."""
        return list(gather.leftovers(self.installed.data))

    async def events(self) -> Sequence[EngineEvent]:
        """There is no engine."""
        return ()

    async def texts(self) -> Sequence[Text]:
        """Logs, and arguments of processes."""
        return gather.texts(list(self.installed.texts))
