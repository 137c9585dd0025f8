"""The questions of `dts task create` on a terminal. Each answer is checked by the server before the next question."""

from __future__ import annotations

import re
import shlex
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from dts.cli import ask
from dts.cli.client import Client
from dts.cli.create_kind import Work, kind_from
from dts.cli.errors import say
from dts.cli.options import schedule_of
from dts.cli.previews import change_line, tick_line
from dts.domain.errors import AlreadyExists, InvalidArgument
from dts.pb.dts.v1 import (
    CreateTaskRequest,
    Kind,
    NoopKind,
    PreviewScheduleRequest,
    PreviewScheduleResponse,
    Schedule,
    TaskSpec,
)

SHOWN = 3
WHAT = {
    "container": "a container of an image, on one of the nodes",
    "process": "a process of the machine of an executor",
    "service": "a service of the Swarm, once: a copy of one of yours, or of an image",
    "exec": "a command in a container that runs already",
    "http": "a request",
    "noop": "nothing, to try out a schedule",
}
"""What a task can run, in the words of the question."""

Rules = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
"""cron, every, at."""

_SHELL = re.compile(r"[|&;<>()$`*?~#\n]")
_INSTANT = re.compile(r"\+|\d{4}-")
T = TypeVar("T")


async def asked_name(client: Client) -> str:
    """A name that the server would take."""

    async def question() -> str:
        name = await ask.text("Name:", field="NAME", check=_needed("a name"))
        spec = TaskSpec(name=name, kind=Kind(noop=NoopKind()))
        await client.tasks.create_task(CreateTaskRequest(spec=spec, dry_run=True))
        return name

    return await _until_right(question)


async def asked_schedule(client: Client, timezone: str, dialect: str | None) -> tuple[Rules, str]:
    """When, and in which zone. No rules: only by hand."""

    async def question() -> tuple[Rules, str]:
        line = await ask.text(
            "When? A cron expression, an interval such as 5m, a time, or empty for by hand:", field="--cron"
        )
        if not line:
            return ((), (), ()), timezone
        rules = _rules(line.strip())
        zone = timezone
        if not zone and not rules[1]:
            zone = await ask.text("In which time zone?", field="--timezone", default="UTC")
        await preview(client, schedule_of(*rules, timezone=zone, dialect=dialect))  # refuses what it cannot read
        return rules, zone

    return await _until_right(question)


async def asked_work(client: Client, work: Work) -> Work:
    """What it runs, as far as nothing was said of it."""
    if not work.is_open:
        return work

    async def question() -> Work:
        found = await _asked_kind(work)
        spec = TaskSpec(name="name", kind=kind_from(found))
        try:
            await client.tasks.create_task(CreateTaskRequest(spec=spec, dry_run=True))
        except AlreadyExists:
            return found  # its kind was right: names are looked at last
        return found

    return await _until_right(question)


async def preview(client: Client, schedule: Schedule | None) -> PreviewScheduleResponse:
    """The next ticks of a schedule; nothing without one."""
    if schedule is None:
        return PreviewScheduleResponse()
    return await client.tasks.preview_schedule(PreviewScheduleRequest(schedule=schedule, count=SHOWN))


def tell_ticks(coming: PreviewScheduleResponse) -> None:
    """Prints ticks and changes of the clock."""
    for tick in coming.ticks:
        print(f"  {tick_line(tick)}")
    for change in coming.clock_changes:
        print(f"  {change_line(change)}")


async def _asked_kind(work: Work) -> Work:
    if work.needs_kind:
        lines = {f"{kind:<10} {words}": kind for kind, words in WHAT.items()}
        kind = lines[await ask.choose("What does it run?", list(lines), field="kind")]
        work = await _KINDS[kind](work)
    if work.needs_command:
        work = replace(work, command=await _command("Command:", check=_needed("a command")))
    return work


async def _container(work: Work) -> Work:
    image = await ask.text("Image:", field="--image", check=_needed("an image"))
    return replace(work, image=image, command=work.command or await _command("Command, or empty for the image's own:"))


async def _process(work: Work) -> Work:
    return replace(work, process=True)


async def _service(work: Work) -> Work:
    copied = await ask.text("Copy of which service? Or empty to give an image:", field="--service")
    if copied:
        work = replace(work, service=copied)
    else:
        work = replace(work, swarm=True, image=await ask.text("Image:", field="--image", check=_needed("an image")))
    return replace(work, command=work.command or await _command("Command, or empty for its own:"))


async def _exec(work: Work) -> Work:
    target = "In which container? Its name, or service/NAME:"
    return replace(work, exec=await ask.text(target, field="--exec", check=_needed("a container")))


async def _http(work: Work) -> Work:
    url = await ask.text("URL:", field="--http", check=_needed("a URL"))
    method = await ask.text("Method:", field="--method", default=work.method or "GET")
    body = work.body
    if body is None and method.upper() not in {"GET", "HEAD"}:
        body = await ask.text("Body, or empty for none:", field="--body") or None
    return replace(work, http=url, method=method, body=body)


async def _noop(work: Work) -> Work:
    return replace(work, noop=True)


_KINDS: dict[str, Callable[[Work], Awaitable[Work]]] = {
    "container": _container,
    "process": _process,
    "service": _service,
    "exec": _exec,
    "http": _http,
    "noop": _noop,
}


async def _command(question: str, check: Callable[[str], str | None] | None = None) -> tuple[str, ...]:
    """Program and arguments; what only a shell understands is left to one."""

    def valid(line: str) -> str | None:
        return (check(line) if check else None) or _wrong_quotes(line)

    line = await ask.text(question, field="CMD", check=valid)
    return ("sh", "-c", line) if _SHELL.search(line) else tuple(shlex.split(line))


def _wrong_quotes(line: str) -> str | None:
    try:
        shlex.split(line)
    except ValueError as error:
        return str(error).lower()
    return None


def _rules(line: str) -> Rules:
    if _INSTANT.match(line):
        return (), (), (line,)
    return ((line,), (), ()) if " " in line or line.startswith("@") else ((), (line,), ())


def _needed(what: str) -> Callable[[str], str | None]:
    return lambda text: None if text.strip() else f"{what} is needed"


async def _until_right(question: Callable[[], Awaitable[T]]) -> T:
    """Whoever learns at the end that an answer was wrong has given all others for nothing."""
    while True:
        try:
            return await question()
        except (InvalidArgument, AlreadyExists) as error:
            say(str(error))
