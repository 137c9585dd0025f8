"""`dts node`."""

from __future__ import annotations

import typer

from dts.cli import completion
from dts.cli.ask import needed
from dts.cli.output import FORMAT, Format, show, show_one
from dts.cli.typers import group
from dts.domain.errors import NotFound

app = group("Where work runs.")

NODE = typer.Argument(
    None,
    metavar="[NAME]",
    callback=needed,
    help="Name or id; picked on a terminal if missing.",
    autocompletion=completion.nodes,
)


@app.command("list")
def list_nodes(form: Format = FORMAT) -> None:
    """List nodes."""
    from dts.cli.client import Client, call
    from dts.cli.nodes import state_words
    from dts.cli.shapes import node_shape
    from dts.cli.times import local
    from dts.pb.dts.v1 import ListNodesRequest, Node

    async def work(client: Client) -> list[Node]:
        return (await client.scheduler.list_nodes(ListNodesRequest())).nodes

    nodes = call(work)
    table = [
        (
            node.hostname,
            state_words(node),
            ",".join(node.kinds),
            f"{node.running}/{node.capacity.slots}" if node.capacity else "",
            " ".join(f"{key}={value}" for key, value in sorted(node.labels.items())),
            local(node.last_seen_at),
            node.version,
        )
        for node in nodes
    ]
    header = ("NODE", "STATE", "KINDS", "RUNS", "LABELS", "LAST SEEN", "VERSION")
    show(
        [node_shape(node) for node in nodes],
        table,
        header,
        form,
        empty="no executor has ever attached",
        spare=("VERSION", "LAST SEEN"),
    )


@app.command("show")
def show_node(node: str = NODE, form: Format = FORMAT) -> None:
    """Show a node."""
    from dts.cli.client import Client, call
    from dts.cli.nodes import node_lines, picked
    from dts.cli.shapes import node_shape
    from dts.pb.dts.v1 import ListNodesRequest, Node

    async def work(client: Client) -> Node:
        nodes = (await client.scheduler.list_nodes(ListNodesRequest())).nodes
        wanted = await picked(client, node)
        found = next((each for each in nodes if wanted in {each.hostname, each.id}), None)
        if found is None:
            raise NotFound(f"no node named {wanted!r}", code="node.unknown")
        return found

    found = call(work)
    shape = node_shape(found) | {
        "platform": found.platform,
        "role": found.role,
        "engine_labels": dict(found.engine_labels),
        "missing_kinds": dict(found.missing_kinds),
        "drain_note": found.drain_note,
    }
    show_one(shape, node_lines(found), form)


@app.command()
def drain(
    node: str = NODE, note: str = typer.Option("", metavar="TEXT", help="Why; shown wherever the node is shown.")
) -> None:
    """Let a node finish what it has and take nothing new."""
    from dts.cli.client import Client, call
    from dts.cli.nodes import picked
    from dts.domain.words import word
    from dts.pb.dts.v1 import DrainNodeRequest, Node

    async def work(client: Client) -> Node:
        return (
            await client.scheduler.drain_node(DrainNodeRequest(node=await picked(client, node), note=note))
        ).node or Node()

    found = call(work)
    print(f"{found.hostname} {word(found.state)}; {found.running} still running")


@app.command()
def resume(node: str = NODE) -> None:
    """Let a drained node take work again."""
    from dts.cli.client import Client, call
    from dts.cli.nodes import picked
    from dts.domain.words import word
    from dts.pb.dts.v1 import Node, ResumeNodeRequest

    async def work(client: Client) -> Node:
        return (await client.scheduler.resume_node(ResumeNodeRequest(node=await picked(client, node)))).node or Node()

    found = call(work)
    print(f"{found.hostname} {word(found.state)}")
