"""What callers show: a bearer token, and, from those who may vouch, for whom they call."""

from __future__ import annotations

HEADER = "authorization"
SCHEME = "Bearer "
ACTOR = "dts-actor"
"""Metadata: the name of the person that the call is made for."""

SCOPE = "dts-scope"
"""Metadata: what that person may do, as `viewer`, `operator` or `admin`."""


def bearer(token: str | None) -> dict[str, str]:
    """The metadata that shows a token; empty without one."""
    return {} if token is None else {HEADER: SCHEME + token}
