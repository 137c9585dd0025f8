"""`dts pki`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dts.cli.output import FORMAT, Format, show
from dts.cli.typers import group

if TYPE_CHECKING:
    from dts.app.pki import Issued

app = group("Certificates with which the roles know each other (mutual TLS). Asks no server.")

DIRECTORY = typer.Option(Path("dts-pki"), "--dir", metavar="DIR", help="Where the CA is. Keep it off the nodes.")
NAMES = typer.Option(
    None, "--name", metavar="HOST", help="A host name or address that people reach the gateway at; repeatable."
)
KEPT_NAMES = typer.Option(
    None,
    "--name",
    metavar="HOST",
    help="A host name or address that callers reach the process at; repeatable. [default: those it had]",
)
DAYS = typer.Option(398, "--days", metavar="N", min=1, max=3650, help="How long certificates work.")
ROLES = typer.Argument(..., metavar="ROLE[,ROLE]", help="The roles of the process, such as scheduler.")
NODE = typer.Option("", "--node", metavar="ID", help="For an executor: the only Swarm node whose work it may do.")
FILES = typer.Argument(..., metavar="FILE...", help="Certificates in PEM.")

EACH = ("database", "definition", "scheduler", "gateway", "executor")


@app.command()
def init(directory: Path = DIRECTORY, names: list[str] | None = NAMES, days: int = DAYS) -> None:
    """Make a CA and a certificate for each role; print what to give to the Swarm."""
    from datetime import timedelta

    from dts.app import pki
    from dts.runtime import clock

    now = clock.now()
    pki.make_ca(directory, now=now)
    for role in EACH:
        known_by = names or [] if role == "gateway" else []
        pki.issue(directory, [role], now=now, names=known_by, life=timedelta(days=days))
    print(f"# {directory / pki.CA_KEY} makes further certificates: keep it safe, and off the nodes.")
    print(f"docker secret create dts_tls_ca {directory / pki.CA}")
    for role in EACH:
        print(f"docker secret create dts_tls_{role} {directory / f'{role}.pem'}")


@app.command()
def issue(
    roles: str = ROLES,
    directory: Path = DIRECTORY,
    names: list[str] | None = KEPT_NAMES,
    node: str = NODE,
    days: int = DAYS,
) -> None:
    """Make a certificate, or renew the one that is there with the names it has."""
    from datetime import timedelta

    from dts.app import pki
    from dts.runtime import clock

    given = [role.strip() for role in roles.split(",")]
    life = timedelta(days=days)
    made = pki.issue(directory, given, now=clock.now(), node=node, names=names or None, life=life)
    print(f"{made.path}  {', '.join(made.roles)} until {made.not_after:%Y-%m-%d}")


@app.command("show")
def show_files(files: list[Path] = FILES, form: Format = FORMAT) -> None:
    """Say what certificates are for, and until when."""
    from dts.app import pki

    found = [pki.read(path) for path in files]
    table = [
        (
            str(one.path),
            "CA" if one.ca else ", ".join(one.roles) or "-",
            one.node or "-",
            f"{one.not_after:%Y-%m-%d}",
            ", ".join(one.names) or "-",
        )
        for one in found
    ]
    show([_shape(one) for one in found], table, ("FILE", "ROLE", "NODE", "UNTIL", "NAMES"), form, empty="")


def _shape(one: Issued) -> dict[str, Any]:
    from dts.domain.words import rfc3339

    return {
        "path": str(one.path),
        "ca": one.ca,
        "roles": list(one.roles),
        "node": one.node,
        "names": list(one.names),
        "not_before": rfc3339(one.not_before),
        "not_after": rfc3339(one.not_after),
    }
