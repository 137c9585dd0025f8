"""`dts channel`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dts.cli import completion
from dts.cli.ask import YES
from dts.cli.output import FORMAT, Format, dump, show
from dts.cli.typers import group

if TYPE_CHECKING:
    from dts.cli.client import Client
    from dts.pb.dts.v1 import Channel, QuietHours

TRY_SECONDS = 30.0  # a target has 10 s, and of one that hangs it is the server that says so

app = group("Whom to tell when a task fails, is late, or has recovered.")

NAME = typer.Argument(..., metavar="NAME", help="Of the channel.")
KEY = typer.Argument(..., metavar="NAME|ID", help="Name or id of the channel.", autocompletion=completion.channels)
KIND = typer.Option("webhook", "--kind", metavar="KIND", help="webhook, ping (a dead-man's switch) or apprise.")
TARGET = typer.Option(
    ..., "--target-file", metavar="FILE", help="Holds the address to send to, a secret; - for standard input."
)
NEW_TARGET = typer.Option(
    None, "--target-file", metavar="FILE", help="Holds another address to send to, a secret; - for standard input."
)
EVENTS = typer.Option(
    [],
    "--on",
    metavar="EVENTS",
    help="failed, skipped, missed, late, stuck, recovered, started, succeeded; all but skipped, started and succeeded "
    "if nothing is said.",
)
TASKS = typer.Option(
    [], "--task", metavar="TASK", help="Only of this task; may be given several times.", autocompletion=completion.tasks
)
LABELS = typer.Option([], "--label", metavar="KEY=VALUE", help="Only of tasks with this label; of several, with all.")
LATE = typer.Option(None, "--late-after", metavar="DURATION", help="After its instant a run that waits is late: 1m.")
STUCK = typer.Option(None, "--stuck-after", metavar="DURATION", help="A run that goes on for so long is stuck: 1h.")
REMIND = typer.Option(None, "--remind-every", metavar="DURATION", help="Trouble that lasts is told again: 4h.")
DIGEST = typer.Option(None, "--digest", metavar="DURATION", help="Gather messages for so long, and send them as one.")
QUIET = typer.Option(
    None, "--quiet", metavar="HOURS", help="Tell nothing until they are over: '22:00-07:00 Europe/Zurich'."
)


@app.command()
def create(
    name: str = NAME,
    kind: str = KIND,
    target_file: Path = TARGET,
    on: list[str] = EVENTS,
    task: list[str] = TASKS,
    label: list[str] = LABELS,
    late_after: str | None = LATE,
    stuck_after: str | None = STUCK,
    remind_every: str | None = REMIND,
    quiet: str | None = QUIET,
    digest: str | None = DIGEST,
    form: Format = FORMAT,
) -> None:
    """Make a channel. The key of a webhook alone goes to standard output, this once."""
    from dts.cli.client import call
    from dts.cli.options import member
    from dts.pb.dts.v1 import Channel, ChannelKind, CreateChannelRequest, CreateChannelResponse

    rule = _whom_said(on, task, label) | _when_said(late_after, stuck_after, remind_every, digest, quiet)
    channel = Channel(name=name, kind=member(ChannelKind, kind, field="--kind"), **rule)
    request = CreateChannelRequest(channel=channel, target=_secret(target_file))

    async def work(client: Client) -> CreateChannelResponse:
        return await client.channels.create_channel(request)

    made = call(work)
    stored = made.channel or Channel()
    if form is not Format.TABLE:
        dump(_shape(stored) | {"signing_key": made.signing_key}, form)
        return
    if made.signing_key:
        print(made.signing_key)
    shown = "; the key is not shown again" if made.signing_key else ""
    print(f"{stored.name} made; try it with `dts channel test {stored.name}`{shown}", file=sys.stderr)


@app.command()
def update(
    channel: str = KEY,
    target_file: Path | None = NEW_TARGET,
    on: list[str] = EVENTS,
    task: list[str] = TASKS,
    label: list[str] = LABELS,
    late_after: str | None = LATE,
    stuck_after: str | None = STUCK,
    remind_every: str | None = REMIND,
    quiet: str | None = QUIET,
    digest: str | None = DIGEST,
) -> None:
    """Change a channel: what is said; the rest stays. An option with '' takes away what it said before."""
    from dataclasses import replace

    from dts.cli.client import call
    from dts.pb.dts.v1 import Channel, UpdateChannelRequest

    rule = _whom_said(on, task, label) | _when_said(late_after, stuck_after, remind_every, digest, quiet)
    target = _secret(target_file) if target_file is not None else ""

    async def work(client: Client) -> Channel:
        changed = replace(await _found(client, channel), **rule)
        request = UpdateChannelRequest(channel=changed.id, rule=changed, target=target)
        return (await client.channels.update_channel(request)).channel or Channel()

    print(f"{call(work).name} changed")


@app.command("list")
def list_channels(form: Format = FORMAT) -> None:
    """List channels by name, with how their last message went."""
    from dts.cli.client import call
    from dts.cli.times import local
    from dts.domain.words import word
    from dts.pb.dts.v1 import ListChannelsRequest

    async def work(client: Client) -> list[Channel]:
        return (await client.channels.list_channels(ListChannelsRequest())).channels

    channels = call(work)
    table = [
        (
            channel.name,
            word(channel.kind),
            channel.shown,
            ",".join(word(event) for event in channel.events),
            _whom(channel),
            local(channel.delivered_at) if channel.delivered_at else "never",
            str(channel.waiting),
            str(channel.given_up),
            channel.failure,
        )
        for channel in channels
    ]
    header = ("NAME", "KIND", "WHERE", "ON", "OF", "ARRIVED", "WAITING", "GIVEN UP", "LAST FAILURE")
    show(
        [_shape(channel) for channel in channels],
        table,
        header,
        form,
        empty="there is no channel; `dts channel create` makes one",
        spare=("GIVEN UP", "WHERE", "ON", "LAST FAILURE"),
    )


@app.command()
def delete(channel: str = KEY, yes: bool = YES) -> None:
    """Delete a channel, and what was still to be sent to it."""
    from dts.cli.ask import agreed
    from dts.cli.client import call
    from dts.pb.dts.v1 import Channel, DeleteChannelRequest

    async def work(client: Client) -> Channel:
        await agreed(f"Delete the channel {channel}?", yes=yes)
        return (await client.channels.delete_channel(DeleteChannelRequest(channel=channel))).channel or Channel()

    gone = call(work)
    lost = f"; {gone.waiting} messages will not be sent" if gone.waiting else ""
    print(f"{gone.name} deleted{lost}")


@app.command("test")
def try_channel(channel: str = KEY) -> None:
    """Send a message to a channel now, and say what came of it. Exit code 1 if it did not arrive."""
    from dts.cli.client import call
    from dts.cli.progress import progress
    from dts.pb.dts.v1 import TryChannelRequest, TryChannelResponse

    async def work(client: Client) -> TryChannelResponse:
        with progress(f"sending to {channel}"):
            return await client.channels.try_channel(TryChannelRequest(channel=channel), timeout=TRY_SECONDS)

    tried = call(work)
    if tried.failure:
        print(f"the message did not arrive: {tried.failure}", file=sys.stderr)
        raise typer.Exit(1)
    print("the message arrived")


def _secret(file: Path) -> str:
    """The address, from a file or standard input: as an argument everybody on this machine could read it.

    Raises:
        InvalidArgument: it cannot be read.
    """
    from dts.domain.errors import InvalidArgument

    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InvalidArgument.of("--target-file", "file.unreadable", f"{file} cannot be read: {why}") from None
    return text.strip()


async def _found(client: Client, key: str) -> Channel:
    """Raises NotFound."""
    from dts.domain.errors import NotFound
    from dts.pb.dts.v1 import ListChannelsRequest

    channels = (await client.channels.list_channels(ListChannelsRequest())).channels
    for channel in channels:
        if key in (channel.name, channel.id):
            return channel
    raise NotFound(f"no channel named {key!r}", code="channel.unknown")


def _whom_said(on: list[str], task: list[str], label: list[str]) -> dict[str, Any]:
    """The fields of a channel that these options speak of; '' says: none."""
    from dts.cli.options import member, pairs
    from dts.pb.dts.v1 import TaskEvent

    said: dict[str, Any] = {}
    if on:
        words = [word.strip() for text in on if text for word in text.split(",")]
        said["events"] = [member(TaskEvent, word, field="--on") for word in words]
    if task:
        said["tasks"] = [name for name in task if name]
    if label:
        said["labels"] = pairs([pair for pair in label if pair], field="--label")
    return said


def _when_said(
    late_after: str | None, stuck_after: str | None, remind_every: str | None, digest: str | None, quiet: str | None
) -> dict[str, Any]:
    """The same for options that are about time."""
    from dts.cli.times import duration

    options = {
        "late_after": ("--late-after", late_after),
        "stuck_after": ("--stuck-after", stuck_after),
        "remind_every": ("--remind-every", remind_every),
        "digest_every": ("--digest", digest),
    }
    said: dict[str, Any] = {
        name: duration(text, field=option) if text else None
        for name, (option, text) in options.items()
        if text is not None
    }
    if quiet is not None:
        said["quiet"] = _quiet(quiet) if quiet else None
    return said


def _quiet(text: str) -> QuietHours:
    """Raises InvalidArgument where it is not two times and a zone."""
    from dts.domain.errors import InvalidArgument
    from dts.pb.dts.v1 import QuietHours

    hours, _, zone = text.strip().partition(" ")
    start, dash, end = hours.partition("-")
    if not dash:
        raise InvalidArgument.of("--quiet", "channel.quiet", "is such as '22:00-07:00 Europe/Zurich'")
    return QuietHours(start=start, end=end, zone=zone.strip() or "UTC")


def _whom(channel: Channel) -> str:
    labels = [f"{key}={value}" for key, value in channel.labels.items()]
    return ",".join([*channel.tasks, *labels]) or "all"


def _shape(channel: Channel) -> dict[str, Any]:
    from dts.cli.times import seconds
    from dts.domain.words import rfc3339, word

    quiet = channel.quiet
    return {
        "id": channel.id,
        "name": channel.name,
        "kind": word(channel.kind),
        "where": channel.shown,
        "events": [word(event) for event in channel.events],
        "tasks": list(channel.tasks),
        "labels": dict(channel.labels),
        "late_after_seconds": seconds(channel.late_after),
        "stuck_after_seconds": seconds(channel.stuck_after),
        "remind_every_seconds": seconds(channel.remind_every),
        "digest_every_seconds": seconds(channel.digest_every),
        "quiet": f"{quiet.start}-{quiet.end} {quiet.zone}" if quiet else None,
        "created_at": rfc3339(channel.created_at),
        "created_by": channel.created_by,
        "delivered_at": rfc3339(channel.delivered_at),
        "failed_at": rfc3339(channel.failed_at),
        "failure": channel.failure,
        "waiting": channel.waiting,
        "given_up": channel.given_up,
    }
