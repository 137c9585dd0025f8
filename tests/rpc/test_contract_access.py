"""Access Service, over both transports."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from contract import Cases, methods, reached, refusal

from dts.domain import errors
from dts.domain.access import RESERVED
from dts.domain.tokens import FIRST_ADMIN, MOST_TTL, TTL, first_admin, hash_of, is_secret, new_secret
from dts.pb.dts.v1 import (
    AccessServiceBase,
    AccessServiceStub,
    CreateTokenRequest,
    FindTokenRequest,
    ListTokensRequest,
    RevokeTokenRequest,
    Scope,
    TokenState,
)
from dts.roles.database.service import DatabaseService
from dts.roles.definition.access import AccessService
from dts.rpc.direct import in_process
from dts.runtime import clock
from support.ledger import Ledger
from support.rpc import both_transports

case = Cases()
pytestmark = both_transports


@pytest.fixture
def world(database):
    return Ledger.on(database)


@pytest.fixture
async def access(transport, world):
    store = in_process(DatabaseService(world.store))
    service = AccessService(store, now=clock.now, rand=clock.random_bits, actor=lambda: "tester")
    async with reached(transport, AccessServiceBase, AccessServiceStub, service) as contract:
        yield contract


@pytest.mark.parametrize("method", methods(AccessServiceBase))
async def test_every_call_about_tokens_keeps_its_contract(method, access, world):
    await case[method](access, world)
    assert access.was_called(method)


def creating(name="anna", scope=Scope.VIEWER, ttl=None):
    return CreateTokenRequest(name=name, scope=scope, ttl=ttl)


@case
async def create_token(access, world):
    made = await access.create_token(creating(scope=Scope.OPERATOR))
    token = made.token
    assert is_secret(made.secret)
    assert (token.name, token.scope, token.created_by, token.state) == (
        "anna",
        Scope.OPERATOR,
        "tester",
        TokenState.ACTIVE,
    )
    assert token.prefix == made.secret[:12]
    assert token.expires_at - token.created_at == TTL
    assert abs(token.created_at - datetime.now(UTC)) < timedelta(minutes=1)
    found = await world.store.tokens.find(FindTokenRequest(sha256=hash_of(made.secret)))
    assert found.id == token.id
    other = await access.create_token(creating("bert", ttl=MOST_TTL))
    assert other.secret != made.secret
    assert other.token.expires_at - other.token.created_at == MOST_TTL


@case
async def list_tokens(access, world):  # noqa: ARG001 - every case is given the same
    for name in ("anna", "bert"):
        await access.create_token(creating(name))
    tokens = (await access.list_tokens(ListTokensRequest())).tokens
    assert [token.name for token in tokens] == ["bert", "anna"]


@case
async def revoke_token(access, world):  # noqa: ARG001
    made = (await access.create_token(creating())).token
    for key in ("anna", made.id):
        revoked = (await access.revoke_token(RevokeTokenRequest(token=key))).token
        assert (revoked.id, revoked.state) == (made.id, TokenState.REVOKED)


REFUSED = {
    "no name": (creating(""), "name"),
    "a name with a blank": (creating("a b"), "name"),
    "a long name": (creating("a" * 64), "name"),
    "an id as a name": (creating("01234567-89ab-cdef-0123-456789abcdef"), "name"),
    "an id without signs as a name": (creating("0123456789abcdef0123456789abcdef"), "name"),
    "no scope": (creating(scope=Scope.UNSPECIFIED), "scope"),
    "a scope from the future": (creating(scope=Scope(7)), "scope"),
    "less than a minute": (creating(ttl=timedelta(seconds=59)), "ttl"),
    "nothing": (creating(ttl=timedelta(0)), "ttl"),
    "more than a year": (creating(ttl=MOST_TTL + timedelta(seconds=1)), "ttl"),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_is_wrong_with_a_token_is_named(what, access):
    request, field = REFUSED[what]
    error = await refusal(access, "create_token", request)
    assert [violation.field for violation in error.violations] == [field]


async def test_everything_that_is_wrong_is_named_at_once(access):
    error = await refusal(access, "create_token", CreateTokenRequest(ttl=timedelta(days=1000)))
    assert [violation.field for violation in error.violations] == ["name", "scope", "ttl"]


async def test_nobody_passes_for_a_part_of_dts(access):
    for name in [*RESERVED, "Gateway"]:
        error = await refusal(access, "create_token", creating(name))
        assert error.violations[0].code == "token.reserved"


async def test_a_token_that_is_not_there_cannot_be_revoked(access):
    assert isinstance(await refusal(access, "revoke_token", RevokeTokenRequest(token="x")), errors.NotFound)
    for key in ("", "a" * 64, "\x00", "ä"):
        assert isinstance(await refusal(access, "revoke_token", RevokeTokenRequest(token=key)), errors.InvalidArgument)


async def test_whoever_installed_dts_is_the_first_admin_once(access, world):
    secret = new_secret(clock.random_bits)
    made = await world.store.tokens.add(first_admin(secret, uuid4()))
    assert (made.name, made.scope, made.prefix) == (FIRST_ADMIN, Scope.ADMIN, secret[:12])
    await access.revoke_token(RevokeTokenRequest(token=FIRST_ADMIN))
    assert await world.store.tokens.add(first_admin(secret, uuid4())) is None
    assert await world.store.tokens.add(first_admin(new_secret(clock.random_bits), uuid4())) is None
