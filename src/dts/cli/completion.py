"""What the shell offers when somebody presses Tab: names of tasks, nodes and channels, ids of runs, as of the server.

Nothing here may fail or take long: whoever presses Tab has asked nothing. Without an answer nothing is offered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dts.cli.client import Client
    from dts.pb.dts.v1 import RunState

SECONDS = 2.0
"""So long a shell waits at most."""

OFFERED = 100
"""So many names; who has more of them types another letter."""

SHORT = 8

Offer = tuple[str, str]
"""What is inserted, and what zsh and fish show beside it."""


def tasks(incomplete: str) -> list[Offer]:
    """Names of tasks."""

    async def work(client: Client) -> list[Offer]:
        from dts.pb.dts.v1 import ListTasksRequest

        page = await client.tasks.list_tasks(ListTasksRequest(page_size=OFFERED, name_prefix=incomplete))
        return [(task.spec.name, task.spec.description) for task in page.tasks if task.spec]

    return _offered(work, incomplete)


def nodes(incomplete: str) -> list[Offer]:
    """Names of nodes."""

    async def work(client: Client) -> list[Offer]:
        from dts.domain.words import word
        from dts.pb.dts.v1 import ListNodesRequest

        found = await client.scheduler.list_nodes(ListNodesRequest())
        return [(node.hostname, word(node.state)) for node in found.nodes]

    return _offered(work, incomplete)


def channels(incomplete: str) -> list[Offer]:
    """Names of channels."""

    async def work(client: Client) -> list[Offer]:
        from dts.domain.words import word
        from dts.pb.dts.v1 import ListChannelsRequest

        found = await client.channels.list_channels(ListChannelsRequest())
        return [(channel.name, word(channel.kind)) for channel in found.channels]

    return _offered(work, incomplete)


def runs(incomplete: str) -> list[Offer]:
    """Ids of late runs."""
    return _offered(lambda client: _runs(client, frozenset()), incomplete)


def live_runs(incomplete: str) -> list[Offer]:
    """Ids of runs that are not over."""
    from dts.domain.runs import LIVE

    return _offered(lambda client: _runs(client, LIVE), incomplete)


def past_runs(incomplete: str) -> list[Offer]:
    """Ids of late runs that are over."""
    from dts.domain.runs import FINAL

    return _offered(lambda client: _runs(client, FINAL), incomplete)


async def _runs(client: Client, states: frozenset[RunState]) -> list[Offer]:
    from dts.cli.times import local
    from dts.domain.words import word
    from dts.pb.dts.v1 import ListRunsRequest

    page = await client.scheduler.list_runs(ListRunsRequest(states=sorted(states), page_size=OFFERED))
    return [(run.id[:SHORT], f"{run.task} {local(run.scheduled_at)} {word(run.state)}") for run in page.runs]


def _offered(work: Callable[[Client], Awaitable[list[Offer]]], incomplete: str) -> list[Offer]:
    async def in_time(client: Client) -> list[Offer]:
        import asyncio

        async with asyncio.timeout(SECONDS):
            return await work(client)

    try:
        from dts.cli.client import call

        return [offer for offer in call(in_time) if offer[0].startswith(incomplete)]
    except Exception:  # noqa: BLE001 - a trace in the middle of somebody's line helps nobody
        return []
