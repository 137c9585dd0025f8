"""`dts task`: definitions, and running them by hand."""

from __future__ import annotations

import typer

from dts.cli.ask import YES
from dts.cli.output import FORMAT, Format, show, show_one
from dts.cli.task_create import create
from dts.cli.task_edit import edit, set_fields
from dts.cli.task_runs import NAME, backfill, preview, trigger
from dts.cli.typers import group

app = group("Define tasks, look at them, run them by hand.")

app.command("create")(create)


@app.command("list")
def list_tasks(
    label: list[str] = typer.Option([], "--label", metavar="KEY=VALUE", help="Only tasks with this label."),
    prefix: str = typer.Option("", metavar="TEXT", help="Only tasks whose name begins so."),
    form: Format = FORMAT,
) -> None:
    """List tasks by name."""
    from dts.cli.client import Client, call
    from dts.cli.options import pairs
    from dts.cli.shapes import task_shape
    from dts.cli.tasks import all_tasks, task_row
    from dts.pb.dts.v1 import Task

    async def work(client: Client) -> list[Task]:
        return await all_tasks(client, labels=pairs(label, field="--label"), prefix=prefix)

    tasks = call(work)
    header = ("TASK", "SCHEDULE", "ZONE", "KIND", "STATE", "NEXT", "LAST RUN")
    empty = "no tasks; make one with `dts task create` or `dts apply -f FILE`"
    show(
        [task_shape(task) for task in tasks],
        [task_row(task) for task in tasks],
        header,
        form,
        empty=empty,
        spare=("KIND", "ZONE"),
    )


@app.command("show")
def show_task(name: str = NAME, form: Format = FORMAT) -> None:
    """Show a task with each policy that applies, and where it comes from."""
    from dts.cli.client import Client, call
    from dts.cli.shapes import task_shape
    from dts.cli.tasks import named, task_lines
    from dts.domain.taskfile_write import spec_document
    from dts.pb.dts.v1 import GetTaskRequest, GetTaskResponse, Task, TaskSpec

    async def work(client: Client) -> GetTaskResponse:
        return await client.tasks.get_task(GetTaskRequest(task=await named(client, name)))

    found = call(work)
    task = found.task or Task()
    policies = {value.name: {"value": value.value, "source": value.source} for value in found.effective}
    shape = task_shape(task) | {
        "pause_note": task.pause_note,
        "definition": spec_document(task.spec or TaskSpec()),
        "policies": policies,
    }
    show_one(shape, task_lines(task, found.effective), form)


app.command("edit")(edit)
app.command("set")(set_fields)


@app.command()
def pause(
    name: str = NAME,
    note: str = typer.Option("", metavar="TEXT", help="Why; `dts task show` and `dts explain` say it."),
) -> None:
    """Let a task owe nothing until it is resumed."""
    from dts.cli.client import Client, call
    from dts.cli.tasks import named
    from dts.pb.dts.v1 import PauseTaskRequest

    async def work(client: Client) -> str:
        task = await named(client, name)
        await client.tasks.pause_task(PauseTaskRequest(task=task, note=note))
        return task

    print(f"{call(work)} paused")


@app.command()
def resume(name: str = NAME) -> None:
    """Let a paused task go on; what passed meanwhile is recorded, not run."""
    from dts.cli.client import Client, call
    from dts.cli.tasks import named
    from dts.cli.times import local
    from dts.pb.dts.v1 import ResumeTaskRequest, Task

    async def work(client: Client) -> Task:
        task = await named(client, name)
        return (await client.tasks.resume_task(ResumeTaskRequest(task=task))).task or Task()

    task = call(work)
    due = f"; next due {local(task.next_due_at)}" if task.next_due_at else ""
    print(f"{task.spec.name if task.spec else name} resumed{due}")


@app.command()
def delete(name: str = NAME, yes: bool = YES) -> None:
    """Delete a task; its history stays, and what runs goes on."""
    from dts.cli.ask import agreed
    from dts.cli.client import Client, call
    from dts.cli.tasks import named
    from dts.pb.dts.v1 import DeleteTaskRequest

    async def work(client: Client) -> str:
        task = await named(client, name)
        await agreed(f"Delete {task}?", yes=yes)
        await client.tasks.delete_task(DeleteTaskRequest(task=task))
        return task

    print(f"{call(work)} deleted")


@app.command()
def history(name: str = NAME, form: Format = FORMAT) -> None:
    """List the versions of a task, newest first: who changed what, and when."""
    from dts.cli.client import Client, call
    from dts.cli.tasks import named
    from dts.cli.times import local
    from dts.domain.taskfile_write import spec_document
    from dts.domain.words import rfc3339
    from dts.pb.dts.v1 import ListTaskVersionsRequest, TaskSpec, TaskVersion

    async def work(client: Client) -> list[TaskVersion]:
        task = await named(client, name)
        return (await client.tasks.list_task_versions(ListTaskVersionsRequest(task=task))).versions

    versions = call(work)
    shapes = [
        {
            "version": version.version,
            "change": version.change,
            "actor": version.actor,
            "note": version.note,
            "created_at": rfc3339(version.created_at),
            "definition": spec_document(version.spec or TaskSpec()),
        }
        for version in versions
    ]
    table = [(str(v.version), v.change, v.actor, local(v.created_at), v.note) for v in versions]
    show(shapes, table, ("VERSION", "CHANGE", "BY", "WHEN", "NOTE"), form, empty="no versions")


for command in (trigger, backfill, preview):
    app.command()(command)
