"""Who may call: whoever shows the installation's token in `authorization: Bearer …`."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from dts.domain.errors import Unauthenticated

HEADER = "authorization"
SCHEME = "Bearer "
OPEN_ROUTES = frozenset({"/grpc.health.v1.Health/Check"})
"""Routes that need no token. `Watch` is not among them: it would let strangers hold calls open."""


def bearer(token: str | None) -> dict[str, str]:
    """The metadata that shows a token; empty without one."""
    return {} if token is None else {HEADER: SCHEME + token}


class TokenCheck:
    """Compares tokens in constant time, by their hashes, so that neither content nor length leaks.

    Args:
        token: the only one that is accepted; None accepts every caller (a socket only we can reach).

    Raises:
        ValueError: the token is empty, which is a mistake and never a wish for an open door.
    """

    def __init__(self, token: str | None) -> None:
        if token is not None and not token.strip():
            raise ValueError("the token is empty; give one, or None for a server without authentication")
        self._digest = None if token is None else _digest(SCHEME + token)

    def check(self, route: str, headers: Mapping[str, str]) -> None:
        """Lets the call pass.

        Raises:
            Unauthenticated: the token is missing or wrong.
        """
        if self._digest is None or route in OPEN_ROUTES:
            return
        shown = headers.get(HEADER)
        if shown is None:
            raise Unauthenticated("no token was sent; expected is `authorization: Bearer …`", code="token.missing")
        if not hmac.compare_digest(_digest(shown), self._digest):
            raise Unauthenticated("the token is not the one of this installation", code="token.wrong")


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
