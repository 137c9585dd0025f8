"""Access tokens: stored as hashes, found by hash, ended."""

from __future__ import annotations

from datetime import timedelta

import asyncpg

from dts.domain.errors import AlreadyExists, InvalidArgument, NotFound
from dts.domain.ids import parse_id
from dts.pb.dts.v1 import AccessToken, EndTokenRequest, FindTokenRequest, Scope, StoreTokenRequest, TokenState
from dts.store.pool import errors
from dts.store.queries import sql

HASH_BYTES = 32
LISTED = 1000


class TokenStore:
    """Table access_token."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def add(self, request: StoreTokenRequest) -> AccessToken | None:
        """Stores a token; a second time it changes nothing. None: a first admin was wanted, and there is or was one.

        Raises:
            AlreadyExists: a token that is not revoked has this name, or this secret.
        """
        token = request.token or AccessToken()
        token_id = parse_id(token.id, field="token.id")
        with errors():
            await self._pool.execute(
                sql("store_token"),
                token_id,
                token.name,
                int(token.scope),
                _hash(request.sha256),
                token.prefix,
                token.created_by,
                request.ttl or timedelta(0),
                request.first_admin,
            )
            row = await self._pool.fetchrow(sql("token_by_id"), token_id)
        if row is None and not request.first_admin:
            why = f"there is a token named {token.name!r}; revoke it first, or choose another name"
            raise AlreadyExists(why, code="token.exists")
        return None if row is None else _token(row)

    async def all(self) -> list[AccessToken]:
        """Tokens, newest first, also those that no longer work."""
        with errors():
            return [_token(row) for row in await self._pool.fetch(sql("all_tokens"), LISTED)]

    async def end(self, request: EndTokenRequest) -> AccessToken:
        """Revokes a token by its name or id.

        Raises:
            NotFound: there never was such a token.
        """
        with errors():
            row = await self._pool.fetchrow(sql("end_token"), request.token)
        if row is None:
            raise NotFound(f"no token named {request.token!r}", code="token.unknown")
        return _token(row)

    async def find(self, request: FindTokenRequest) -> AccessToken | None:
        """The token with this hash, whether it works or not; None if there never was one."""
        with errors():
            row = await self._pool.fetchrow(sql("find_token"), _hash(request.sha256))
        return None if row is None else _token(row)


def _hash(given: bytes) -> bytes:
    if len(given) != HASH_BYTES:
        raise InvalidArgument.of("sha256", "token.hash", f"is a hash of {HASH_BYTES} bytes")
    return given


def _token(row: asyncpg.Record) -> AccessToken:
    return AccessToken(
        id=str(row["id"]),
        name=row["name"],
        scope=Scope(row["scope"]),
        prefix=row["prefix"],
        created_at=row["created_at"],
        created_by=row["created_by"],
        expires_at=row["expires_at"],
        last_used_at=row["last_used_at"],
        revoked_at=row["revoked_at"],
        state=_state(row),
    )


def _state(row: asyncpg.Record) -> TokenState:
    if row["revoked_at"] is not None:
        return TokenState.REVOKED
    return TokenState.ACTIVE if row["now"] < row["expires_at"] else TokenState.EXPIRED
