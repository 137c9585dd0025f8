"""`dts task`: definitions, and running them by hand."""

from __future__ import annotations

import typer

from dts.cli.errors import Failed, say
from dts.cli.output import FORMAT, Format, show, show_one
from dts.cli.task_create import create
from dts.cli.task_edit import edit, set_fields
from dts.cli.typers import group

app = group("Define tasks, look at them, run them by hand.")

NAME = typer.Argument(None, metavar="[NAME]", help="Name or id; asked for on a terminal if missing.")

app.command("create")(create)


@app.command("list")
def list_tasks(
    label: list[str] = typer.Option([], "--label", metavar="KEY=VALUE", help="Only tasks with this label."),
    prefix: str = typer.Option("", help="Only tasks whose name begins so."),
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
    show([task_shape(task) for task in tasks], [task_row(task) for task in tasks], header, form, empty=empty)


@app.command("show")
def show_task(name: str = NAME, form: Format = FORMAT) -> None:
    """Show a task with each policy that applies, and where it comes from."""
    from dts.cli.client import Client, call
    from dts.cli.shapes import task_shape
    from dts.cli.taskfile_write import spec_document
    from dts.cli.tasks import named, task_lines
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
def pause(name: str = NAME, note: str = typer.Option("", help="Why; shown wherever the task is shown.")) -> None:
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
def delete(
    name: str = NAME, yes: bool = typer.Option(False, "--yes", "-y", help="Do not ask, as it does on a terminal.")
) -> None:
    """Delete a task; its history stays, and what runs goes on."""
    from dts.cli.ask import confirmed
    from dts.cli.client import Client, call
    from dts.cli.tasks import named
    from dts.pb.dts.v1 import DeleteTaskRequest

    async def work(client: Client) -> str:
        task = await named(client, name)
        if not yes and not await confirmed(f"Delete {task}?"):
            raise Failed
        await client.tasks.delete_task(DeleteTaskRequest(task=task))
        return task

    print(f"{call(work)} deleted")


@app.command()
def history(name: str = NAME, form: Format = FORMAT) -> None:
    """List the versions of a task, newest first: who changed what, and when."""
    from dts.cli.client import Client, call
    from dts.cli.taskfile_write import spec_document
    from dts.cli.tasks import named
    from dts.cli.times import local, rfc3339
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


@app.command()
def trigger(
    name: str = NAME,
    wait: bool = typer.Option(False, "--wait", help="Wait until it is over; exit code 1 if it did not succeed."),
    follow: bool = typer.Option(False, "--follow", "-f", help="Print what it prints, and wait."),
    param: list[str] = typer.Option([], "--param", metavar="KEY=VALUE", help="Passed as DTS_PARAM_KEY; repeatable."),
    overlap: str | None = typer.Option(None, help="Instead of the task's own policy."),
) -> None:
    """Run a task now. Prints the id of the run. Never consumes a tick."""
    from uuid import UUID

    from dts.cli.client import Client, call
    from dts.cli.options import member, pairs
    from dts.cli.runs import copy_logs, end_of, told
    from dts.cli.tasks import named
    from dts.pb.dts.v1 import Overlap, Run, RunState, TriggerTaskRequest
    from dts.runtime.clock import random_bits

    async def work(client: Client) -> Run:
        request = TriggerTaskRequest(
            task=await named(client, name),
            overlap=member(Overlap, overlap, field="--overlap"),
            parameters=pairs(param, field="--param"),
            # Chosen here, so that asking again after a lost answer does not make a second run.
            request_id=str(UUID(int=random_bits(128), version=4)),
        )
        run = (await client.scheduler.trigger_task(request)).run or Run()
        if not (follow or wait):
            print(run.id)
            return run
        say(f"run {run.id}")
        if follow:
            await copy_logs(client, run.id, follow=True)
        return await end_of(client, run.id)

    run = call(work)
    if follow or wait:
        say(told(run))
        if run.state is not RunState.SUCCEEDED:
            raise Failed


@app.command()
def backfill(
    name: str = NAME,
    since: str = typer.Option(..., help="The first instant that counts: RFC 3339, or 7d for so long ago."),
    until: str = typer.Option("+0s", help="The first instant that no longer counts.", show_default="now"),
    overlap: str | None = typer.Option(None, help="Instead of queue_all."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Say how many; make none."),
) -> None:
    """Run the ticks of a past range, oldest first."""
    from dts.cli.client import Client, call
    from dts.cli.options import member
    from dts.cli.tasks import named
    from dts.cli.times import past
    from dts.pb.dts.v1 import BackfillTaskRequest, BackfillTaskResponse, Overlap

    async def work(client: Client) -> BackfillTaskResponse:
        request = BackfillTaskRequest(
            task=await named(client, name),
            since=past(since, field="--since"),
            until=past(until, field="--until"),
            overlap=member(Overlap, overlap, field="--overlap"),
            dry_run=dry_run,
        )
        return await client.scheduler.backfill_task(request)

    made = call(work)
    print(f"{made.ticks} ticks" + (", nothing was run" if dry_run else f", {len(made.runs)} runs made"))


@app.command()
def preview(
    name: str | None = typer.Argument(None, metavar="[NAME]", help="A task; or give a schedule."),
    cron: list[str] = typer.Option([], "--cron", metavar="EXPRESSION", help="A cron expression."),
    every: list[str] = typer.Option([], "--every", metavar="DURATION", help="An interval."),
    at: list[str] = typer.Option([], "--at", metavar="TIME", help="One instant."),
    timezone: str = typer.Option("", help="IANA zone, such as Europe/Zurich. [default: UTC]"),
    dialect: str | None = typer.Option(None, help="dts, cronie or robfig."),
    count: int = typer.Option(10, "-n", min=1, max=1000, help="How many ticks."),
    after: str | None = typer.Option(None, metavar="TIME", help="Ticks after this time. [default: now]"),
    form: Format = FORMAT,
) -> None:
    """The next ticks of a task or of a schedule that is not stored, and the clock changes that touch it."""
    from dts.cli.client import Client, call
    from dts.cli.options import schedule_of
    from dts.cli.previews import show_preview
    from dts.cli.times import instant
    from dts.domain.errors import InvalidArgument
    from dts.pb.dts.v1 import PreviewScheduleRequest, PreviewScheduleResponse

    schedule = schedule_of(cron, every, at, timezone=timezone, dialect=dialect)
    if (schedule is None) == (name is None):
        raise InvalidArgument.of("NAME", "preview.what", "give the name of a task, or one of --cron, --every and --at")
    request = PreviewScheduleRequest(
        task=name or "",
        schedule=schedule,
        count=count,
        after=instant(after, field="--after") if after else None,
    )

    async def work(client: Client) -> PreviewScheduleResponse:
        return await client.tasks.preview_schedule(request)

    show_preview(call(work), form)
