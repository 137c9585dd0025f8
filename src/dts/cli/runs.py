"""Runs on the command line: finding them, telling them, following them."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Collection, Sequence
from typing import Self

import typer

from dts.cli.ask import choose, missing, on_terminal
from dts.cli.client import Client
from dts.cli.patience import Patience, asked, watched
from dts.cli.progress import Progress
from dts.cli.times import local, past
from dts.domain.errors import InvalidArgument
from dts.domain.words import lateness, rounded, took, word
from dts.pb.dts.v1 import (
    GetRunRequest,
    ListRunsRequest,
    LogChunk,
    LogStream,
    Reason,
    Run,
    RunState,
    TailLogsRequest,
    TailLogsResponse,
    WatchRunRequest,
)

SHORT, WHOLE = 8, 36
PAGE = 1000
OFFERED = 500
RED, PLAIN = b"\x1b[31m", b"\x1b[0m"


async def find_runs(
    client: Client, *, task: str | None, states: Sequence[str], since: str | None, limit: int
) -> list[Run]:
    """Runs, newest first, as many pages as it takes."""
    query = ListRunsRequest(
        task=task or "",
        states=[_state(name) for text in states for name in text.split(",")],
        since=past(since, field="--since") if since else None,
    )
    found: list[Run] = []
    while len(found) < limit:
        query.page_size = min(PAGE, limit - len(found))
        page = await client.scheduler.list_runs(query)
        found += page.runs
        query.page_token = page.next_page_token
        if not page.next_page_token:
            break
    return found


async def picked(client: Client, run: str | None, states: Collection[RunState] = ()) -> str:
    """The id that was given, or that of a late run picked on a terminal. states: of those that are offered."""
    if run is not None:
        return run
    if not on_terminal():
        raise missing("ID")  # before the server is asked what there is to pick from
    query = ListRunsRequest(states=sorted(states), page_size=OFFERED)
    late = (await client.scheduler.list_runs(query)).runs
    lines = {f"{each.id[:SHORT]}  {each.task}  {local(each.scheduled_at)}  {word(each.state)}": each for each in late}
    return lines[await choose("Which run?", list(lines), field="ID")].id


def run_row(run: Run) -> tuple[str, ...]:
    """A run as a row of a table."""
    many = f" ×{run.ticks}" if run.ticks > 1 else ""
    reason = word(run.reason)
    if run.reason is Reason.EXIT_CODE and run.exit_code is not None:
        reason += f" {run.exit_code}"
    return (
        run.id[:SHORT],
        run.task,
        local(run.scheduled_at) + many,
        word(run.state),
        "" if reason == "ok" else reason,
        rounded(lateness(run)),
        rounded(took(run)),
        run.node,
    )


def run_lines(run: Run) -> list[tuple[str, str]]:
    """A run as named lines."""
    lines = [
        ("id", run.id),
        ("task", f"{run.task} (version {run.task_version})"),
        ("trigger", word(run.trigger)),
        ("scheduled", local(run.scheduled_at)),
        ("state", word(run.state) + (f": {word(run.reason)}" if run.reason else "")),
        ("message", run.message),
        ("ticks", f"{run.ticks}, the last at {local(run.last_scheduled_at)}" if run.ticks > 1 else ""),
        ("blocked by", run.blocked_by),
        ("parameters", " ".join(f"{name}={value}" for name, value in run.parameters.items())),
    ]
    for attempt in run.attempts:
        span = attempt.finished_at - attempt.started_at if attempt.finished_at and attempt.started_at else None
        code = f", exit code {attempt.exit_code}" if attempt.exit_code is not None else ""
        lines.append(
            (
                f"attempt {attempt.number}",
                (
                    f"{word(attempt.state)} on {attempt.node}, started {local(attempt.started_at) or '-'}"
                    f"{', took ' + rounded(span) if span is not None else ''}{code}"
                    f"{'; ' + attempt.message if attempt.message else ''}"
                ),
            )
        )
    return [(name, text) for name, text in lines if text]


async def copy_logs(client: Client, run: str, patience: Patience, *, follow: bool, attempt: int = 0) -> None:
    """Copies what a run prints to our own streams: byte for byte, but that its errors are red on a terminal."""
    request = TailLogsRequest(run=await whole_id(client, run, patience), follow=follow, attempt=attempt)
    last = TailLogsResponse()
    with _Copy() as copy:
        async for last in watched(lambda: client.scheduler.tail_logs(request), patience):
            for chunk in last.chunks:
                # Beside the loop: a pager may wait longer than the server waits for an answer to its pings (40 s).
                await asyncio.to_thread(copy, chunk)
    for number in last.incomplete:
        typer.echo(f"[dts: the node of attempt {number} was lost: the end of its log may be missing]", err=True)
    for lack in last.missing:
        why = "its node could not send them yet, or they are not kept"
        typer.echo(f"[dts: {lack.bytes} bytes that attempt {lack.attempt} printed are missing: {why}]", err=True)


class _Copy:
    """Copies pieces of a log, each one once: whoever asks again is told all of it again. On a terminal standard error
    is red for as long as pieces of it follow each other: a character may begin in one piece and end in the next.
    """

    def __init__(self) -> None:
        shown = sys.stderr is not None and sys.stderr.isatty()
        self._colored = shown and not os.environ.get("NO_COLOR")
        self._red = False
        self._copied: set[tuple[int, LogStream, int]] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._paint(red=False)

    def __call__(self, chunk: LogChunk) -> None:
        piece = (chunk.attempt, chunk.stream, chunk.offset)
        if piece in self._copied:
            return
        self._copied.add(piece)
        error = chunk.stream is LogStream.STDERR
        stream = sys.stderr if error else sys.stdout
        if stream is None:  # closed by the caller
            return
        self._paint(red=error)
        if chunk.cut_before:
            stream.buffer.write(f"\n[dts: {chunk.cut_before} bytes cut here]\n".encode())
        stream.buffer.write(chunk.content)
        stream.buffer.flush()

    def _paint(self, *, red: bool) -> None:
        if self._colored and red is not self._red:
            self._red = red
            sys.stderr.buffer.write(RED if red else PLAIN)
            sys.stderr.buffer.flush()


async def end_of(client: Client, run: str, patience: Patience, shown: Progress) -> Run:
    """Waits until a run is final. shown: hears how it stands."""
    request = WatchRunRequest(run=await whole_id(client, run, patience))
    last = Run()
    async for answer in watched(lambda: client.scheduler.watch_run(request), patience):
        last = answer.run or last
        shown.says(f"{last.id[:SHORT]} {last.task} {word(last.state)}{f' on {last.node}' if last.node else ''}")
    return last


async def whole_id(client: Client, run: str, patience: Patience) -> str:
    """The id that begins so: while something is waited for, another run may come that begins alike."""
    if len(run) == WHOLE:
        return run
    found = await asked(lambda: client.scheduler.get_run(GetRunRequest(run=run)), patience)
    return (found.run or Run()).id


def told(run: Run) -> str:
    """How a run ended, in a line."""
    message = f": {run.message}" if run.message else ""
    return f"{run.id[:SHORT]} {run.task} {word(run.state)}{message}"


def _state(name: str) -> RunState:
    known = {state.name.lower(): state for state in RunState if state and state.name}
    if name not in known:
        raise InvalidArgument.of("--state", "enum.unknown", f"{name[:64]!r} is not one of {', '.join(known)}")
    return known[name]
