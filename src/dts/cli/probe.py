"""`dts probe`."""

from __future__ import annotations

import typer

from dts.cli.errors import Failed
from dts.cli.typers import single

app = single()

HTTP = "http://127.0.0.1:7462/healthz"
GRPC = "127.0.0.1:7461"


@app.command()
def probe(
    http: str | None = typer.Option(None, metavar="URL", help=f"Ask this page; 200 is well. [default: {HTTP}]"),
    grpc: str | None = typer.Option(None, metavar="HOST:PORT", help="Ask the health service of gRPC instead."),
    timeout: float = typer.Option(3.0, min=0.1, max=60.0, metavar="SECONDS", help="How long to wait for the answer."),
) -> None:
    """Does the process on this machine answer? Exit code 1 if not. For the health checks of containers.

    Without options it asks over HTTP, and by gRPC if nothing listens there. No token is needed. It says nothing about
    other parts: `dts status` does, and the page /readyz.
    """
    from dts.cli import probing

    if http is not None and grpc is not None:
        raise typer.BadParameter("only one of --http and --grpc may be given")
    try:
        if grpc is not None:
            said = probing.by_grpc(grpc, timeout)
        elif http is not None:
            said = probing.by_http(http, timeout)
        else:
            said = probing.by_either(HTTP, GRPC, timeout)
    except probing.Unwell as unwell:
        print(unwell)
        raise Failed from None
    print(said)
