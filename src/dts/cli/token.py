"""`dts token`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import typer

from dts.cli.ask import YES
from dts.cli.output import FORMAT, Format, dump, show
from dts.cli.typers import group

if TYPE_CHECKING:
    from dts.pb.dts.v1 import AccessToken

app = group("Who may call: access tokens of people and programs.")

NAME = typer.Argument(..., metavar="NAME", help="Whose it is; changes are attributed to this name.")
SCOPE = typer.Option(
    ..., "--scope", metavar="SCOPE", help="viewer (read), operator (also define, run, stop) or admin (also tokens)."
)
EXPIRES = typer.Option("90d", "--expires", metavar="DURATION", help="How long it works, from 1m to 366d.")
KEY = typer.Argument(..., metavar="NAME|ID", help="Name or id of the token.")


@app.command()
def create(name: str = NAME, scope: str = SCOPE, expires: str = EXPIRES, form: Format = FORMAT) -> None:
    """Make a token. Its secret alone goes to standard output, this once."""
    from dts.cli.client import Client, call
    from dts.cli.options import member
    from dts.cli.times import duration, local
    from dts.domain.words import word
    from dts.pb.dts.v1 import AccessToken, CreateTokenRequest, CreateTokenResponse, Scope

    ttl = duration(expires, field="--expires")
    request = CreateTokenRequest(name=name, scope=member(Scope, scope, field="--scope"), ttl=ttl)

    async def work(client: Client) -> CreateTokenResponse:
        return await client.access.create_token(request)

    made = call(work)
    token = made.token or AccessToken()
    if form is not Format.TABLE:
        dump(_shape(token) | {"secret": made.secret}, form)
        return
    print(made.secret)
    until = f"{word(token.scope)} until {local(token.expires_at)}"
    print(f"{token.name}: {until}; the secret is not shown again", file=sys.stderr)


@app.command("list")
def list_tokens(form: Format = FORMAT) -> None:
    """List tokens, newest first, also those that no longer work."""
    from dts.cli.client import Client, call
    from dts.cli.times import local
    from dts.domain.words import word
    from dts.pb.dts.v1 import ListTokensRequest

    async def work(client: Client) -> list[AccessToken]:
        return (await client.access.list_tokens(ListTokensRequest())).tokens

    tokens = call(work)
    table = [
        (
            token.name,
            word(token.scope),
            word(token.state),
            token.prefix,
            local(token.expires_at),
            local(token.last_used_at) if token.last_used_at else "never",
            token.created_by,
            token.id,
        )
        for token in tokens
    ]
    header = ("NAME", "SCOPE", "STATE", "BEGINS", "EXPIRES", "LAST USED", "MADE BY", "ID")
    show(
        [_shape(token) for token in tokens],
        table,
        header,
        form,
        empty="no token was ever made",
        spare=("ID", "BEGINS", "MADE BY", "LAST USED"),
    )


@app.command()
def revoke(token: str = KEY, yes: bool = YES) -> None:
    """Revoke a token: within 5 seconds nothing takes it any more."""
    from dts.cli.ask import agreed
    from dts.cli.client import Client, call
    from dts.pb.dts.v1 import AccessToken, RevokeTokenRequest

    async def work(client: Client) -> AccessToken:
        await agreed(f"Revoke {token}?", yes=yes)
        return (await client.access.revoke_token(RevokeTokenRequest(token=token))).token or AccessToken()

    print(f"{call(work).name} revoked")


@app.command()
def generate() -> None:
    """Print a new secret, for the file that DTS_ADMIN_TOKEN_FILE names. Asks no server."""
    from dts.domain.tokens import new_secret
    from dts.runtime.clock import random_bits

    print(new_secret(random_bits))


def _shape(token: AccessToken) -> dict[str, Any]:
    from dts.domain.words import rfc3339, word

    return {
        "id": token.id,
        "name": token.name,
        "scope": word(token.scope),
        "state": word(token.state),
        "prefix": token.prefix,
        "created_at": rfc3339(token.created_at),
        "created_by": token.created_by,
        "expires_at": rfc3339(token.expires_at),
        "last_used_at": rfc3339(token.last_used_at),
        "revoked_at": rfc3339(token.revoked_at),
    }
