"""The gate of a server: says who calls, and lets pass what the table of routes allows.

A caller shows the token of the installation, or an access token of its own, or the certificate of a role, in this
order. The gateway and whoever has the installation's token may say for whom they call; then what that person may do
counts, and no longer what they may do themselves.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import replace

from dts.domain.access import (
    ANONYMOUS,
    INSTALLATION,
    ROLES,
    VOUCHING,
    Caller,
    Peer,
    authorise,
    is_name,
    is_open,
    scope_word,
)
from dts.domain.errors import InvalidArgument, Unauthenticated
from dts.domain.tokens import hash_of, is_secret
from dts.pb.dts.v1 import Scope, TokenState
from dts.rpc.auth import ACTOR, HEADER, SCHEME, SCOPE
from dts.rpc.tokens import TokenCache, TokenLookup

RECHECK_SECONDS = 1.0
"""How often the caller of an open stream is judged again. With the cache and a slow lookup it stays below 5 s."""

EVERYBODY = Caller("anonymous", Scope.ADMIN, ROLES)
"""Whoever calls a server without authentication."""

_SCOPES = {scope_word(scope): scope for scope in Scope if scope}


class Gate:
    """Judges callers.

    Args:
        installation: the token that may do everything; None if there is none.
        tokens: where access tokens of people are looked up; None if none is taken.
        monotonic: the clock of the cache; that of the event loop if None.
        recheck_seconds: how often the caller of an open stream is judged again.

    Raises:
        ValueError: the token is empty, which is a mistake and never a wish for an open door.
    """

    def __init__(
        self,
        installation: str | None,
        *,
        tokens: TokenLookup | None = None,
        monotonic: Callable[[], float] | None = None,
        recheck_seconds: float = RECHECK_SECONDS,
    ) -> None:
        if installation is not None and not installation.strip():
            raise ValueError("the token is empty; give one, or None if there is none")
        self.recheck_seconds = recheck_seconds
        self._installation = None if installation is None else hash_of(installation)
        self._tokens = None if tokens is None else TokenCache(tokens, monotonic)

    async def check(self, route: str, headers: Mapping[str, str], peer: Peer | None) -> Caller:
        """Lets a call pass.

        Args:
            route: such as `/dts.v1.SchedulerService/GetRun`.
            headers: what came with the call, by names in lower case.
            peer: what the certificate of the connection says; None without one.

        Raises:
            Unauthenticated: it is not known who calls, or the token no longer works.
            PermissionDenied: the caller may not do this.
            Unavailable: the token could not be looked up.
        """
        if is_open(route):
            return ANONYMOUS
        caller = await self.identify(headers, peer)
        authorise(caller, route)
        return caller

    async def identify(self, headers: Mapping[str, str], peer: Peer | None) -> Caller:
        """Who calls, whatever for.

        Raises:
            Unauthenticated, Unavailable: as `check`.
        """
        shown = headers.get(HEADER)
        if shown is None:
            if peer is None:
                raise Unauthenticated("no token was sent; expected is `authorization: Bearer …`", code="token.missing")
            return _vouched(_process(peer), headers)
        # Compared by their hashes, so that neither content nor length leaks.
        digest = hash_of(shown.removeprefix(SCHEME)) if shown.startswith(SCHEME) else b""
        if self._installation is not None and hmac.compare_digest(digest, self._installation):
            return _vouched(Caller(INSTALLATION, Scope.ADMIN, ROLES, peer.node if peer else ""), headers)
        return await self._person(shown.removeprefix(SCHEME), digest)

    async def _person(self, secret: str, digest: bytes) -> Caller:
        # What cannot be a token is not looked up: strangers shall not make the database work.
        known = self._tokens is not None and is_secret(secret)
        token = await self._tokens.find(digest) if known and self._tokens is not None else None
        if token is None:
            raise Unauthenticated("the token is not one of this installation", code="token.wrong")
        if token.state is TokenState.REVOKED:
            raise Unauthenticated(f"the token {token.name} was revoked", code="token.revoked")
        if token.state is not TokenState.ACTIVE:
            raise Unauthenticated(f"the token {token.name} has expired; ask for a new one", code="token.expired")
        return Caller(token.name, token.scope)


class OpenGate(Gate):
    """Lets everybody pass, for a socket that only we can reach."""

    def __init__(self) -> None:
        super().__init__(None)

    async def check(self, route: str, headers: Mapping[str, str], peer: Peer | None) -> Caller:  # noqa: ARG002 - the same for all
        """Lets a call pass."""
        return EVERYBODY

    async def identify(self, headers: Mapping[str, str], peer: Peer | None) -> Caller:  # noqa: ARG002 - the same for all
        """Who calls."""
        return EVERYBODY


def _process(peer: Peer) -> Caller:
    return Caller("+".join(sorted(peer.roles)), roles=peer.roles, node=peer.node)


def _vouched(caller: Caller, headers: Mapping[str, str]) -> Caller:
    """The person for whom a process calls; the process itself where it names none, or is not believed."""
    if not caller.roles & VOUCHING or not (ACTOR in headers or SCOPE in headers):
        return caller
    name = headers.get(ACTOR, caller.name)
    if not is_name(name):
        raise InvalidArgument.of(ACTOR, "access.actor", "is a name: letters, digits and . _ @ -, at most 63")
    if SCOPE not in headers:
        return replace(caller, name=name)
    if headers[SCOPE] not in _SCOPES:
        raise InvalidArgument.of(SCOPE, "access.scope", f"is {', '.join(_SCOPES)}")
    return Caller(name, _SCOPES[headers[SCOPE]])
