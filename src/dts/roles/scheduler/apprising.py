"""Sends to a target of Apprise, from a process of its own.

Apprise knows a hundred services, and opens connections to them as it likes. In a process of its own it can be stopped
when it hangs, and be kept from addresses that the policy does not open: see `apprise_child`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from importlib.util import find_spec

from dts.domain.node_policy import NodePolicy

CHILD = "dts.roles.scheduler.apprise_child"


async def by_apprise(target: str, title: str, text: str, policy: NodePolicy) -> str:
    """Sends; answers why the message did not arrive, or with nothing. The target goes by a pipe, not as an argument."""
    if find_spec("apprise") is None:
        return "this dts has no Apprise: install it as dts[apprise]"
    given = {
        "target": target,
        "title": title,
        "text": text,
        "hosts": list(policy.hosts),
        "private_addresses": [str(network) for network in policy.private_addresses],
    }
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        CHILD,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        answer, _ = await child.communicate(json.dumps(given).encode())
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode != 0:
        return f"Apprise broke off with exit code {child.returncode}"
    return answer.decode(errors="replace").strip()
