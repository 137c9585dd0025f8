"""Brings together what a run left behind."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Container, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from dts.pb.dts.v1 import (
    Attempt,
    ListRunsRequest,
    ListTasksRequest,
    LogStream,
    Run,
    SchedulerServiceStub,
    TailLogsRequest,
    TaskDefinitionServiceStub,
)
from faults.model import Leftover, Listed, Log, Row, Text, Try, Witness

PAGE = 1000


async def rows(scheduler: SchedulerServiceStub, nodes: Mapping[str, str]) -> list[Row]:
    """The whole ledger, as people read it. nodes: what witnesses call a node, by what the ledger calls it."""
    return [row_of(run, nodes) async for run in _runs(scheduler)]


async def listed(tasks: TaskDefinitionServiceStub) -> list[Listed]:
    """All tasks that there are."""
    found: list[Listed] = []
    token = ""
    while True:
        page = await tasks.list_tasks(ListTasksRequest(page_size=PAGE, page_token=token))
        found += [Listed(task.spec.name, task.enabled) for task in page.tasks if task.spec]
        if not (token := page.next_page_token):
            return found


async def _runs(scheduler: SchedulerServiceStub) -> AsyncIterator[Run]:
    token = ""
    while True:
        page = await scheduler.list_runs(ListRunsRequest(page_size=PAGE, page_token=token))
        for run in page.runs:
            yield run
        if not (token := page.next_page_token):
            return


def row_of(run: Run, nodes: Mapping[str, str]) -> Row:
    """A run in the checker's words."""
    assert run.scheduled_at is not None
    assert run.created_at is not None
    return Row(
        run_id=run.id,
        task=run.task,
        trigger=_word(run.trigger),
        scheduled_at=run.scheduled_at,
        state=_word(run.state),
        reason=_word(run.reason),
        created=run.created_at,
        last_scheduled_at=run.last_scheduled_at,
        ticks=run.ticks,
        blocked_by=run.blocked_by,
        finished=run.finished_at,
        tries=tuple(_try_of(attempt, nodes) for attempt in run.attempts),
    )


def _try_of(attempt: Attempt, nodes: Mapping[str, str]) -> Try:
    return Try(
        number=attempt.number,
        node=nodes.get(attempt.node, attempt.node),
        state=_word(attempt.state),
        reason=_word(attempt.reason),
        assigned=attempt.assigned_at,
        started=attempt.started_at,
        finished=attempt.finished_at,
        exit_code=attempt.exit_code,
        oom_killed=_word(attempt.reason) == "oom_killed",
    )


def _word(value: object) -> str:
    name: str = getattr(value, "name", None) or ""
    return name.lower()


async def logs(
    scheduler: SchedulerServiceStub,
    witnesses: Sequence[Witness],
    *,
    known: Container[str],
    most: int,
    chance: random.Random,
) -> list[Log]:
    """What is stored of some tries that came to their end. known: the runs of the ledger."""
    ended = [witness for witness in witnesses if witness.ended is not None and witness.run_id in known]
    chosen = chance.sample(ended, min(most, len(ended)))
    return [await _log(scheduler, witness.run_id, witness.number) for witness in chosen]


async def _log(scheduler: SchedulerServiceStub, run_id: str, number: int) -> Log:
    text = {LogStream.STDOUT: b"", LogStream.STDERR: b""}
    cut = False
    async for response in scheduler.tail_logs(TailLogsRequest(run=run_id, attempt=number)):
        cut = cut or number in response.incomplete
        for chunk in response.chunks:
            cut = cut or chunk.cut_before > 0
            text[chunk.stream] += chunk.content
    stdout, stderr = (text[stream].decode(errors="replace").splitlines() for stream in text)
    return Log(run_id, number, stdout, stderr, truncated=cut)


def leftovers(data: Path) -> Iterator[Leftover]:
    """Processes that were started for a run, by an executor with a directory in there."""
    for folder in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            pid = int(folder.name)
            pairs = (entry.partition(b"=")[::2] for entry in (folder / "environ").read_bytes().split(b"\0"))
            told = {name.decode(): value.decode(errors="replace") for name, value in pairs}
            if told.get("DTS_RUN_ID") and Path(told.get("DTS_DATA", "/")).is_relative_to(data):
                number = int(told.get("DTS_ATTEMPT", "0"))
                yield Leftover(told.get("DTS_NODE", ""), str(pid), told["DTS_RUN_ID"], number, running=True)


def texts(files: Sequence[Path]) -> list[Text]:
    """What the parts wrote into their logs, and what anybody can read of their processes."""
    found = [Text(file.name, file.read_text(errors="replace")) for file in files]
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if "dts" in words:
                found.append(Text(f"arguments of {folder.name}", words))
    return found
