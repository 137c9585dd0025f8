"""`make bench`: everything; `make bench ARGS='pipeline lateness'`: some of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

from bench import command_line, containers, dashboard, faults, lateness, longlife, pipeline, processes, rest
from bench.figures import Figure, show, write
from support.postgres import TestServer, running_server

PARTS: dict[str, Callable[[TestServer], Awaitable[list[Figure]]]] = {
    "pipeline": pipeline.figures,
    "lateness": lateness.figures,
    "faults": faults.figures,
    "rest": rest.figures,
    "longlife": longlife.figures,
    "dashboard": dashboard.figures,
    "cli": command_line.figures,
    "processes": processes.figures,
    "containers": containers.figures,
}


def main() -> int:
    """Runs the parts that are named, or all."""
    wanted = sys.argv[1:] or list(PARTS)
    unknown = set(wanted) - set(PARTS)
    if unknown:
        print(f"there is no {', '.join(unknown)}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    figures: list[Figure] = []
    # PostgreSQL with its usual care: fsync and synchronous_commit on.
    try:
        with running_server(settings={}) as server:
            for part in wanted:
                print(f"… {part}", file=sys.stderr)
                figures += asyncio.run(_measure(part, server))
    finally:  # what was measured before a part broke counts
        show(figures)
        write(figures)
    return 0


async def _measure(part: str, server: TestServer) -> list[Figure]:
    return await PARTS[part](server)


if __name__ == "__main__":
    sys.exit(main())
