"""Access tokens: only hashes are kept, and a token that ended stays ended."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from dts.domain.errors import AlreadyExists, InvalidArgument, NotFound
from dts.pb.dts.v1 import (
    AccessToken,
    EndTokenRequest,
    FindTokenRequest,
    Scope,
    StoreTokenRequest,
    TokenState,
)
from dts.store.tokens import TokenStore

HOUR = timedelta(hours=1)


def digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def request(
    name: str = "anna", secret: str = "s", *, scope: Scope = Scope.VIEWER, ttl: timedelta = HOUR, first: bool = False
) -> StoreTokenRequest:
    token = AccessToken(id=str(uuid4()), name=name, scope=scope, prefix="dts_abc", created_by="root")
    return StoreTokenRequest(token=token, sha256=digest(secret), ttl=ttl, first_admin=first)


@pytest.fixture
def tokens(database) -> TokenStore:
    return TokenStore(database)


async def found(tokens: TokenStore, secret: str = "s") -> AccessToken | None:
    return await tokens.find(FindTokenRequest(sha256=digest(secret)))


async def test_a_token_is_found_by_the_hash_of_its_secret(tokens):
    asked = request(scope=Scope.OPERATOR)
    stored = await tokens.add(asked)
    token = await found(tokens)
    assert stored is not None
    assert token is not None
    assert (token.id, token.name, token.scope, token.prefix, token.created_by) == (
        asked.token.id,
        "anna",
        Scope.OPERATOR,
        "dts_abc",
        "root",
    )
    assert token.state is TokenState.ACTIVE
    assert token.expires_at - token.created_at == HOUR
    assert abs(token.created_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert await found(tokens, "other") is None


async def test_the_secret_itself_is_nowhere_in_the_database(tokens, database):
    await tokens.add(request(secret="dts_a-very-secret-word"))
    row = await database.fetchval("SELECT access_token::text FROM access_token")
    assert "very-secret" not in row


async def test_storing_the_same_token_again_changes_nothing(tokens):
    asked = request()
    assert await tokens.add(asked) == await tokens.add(asked)
    assert len(await tokens.all()) == 1


async def test_a_name_is_free_again_when_its_token_is_revoked(tokens):
    await tokens.add(request(secret="1"))
    with pytest.raises(AlreadyExists, match="revoke it first"):
        await tokens.add(request(secret="2"))
    await tokens.end(EndTokenRequest(token="anna"))
    await tokens.add(request(secret="2"))
    assert [token.state for token in await tokens.all()] == [TokenState.ACTIVE, TokenState.REVOKED]


async def test_two_tokens_never_share_a_secret(tokens):
    await tokens.add(request("anna"))
    with pytest.raises(AlreadyExists):
        await tokens.add(request("bert"))


async def test_a_token_is_revoked_by_name_or_id_and_only_once(tokens):
    await tokens.add(request("anna", "1"))
    await tokens.add(request("bert", "2"))
    by_name = await tokens.end(EndTokenRequest(token="anna"))
    assert by_name.state is TokenState.REVOKED
    assert (await tokens.end(EndTokenRequest(token=by_name.id.upper()))).revoked_at == by_name.revoked_at
    bert = await found(tokens, "2")
    assert (await tokens.end(EndTokenRequest(token=bert.id))).name == "bert"
    assert (await found(tokens, "1")).state is TokenState.REVOKED


async def test_a_name_means_the_token_that_works(tokens):
    await tokens.add(request(secret="1"))
    old = await tokens.end(EndTokenRequest(token="anna"))
    await tokens.add(request(secret="2"))
    new = await tokens.end(EndTokenRequest(token="anna"))
    assert new.id != old.id
    assert (await tokens.end(EndTokenRequest(token="anna"))).id == new.id


@pytest.mark.parametrize("name", ["nobody", "", "%", "ann_", "00000000-0000-0000-0000-000000000000"])
async def test_what_never_was_a_token_is_not_revoked(tokens, name):
    await tokens.add(request())
    with pytest.raises(NotFound):
        await tokens.end(EndTokenRequest(token=name))
    assert (await found(tokens)).state is TokenState.ACTIVE


async def test_an_expired_token_is_told_as_such(tokens, database):
    await tokens.add(request())
    await database.execute("UPDATE access_token SET expires_at = now()")
    assert (await found(tokens)).state is TokenState.EXPIRED


async def test_the_last_use_is_noted_once_in_a_minute_and_never_of_a_token_that_ended(tokens, database):
    await tokens.add(request())
    assert (await found(tokens)).last_used_at is None
    first = (await found(tokens)).last_used_at
    assert first is not None
    assert (await found(tokens)).last_used_at == first
    await database.execute("UPDATE access_token SET last_used_at = last_used_at - interval '2 minutes'")
    await found(tokens)
    assert (await found(tokens)).last_used_at > first
    await tokens.end(EndTokenRequest(token="anna"))
    await database.execute("UPDATE access_token SET last_used_at = NULL")
    await found(tokens)
    assert (await found(tokens)).last_used_at is None


async def test_the_first_admin_is_made_once(tokens):
    first = request("first-admin", "1", scope=Scope.ADMIN, first=True)
    assert (await tokens.add(first)).name == "first-admin"
    assert await tokens.add(first) is not None  # the same again, after a lost answer
    assert await tokens.add(request("second", "2", scope=Scope.ADMIN, first=True)) is None
    await tokens.end(EndTokenRequest(token="first-admin"))
    again = replace(first, token=replace(first.token, id=str(uuid4())))
    assert await tokens.add(again) is None
    assert await tokens.add(request("third", "3", scope=Scope.ADMIN, first=True)) is None


async def test_viewers_do_not_keep_the_first_admin_away(tokens):
    await tokens.add(request("viewer", "1"))
    assert await tokens.add(request("first-admin", "2", scope=Scope.ADMIN, first=True)) is not None


async def test_of_many_first_admins_at_once_one_is_made(tokens):
    wanted = [request("first-admin", "s", scope=Scope.ADMIN, first=True) for _ in range(8)]
    made = await asyncio.gather(*(tokens.add(one) for one in wanted))
    assert len([token for token in made if token]) == 1


@pytest.mark.parametrize("hashed", [b"", b"short", b"x" * 33])
async def test_what_is_no_hash_is_refused(tokens, hashed):
    with pytest.raises(InvalidArgument):
        await tokens.find(FindTokenRequest(sha256=hashed))
    with pytest.raises(InvalidArgument):
        await tokens.add(replace(request(), sha256=hashed))
