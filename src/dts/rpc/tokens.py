"""Access tokens as a server knows them: looked up by their hashes, and remembered for a moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from dts.domain.errors import DtsError, Unavailable
from dts.pb.dts.v1 import AccessToken, FindTokenRequest, FindTokenResponse

CACHE_SECONDS = 1.5
"""How long a token is believed after it was looked up."""

LOOKUP_SECONDS = 2.0
"""How long a lookup may take."""

LOOKUPS = 16
"""How many lookups may be under way at once."""

REMEMBERED = 4096
"""How many tokens are remembered."""


class TokenLookup(Protocol):
    """Where tokens are: the Database Service, or a stub of it."""

    async def find_token(self, message: FindTokenRequest, /) -> FindTokenResponse:
        """The token with a hash."""
        ...


@dataclass(frozen=True, slots=True)
class _Known:
    asked: float
    token: AccessToken | None


class TokenCache:
    """Tokens by hash.

    Args:
        lookup: where they are.
        monotonic: in seconds; the clock of the event loop if None.
    """

    def __init__(self, lookup: TokenLookup, monotonic: Callable[[], float] | None = None) -> None:
        self._lookup = lookup
        self._monotonic = monotonic or (lambda: asyncio.get_running_loop().time())
        self._known: dict[bytes, _Known] = {}
        self._room = asyncio.Semaphore(LOOKUPS)

    async def find(self, digest: bytes) -> AccessToken | None:
        """The token as it was at most `CACHE_SECONDS` ago; None if there is none.

        Raises:
            Unavailable: it could not be looked up.
        """
        known = self._fresh(digest)
        if known is None:
            known = await self._looked_up(digest)
        return known.token

    def _fresh(self, digest: bytes) -> _Known | None:
        known = self._known.get(digest)
        return known if known is not None and self._monotonic() < known.asked + CACHE_SECONDS else None

    async def _looked_up(self, digest: bytes) -> _Known:
        try:
            async with asyncio.timeout(LOOKUP_SECONDS), self._room:
                # Many streams of one token wait here together: one of them asks for all.
                return self._fresh(digest) or await self._ask(digest)
        except TimeoutError as error:
            raise Unavailable("the token could not be looked up in time", code="token.lookup") from error
        except DtsError as error:
            why = f"the token could not be looked up: {error.message}"
            raise Unavailable(why, code="token.lookup") from error

    async def _ask(self, digest: bytes) -> _Known:
        asked = self._monotonic()  # before: what changes while it is looked up may be missed
        known = _Known(asked, (await self._lookup.find_token(FindTokenRequest(sha256=digest))).token)
        other = self._known.pop(digest, known)
        self._known[digest] = max(known, other, key=lambda each: each.asked)
        while len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]  # the one that was asked for longest ago
        return known
