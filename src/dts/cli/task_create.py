"""`dts task create`."""

from __future__ import annotations

import typer


def create(
    name: str = typer.Argument(None, metavar="[NAME]", help="Unique: a-z, 0-9, '.', '_', '-'."),
    command: list[str] = typer.Argument(None, metavar="[-- CMD ARG...]", help="Program and arguments."),
    cron: list[str] = typer.Option([], "--cron", metavar="EXPRESSION", help="Due by a cron expression; repeatable."),
    every: list[str] = typer.Option([], "--every", metavar="DURATION", help="Due at an interval; repeatable."),
    at: list[str] = typer.Option([], "--at", metavar="TIME", help="Due once: RFC 3339, local time, or +10m."),
    timezone: str = typer.Option("", metavar="ZONE", help="IANA zone, such as Europe/Zurich. [default: UTC]"),
    dialect: str | None = typer.Option(
        None, metavar="DIALECT", help="How cron is read: dts, cronie or robfig. [default: dts]"
    ),
    jitter: str | None = typer.Option(None, metavar="DURATION", help="Start each tick up to this much later."),
    image: str | None = typer.Option(None, "--image", metavar="IMAGE", help="Run a container of this image."),
    service: str | None = typer.Option(None, metavar="SERVICE", help="Run a copy of this Swarm service, once."),
    swarm: bool = typer.Option(False, "--swarm", help="With --image: as a service; the Swarm chooses the node."),
    secret: list[str] = typer.Option([], metavar="NAME[:FILE]", help="Swarm secret for the service; repeatable."),
    config: list[str] = typer.Option([], metavar="NAME[:FILE]", help="Swarm config for the service; repeatable."),
    network: list[str] = typer.Option([], metavar="NETWORK", help="Network for the service; repeatable."),
    exec_in: str | None = typer.Option(None, "--exec", metavar="[service/]NAME", help="Run in this container."),
    replicas: str | None = typer.Option(None, metavar="WHICH", help="With --exec service/NAME: one or all."),
    process: bool = typer.Option(False, "--process", help="Run a process of the executor's machine."),
    http: str | None = typer.Option(None, "--http", metavar="URL", help="Send a request."),
    method: str | None = typer.Option(
        None, metavar="METHOD", help="Of the request. [default: GET, or POST with --body]"
    ),
    header: list[str] = typer.Option([], metavar="NAME: VALUE", help="Header of the request; repeatable."),
    body: str | None = typer.Option(None, metavar="TEXT", help="Body of the request."),
    noop: bool = typer.Option(False, "--noop", help="Run nothing; to try out schedules."),
    env: list[str] = typer.Option([], "--env", "-e", metavar="KEY=VALUE", help="Environment; repeatable."),
    overlap: str | None = typer.Option(
        None,
        metavar="POLICY",
        help="If a run is not over: skip, queue_one, queue_all, cancel_other, terminate_other, allow. [default: skip]",
    ),
    catchup: str | None = typer.Option(
        None, metavar="POLICY", help="Of ticks that were missed: latest, none or all. [default: latest]"
    ),
    catchup_window: str | None = typer.Option(None, metavar="DURATION", help="How old a tick may be to be caught up."),
    timeout: str | None = typer.Option(None, metavar="DURATION", help="For each attempt. [default: 1h]"),
    start_deadline: str | None = typer.Option(None, metavar="DURATION", help="From tick to start. [default: 5m]"),
    retries: int | None = typer.Option(
        None, min=0, max=1000, metavar="N", help="Further attempts of a failed run. [default: 0]"
    ),
    constraint: list[str] = typer.Option([], "--constraint", metavar="C", help="Such as node.labels.disk==ssd."),
    prefer: list[str] = typer.Option([], metavar="[N*]C", help="A condition that nodes should meet; N is its weight."),
    spread: list[str] = typer.Option([], metavar="ATTRIBUTE", help="Spread live runs over it: node.labels.zone."),
    node: str | None = typer.Option(None, metavar="WHICH", help="one, or every: a run on each node. [default: one]"),
    label: list[str] = typer.Option([], "--label", metavar="KEY=VALUE", help="For people and filters; repeatable."),
    description: str = typer.Option("", metavar="TEXT", help="Free text."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Check only; store nothing."),
) -> None:
    """Create a task. Prints its next ticks, and what may surprise.

    On a terminal it asks for what is missing, and shows the next ticks before it saves.

        dts task create backup --cron '0 3 * * *' --timezone Europe/Zurich --image registry/backup:2

        dts task create migrate --service web_app -- ./manage.py migrate

        dts task create vacuum --cron '@daily' --exec service/web_db -- vacuumdb --all

        dts task create ping --every 5m --http https://example.com/hook --body '{"at": "{{ scheduled_at }}"}'

        dts task create pulse --every 5m --process -- /usr/local/bin/check --all
    """
    from dts.cli.client import call
    from dts.cli.create import Wanted, make
    from dts.cli.create_kind import Work

    wanted = Wanted(
        name=name,
        work=Work(
            command=tuple(command or ()),
            env=tuple(env),
            image=image,
            service=service,
            swarm=swarm,
            secrets=tuple(secret),
            configs=tuple(config),
            networks=tuple(network),
            exec=exec_in,
            replicas=replicas,
            process=process,
            http=http,
            method=method,
            headers=tuple(header),
            body=body,
            noop=noop,
        ),
        schedules=(tuple(cron), tuple(every), tuple(at)),
        timezone=timezone,
        dialect=dialect,
        jitter=jitter,
        words={"overlap": overlap, "catchup": catchup, "node": node},
        durations={"catchup_window": catchup_window, "timeout": timeout, "start_deadline": start_deadline},
        retries=retries,
        placement={"constraints": constraint, "prefer": prefer, "spread": spread},
        labels=tuple(label),
        description=description,
        dry_run=dry_run,
    )
    call(lambda client: make(client, wanted))
