"""`dts token` as a user gives it, and what the tokens that it makes are good for."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from support.polling import eventually
from support.postgres import TestServer, open_directory
from support.system import Done, System, dev, run_dts

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = re.compile(r"dts_[A-Za-z0-9_-]{43}")
FIRST = "dts_" + "F" * 43


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(postgres: TestServer) -> AsyncIterator[System]:
    dsn = await postgres.create()
    with open_directory() as data:
        secret = data / "first-admin"
        secret.write_text(FIRST + "\n")
        async with dev(data, environment={"DTS_DSN": dsn, "DTS_ADMIN_TOKEN_FILE": str(secret)}) as running:
            yield running
    await postgres.drop(dsn)


async def as_bearer(system: System, secret: str, *arguments: str) -> Done:
    return await run_dts(*arguments, environment={"DTS_SERVER": system.grpc, "DTS_TOKEN": secret})


async def made(system: System, name: str, scope: str, *options: str) -> str:
    done = await system.dts("token", "create", name, "--scope", scope, *options)
    assert done.code == 0, done
    return done.out.strip()


async def test_a_secret_alone_goes_to_standard_output(system):
    done = await system.dts("token", "create", "anna", "--scope", "viewer", "--expires", "30d")
    assert done.code == 0
    assert SECRET.fullmatch(done.out.removesuffix("\n"))
    assert done.err.startswith("anna: viewer until ")
    assert "not shown again" in done.err


async def test_tokens_are_listed_without_their_secrets(system):
    secret = await made(system, "lena", "operator")
    table = await system.dts("token", "list")
    [listed] = [t for t in json.loads((await system.dts("token", "list", "-o", "json")).out) if t["name"] == "lena"]
    assert (listed["scope"], listed["state"], listed["created_by"]) == ("operator", "active", "operator")
    assert secret.startswith(listed["prefix"])
    assert len(listed["prefix"]) == 12
    assert secret not in table.out + json.dumps(listed)
    assert re.search(r"lena +operator +active +dts_", table.out)


async def test_a_viewer_reads_and_does_not_write(system):
    secret = await made(system, "reader", "viewer")
    assert (await as_bearer(system, secret, "task", "list")).code == 0
    refused = await as_bearer(system, secret, "task", "create", "mine", "--noop")
    assert refused.code == 5
    assert "CreateTask needs the scope operator; reader has the scope viewer" in refused.err


async def test_changes_are_attributed_to_the_name_of_the_token(system):
    secret = await made(system, "writer", "operator")
    assert (await as_bearer(system, secret, "task", "create", "hers", "--noop")).code == 0
    shown = json.loads((await as_bearer(system, secret, "task", "history", "hers", "-o", "json")).out)
    assert [version["actor"] for version in shown] == ["writer"]
    refused = await as_bearer(system, secret, "token", "list")
    assert refused.code == 5
    assert "ListTokens needs the scope admin" in refused.err


async def test_a_revoked_token_stops_working(system):
    secret = await made(system, "leaver", "viewer")
    assert (await as_bearer(system, secret, "task", "list")).code == 0
    assert (await system.dts("token", "revoke", "leaver")).out == "leaver revoked\n"

    async def refused() -> bool:
        done = await as_bearer(system, secret, "task", "list")
        return done.code == 5 and "the token leaver was revoked" in done.err

    await eventually(refused, within=5)


async def test_the_first_admin_makes_the_other_tokens(system):
    done = await as_bearer(system, FIRST, "token", "create", "second-admin", "--scope", "admin", "-o", "json")
    assert done.code == 0, done
    token = json.loads(done.out)
    assert SECRET.fullmatch(token["secret"])
    assert token["created_by"] == "first-admin"
    assert (await as_bearer(system, token["secret"], "token", "revoke", "first-admin")).code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("create", "x", "--scope", "root"), 2, "viewer, operator, admin"),
        (("create", "x"), 2, "scope"),
        (("create", "a b", "--scope", "viewer"), 2, "letters, digits"),
        (("create", "operator", "--scope", "viewer"), 2, "a name of dts itself"),
        (("create", "x", "--scope", "viewer", "--expires", "367d"), 2, "from 1m to 366d"),
        (("create", "x", "--scope", "viewer", "--expires", "1s"), 2, "from 1m to 366d"),
        (("create", "x", "--scope", "viewer", "--expires", "soon"), 2, "--expires"),
        (("revoke", "nobody"), 3, "no token named 'nobody'"),
    ],
)
async def test_what_cannot_be_done_is_said(system, arguments, code, words):
    done = await system.dts("token", *arguments)
    assert (done.code, done.out) == (code, "")
    assert words in done.err


async def test_a_name_is_taken_until_its_token_is_revoked(system):
    await made(system, "twin", "viewer")
    again = await system.dts("token", "create", "twin", "--scope", "viewer")
    assert again.code == 1
    assert "revoke it first" in again.err


async def test_generate_asks_no_server_and_never_says_the_same_twice():
    one, other = [(await run_dts("token", "generate", environment={"DTS_SERVER": "127.0.0.1:1"})).out for _ in "12"]
    assert SECRET.fullmatch(one.strip())
    assert one != other
