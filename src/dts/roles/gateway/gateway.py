"""One gRPC address for people: what this process hosts is served as it is, the rest is carried to where it is."""

from __future__ import annotations

from betterproto2.grpclib import ServiceStub

from dts.pb.dts.v1 import AccessServiceBase, ChannelServiceBase, SchedulerServiceBase, TaskDefinitionServiceBase
from dts.rpc.channel import Channel
from dts.rpc.forward import Forwarder
from dts.rpc.server import Service

Part = Service | ServiceStub
"""A service of this process, or a stub of one elsewhere."""


def services(
    *,
    definition: Part | None = None,
    scheduler: Part | None = None,
    access: Part | None = None,
    channels: Part | None = None,
) -> list[Service]:
    """What to give to an `RpcServer`, beside the health of the server itself, which it adds.

    Args:
        definition: the Task Definition Service; None if somebody else serves it.
        scheduler: the Task Scheduler Service; None as well. `Attach` of one elsewhere is not carried: executors dial
            the scheduler itself.
        access: the Access Service; None as well.
        channels: the Channel Service; None as well.
    """
    parts: list[tuple[Service, Part | None]] = [
        (TaskDefinitionServiceBase(), definition),
        (SchedulerServiceBase(), scheduler),
        (AccessServiceBase(), access),
        (ChannelServiceBase(), channels),
    ]
    return [_served(base, part) for base, part in parts if part is not None]


def _served(base: Service, part: Part) -> Service:
    if not isinstance(part, ServiceStub):
        return part
    assert isinstance(part.channel, Channel)
    return Forwarder(base.__mapping__(), part.channel)
