"""Access Service: makes, lists and revokes access tokens."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

from dts.domain.access import RESERVED, is_name
from dts.domain.errors import InvalidArgument
from dts.domain.ids import uuid7
from dts.domain.tokens import LEAST_TTL, MOST_TTL, TTL, new_secret, storing
from dts.domain.validate_text import Findings
from dts.pb.dts.v1 import (
    AccessServiceBase,
    AccessToken,
    AllTokensRequest,
    CreateTokenRequest,
    CreateTokenResponse,
    EndTokenRequest,
    ListTokensRequest,
    ListTokensResponse,
    RevokeTokenRequest,
    RevokeTokenResponse,
    Scope,
)
from dts.roles.definition.checks import is_short, refuse
from dts.roles.definition.ports import TokenStore


class AccessService(AccessServiceBase):
    """The only way to change who may call.

    Args:
        store: the database.
        now: the wall clock, for ids.
        rand: so many random bits that nobody can guess.
        actor: who tokens are made by.
    """

    def __init__(
        self,
        store: TokenStore,
        *,
        now: Callable[[], datetime],
        rand: Callable[[int], int],
        actor: Callable[[], str],
    ) -> None:
        self._store = store
        self._now = now
        self._rand = rand
        self._actor = actor

    async def create_token(self, message: CreateTokenRequest) -> CreateTokenResponse:
        """Makes a token; only the answer has its secret."""
        ttl = TTL if message.ttl is None else message.ttl
        _check(message, ttl)
        secret = new_secret(self._rand)
        token = AccessToken(
            id=str(uuid7(self._now(), self._rand(80))),
            name=message.name,
            scope=message.scope,
            created_by=self._actor(),
        )
        stored = await self._store.store_token(storing(token, secret, ttl=ttl))
        return CreateTokenResponse(token=stored.token, secret=secret)

    async def list_tokens(self, message: ListTokensRequest) -> ListTokensResponse:  # noqa: ARG002 - the contract has one
        """Lists tokens."""
        return ListTokensResponse(tokens=(await self._store.all_tokens(AllTokensRequest())).tokens)

    async def revoke_token(self, message: RevokeTokenRequest) -> RevokeTokenResponse:
        """Revokes a token."""
        if not is_short(message.token):
            raise InvalidArgument.of("token", "token.key", "is a name or id: 1 to 63 characters")
        return RevokeTokenResponse(token=(await self._store.end_token(EndTokenRequest(token=message.token))).token)


def _check(message: CreateTokenRequest, ttl: timedelta) -> None:
    found = Findings()
    if not is_name(message.name) or _is_uuid(message.name):
        rule = "is 1 to 63 letters, digits and . _ @ -, beginning with a letter or digit, and no UUID"
        found.refuse("name", "token.name", rule)
    elif message.name.lower() in RESERVED:
        found.refuse("name", "token.reserved", f"{message.name} is a name of dts itself; choose another one")
    if message.scope not in {Scope.VIEWER, Scope.OPERATOR, Scope.ADMIN}:
        found.refuse("scope", "token.scope", "is viewer, operator or admin")
    if not LEAST_TTL <= ttl <= MOST_TTL:
        found.refuse("ttl", "token.ttl", f"is from 1m to {MOST_TTL.days}d")
    refuse(found.violations)


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
