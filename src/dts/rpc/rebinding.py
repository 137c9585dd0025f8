"""Keeps web sites out of what this machine may see without a token.

A site can have its own name point to 127.0.0.1 and then reads what answers there as its own (DNS rebinding). Its
requests carry that name in `Host`, which a page cannot change.
"""

from __future__ import annotations

from collections.abc import Mapping

from dts.domain.errors import PermissionDenied
from dts.rpc.address import HostPort


async def asked_of_this_machine(headers: Mapping[str, str]) -> None:
    """Lets pass who asked for an address, or for localhost.

    Args:
        headers: of the request, names in lower case.

    Raises:
        PermissionDenied: it was another name, or none.
    """
    host = headers.get("host", "")
    try:
        asked = HostPort.parse(host if host.rpartition(":")[2].isdecimal() else f"{host}:0")
    except ValueError:
        asked = HostPort("", 0)
    if not (asked.is_literal or asked.host == "localhost"):
        raise PermissionDenied("the figures of this machine are told to who asks for localhost", code="host")
