"""`dts export`."""

from __future__ import annotations

import typer

from dts.cli.completion import tasks
from dts.cli.typers import single

app = single()


@app.command()
def export(
    names: list[str] = typer.Argument(None, metavar="[NAME...]", help="Only these tasks.", autocompletion=tasks),
) -> None:
    """Print tasks as a file that `dts apply` takes."""
    from dts.cli.client import Client, call
    from dts.cli.tasks import all_tasks
    from dts.domain.taskfile import dump_tasks
    from dts.pb.dts.v1 import GetTaskRequest, Task

    async def work(client: Client) -> list[Task]:
        if not names:
            return await all_tasks(client)
        found = [(await client.tasks.get_task(GetTaskRequest(task=name))).task for name in names]
        return [task for task in found if task is not None]

    print(dump_tasks([task.spec for task in call(work) if task.spec is not None]), end="")
