"""`dts task create`."""

from __future__ import annotations

import typer


def create(
    name: str = typer.Argument(None, metavar="[NAME]", help="Unique: a-z, 0-9, '.', '_', '-'."),
    command: list[str] = typer.Argument(None, metavar="[-- CMD ARG...]", help="Program and arguments."),
    cron: list[str] = typer.Option([], "--cron", metavar="EXPRESSION", help="Due by a cron expression; repeatable."),
    every: list[str] = typer.Option([], "--every", metavar="DURATION", help="Due at an interval; repeatable."),
    at: list[str] = typer.Option([], "--at", metavar="TIME", help="Due once: RFC 3339, local time, or +10m."),
    timezone: str = typer.Option("", help="IANA zone, such as Europe/Zurich. [default: UTC]"),
    dialect: str | None = typer.Option(None, help="How cron is read: dts, cronie or robfig. [default: dts]"),
    jitter: str | None = typer.Option(None, metavar="DURATION", help="Start each tick up to this much later."),
    image: str | None = typer.Option(None, "--image", metavar="IMAGE", help="Run a container of this image."),
    process: bool = typer.Option(False, "--process", help="Run a process of the executor's machine."),
    noop: bool = typer.Option(False, "--noop", help="Run nothing; to try out schedules."),
    env: list[str] = typer.Option([], "--env", "-e", metavar="KEY=VALUE", help="Environment; repeatable."),
    overlap: str | None = typer.Option(None, help="skip, queue_one, queue_all, cancel_other, terminate_other, allow."),
    catchup: str | None = typer.Option(None, help="latest, none or all."),
    catchup_window: str | None = typer.Option(None, metavar="DURATION", help="How old a tick may be to be caught up."),
    timeout: str | None = typer.Option(None, metavar="DURATION", help="For each attempt. [default: 1h]"),
    start_deadline: str | None = typer.Option(None, metavar="DURATION", help="From tick to start. [default: 5m]"),
    retries: int | None = typer.Option(None, min=0, max=1000, help="Further attempts of a failed run. [default: 0]"),
    constraint: list[str] = typer.Option([], "--constraint", metavar="C", help="Such as node.labels.disk==ssd."),
    label: list[str] = typer.Option([], "--label", metavar="KEY=VALUE", help="For people and filters; repeatable."),
    description: str = typer.Option("", help="Free text."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Check only; store nothing."),
) -> None:
    """Create a task. Prints its next ticks, and what may surprise.

    On a terminal it asks for what is missing, and shows the next ticks before it saves.

        dts task create backup --cron '0 3 * * *' --timezone Europe/Zurich --image registry/backup:2

        dts task create pulse --every 5m --process -- /usr/local/bin/check --all
    """
    from dts.cli.client import call
    from dts.cli.create import Wanted, make

    wanted = Wanted(
        name=name,
        command=tuple(command or ()),
        schedules=(tuple(cron), tuple(every), tuple(at)),
        timezone=timezone,
        dialect=dialect,
        jitter=jitter,
        image=image,
        process=process,
        noop=noop,
        env=tuple(env),
        words={"overlap": overlap, "catchup": catchup},
        durations={"catchup_window": catchup_window, "timeout": timeout, "start_deadline": start_deadline},
        retries=retries,
        constraints=tuple(constraint),
        labels=tuple(label),
        description=description,
        dry_run=dry_run,
    )
    call(lambda client: make(client, wanted))
