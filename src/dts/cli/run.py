"""`dts run`: what ran."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer

from dts.cli import completion
from dts.cli.ask import needed
from dts.cli.errors import Failed
from dts.cli.output import FORMAT, Format, show, show_one
from dts.cli.typers import group

app = group("What ran, what it printed; stop it, run it again. An id may be shortened to any unique beginning.")


def _run(autocompletion: Callable[[str], list[completion.Offer]]) -> Any:
    """The argument that names a run."""
    return typer.Argument(
        None,
        metavar="[ID]",
        callback=needed,
        help="Id, or a unique beginning of it; picked on a terminal if missing.",
        autocompletion=autocompletion,
    )


RUN = _run(completion.runs)
LIVE = _run(completion.live_runs)
PAST = _run(completion.past_runs)
SHORT = 8


@app.command("list")
def list_runs(
    task: str | None = typer.Option(
        None, "--task", metavar="NAME", help="Only runs of this task.", autocompletion=completion.tasks
    ),
    state: list[str] = typer.Option([], "--state", metavar="STATE", help="Only runs in this state; repeatable."),
    since: str | None = typer.Option(None, metavar="TIME", help="Not older than this: 24h, or RFC 3339."),
    limit: int = typer.Option(50, min=1, max=100_000, metavar="N", help="At most so many."),
    form: Format = FORMAT,
) -> None:
    """List runs, newest first."""
    from dts.cli.client import Client, call
    from dts.cli.runs import find_runs, run_row
    from dts.cli.shapes import run_shape
    from dts.pb.dts.v1 import Run

    async def work(client: Client) -> list[Run]:
        return await find_runs(client, task=task, states=state, since=since, limit=limit)

    runs = call(work)
    header = ("ID", "TASK", "SCHEDULED", "STATE", "REASON", "LATE", "TOOK", "NODE")
    show(
        [run_shape(run) for run in runs],
        [run_row(run) for run in runs],
        header,
        form,
        empty="no runs",
        spare=("LATE", "TOOK", "NODE"),
    )


@app.command("show")
def show_run(run: str = RUN, form: Format = FORMAT) -> None:
    """Show a run and each of its attempts."""
    from dts.cli.client import Client, call
    from dts.cli.runs import picked, run_lines
    from dts.cli.shapes import attempt_shape, run_shape
    from dts.pb.dts.v1 import GetRunRequest, GetRunResponse, Run

    async def work(client: Client) -> GetRunResponse:
        return await client.scheduler.get_run(GetRunRequest(run=await picked(client, run)))

    answer = call(work)
    found = answer.run or Run()
    said = [(f"node {each.node}", each.reason) for each in answer.nodes]
    shape = run_shape(found) | {
        "parameters": dict(found.parameters),
        "attempts": [attempt_shape(attempt) for attempt in found.attempts],
        "nodes": {each.node: each.reason for each in answer.nodes},
    }
    show_one(shape, run_lines(found) + said, form)


@app.command()
def logs(
    run: str = RUN,
    follow: bool = typer.Option(False, "-f", "--follow", help="Go on until the run is over."),
    attempt: int = typer.Option(
        0, min=0, max=1_000_000, metavar="N", help="Only this attempt. [default: all]", show_default=False
    ),
) -> None:
    """Print what a run printed: its standard output on ours, its errors on ours."""
    from dts.cli.client import Client, call
    from dts.cli.patience import Patience
    from dts.cli.runs import copy_logs, picked

    async def work(client: Client) -> None:
        await copy_logs(client, await picked(client, run), Patience(), follow=follow, attempt=attempt)

    call(work)


@app.command()
def cancel(run: str = LIVE) -> None:
    """Ask that a run be stopped: at once if it has not started, else with its stop signal and grace."""
    from dts.cli.client import Client, call
    from dts.cli.runs import picked
    from dts.domain.runs import LIVE
    from dts.domain.words import word
    from dts.pb.dts.v1 import CancelRunRequest, Run

    async def work(client: Client) -> Run:
        return (await client.scheduler.cancel_run(CancelRunRequest(run=await picked(client, run, LIVE)))).run or Run()

    found = call(work)
    asked = " (asked to stop)" if found.cancel_requested else ""
    print(f"{found.id[:SHORT]} {word(found.state)}{asked}")


@app.command()
def retry(run: str = PAST) -> None:
    """Run a finished run again, as a run of its own; prints its id."""
    from dts.cli.client import Client, call
    from dts.cli.patience import ASK_SECONDS, Patience, request_id, requested
    from dts.cli.runs import picked
    from dts.domain.runs import FINAL
    from dts.pb.dts.v1 import RetryRunRequest, Run

    async def work(client: Client) -> Run:
        request = RetryRunRequest(run=await picked(client, run, FINAL), request_id=request_id())
        patience, look = Patience(ASK_SECONDS), f"dts run show {request.request_id}"
        return (await requested(lambda: client.scheduler.retry_run(request), patience, look=look)).run or Run()

    print(call(work).id)


@app.command()
def wait(
    runs: list[str] | None = typer.Argument(
        None,
        metavar="[ID...]",
        help="Ids, or unique beginnings of them; picked on a terminal if missing.",
        autocompletion=completion.live_runs,
    ),
) -> None:
    """Wait until runs are over. Exit code 1 if one of them did not succeed."""
    from dts.cli.client import Client, call
    from dts.cli.patience import Patience
    from dts.cli.progress import progress
    from dts.cli.runs import end_of, picked, told
    from dts.domain.runs import LIVE
    from dts.pb.dts.v1 import Run, RunState

    async def work(client: Client) -> Sequence[Run]:
        ended: list[Run] = []
        patience = Patience()
        wanted = runs or [await picked(client, None, LIVE)]
        with progress("waiting", total=len(wanted)) as shown:
            for run in wanted:
                ended.append(await end_of(client, run, patience, shown))
                shown.reached(len(ended))
        return ended

    ended = call(work)
    for run in ended:
        print(told(run))
    sys.stdout.flush()
    if any(run.state is not RunState.SUCCEEDED for run in ended):
        raise Failed
