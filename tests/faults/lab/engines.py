"""What the engines of the lab say, past dts: a subscriber of ours to each one's events, and what is left in the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from faults.model import EngineEvent, Leftover
from swarm.lab import LabNode

AGAIN = 0.5
"""Seconds before an engine that has gone is asked again."""

ACTIONS = ("create", "start", "die", "destroy")
RUN, ATTEMPT = "dts.run", "dts.attempt"
"""Labels of the containers of runs."""

FIRST = "1"
"""Of all that the engine remembers; 0 would be nothing."""

MICROSECOND = timedelta(microseconds=1)


@dataclass
class Subscriber:
    """Of one engine; it comes again, and asks for what it missed, when the engine is killed or stopped."""

    node: LabNode
    events: list[EngineEvent] = field(default_factory=list)
    _known: set[EngineEvent] = field(default_factory=set)

    async def follow(self) -> None:
        """Until cancelled."""
        while True:
            await self._follow_on()
            await asyncio.sleep(AGAIN)

    async def _follow_on(self) -> None:
        since = str(self.events[-1].at.timestamp()) if self.events else FIRST
        filters = [f"--filter=event={action}" for action in ACTIONS]
        command = ("docker", "--host", self.node.host, "events", "--since", since, "--format", "{{json .}}")
        process = await asyncio.create_subprocess_exec(
            *command,
            *("--filter=type=container", f"--filter=label={RUN}", *filters),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert process.stdout is not None
        try:
            async for line in process.stdout:
                self._note(event_of(line.decode(), self.node.name))
            await process.wait()
        except asyncio.CancelledError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.communicate()  # else its pipe outlives the loop
            raise

    def _note(self, event: EngineEvent) -> None:
        """What was asked for again may have been heard before."""
        if event not in self._known:
            self._known.add(event)
            self.events.append(event)


def event_of(line: str, node: str) -> EngineEvent:
    """One line of `docker events --format '{{json .}}'`."""
    told = json.loads(line)
    attributes = told["Actor"]["Attributes"]
    code = attributes.get("exitCode")
    return EngineEvent(
        at=datetime.fromtimestamp(told["timeNano"] // 1_000_000_000, UTC)
        + (told["timeNano"] % 1_000_000_000 // 1000) * MICROSECOND,
        node=node,
        container=told["Actor"]["ID"],
        action=told["Action"],
        run_id=attributes.get(RUN, ""),
        number=int(attributes.get(ATTEMPT, "0")),
        exit_code=int(code) if code is not None else None,
    )


LEFT = f'{{{{.ID}}}}\t{{{{.State}}}}\t{{{{.Label "{RUN}"}}}}\t{{{{.Label "{ATTEMPT}"}}}}'
"""A format of `docker ps`: what `leftovers_of` reads."""


def leftovers_of(listing: str, node: str) -> Iterator[Leftover]:
    """The containers of `docker ps --all --format LEFT`."""
    for line in listing.splitlines():
        handle, state, run_id, number = line.split("\t")
        yield Leftover(node, handle, run_id, int(number or 0), running=state in {"running", "paused"})


def leftovers(nodes: Sequence[LabNode]) -> list[Leftover]:
    """What is there now of runs, on every node."""
    ask = ("ps", "--all", "--no-trunc", f"--filter=label={RUN}", f"--format={LEFT}")
    return [one for node in nodes for one in leftovers_of(node.docker(*ask), node.name)]
