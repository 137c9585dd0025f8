"""What a new task runs, from the options of `dts task create`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dts.cli.options import member, pairs
from dts.domain.errors import InvalidArgument
from dts.pb.dts.v1 import (
    ContainerKind,
    ExecKind,
    HttpKind,
    Kind,
    NoopKind,
    ProcessKind,
    Replicas,
    ServiceKind,
    SwarmFile,
)

OF_SERVICE = "service/"


@dataclass(frozen=True, slots=True)
class Work:
    """What was said of it. exec: a container, or `service/NAME`. Files are `NAME[:TARGET]`."""

    command: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    image: str | None = None
    service: str | None = None
    swarm: bool = False
    secrets: tuple[str, ...] = ()
    configs: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    exec: str | None = None
    replicas: str | None = None
    process: bool = False
    http: str | None = None
    method: str | None = None
    headers: tuple[str, ...] = ()
    body: str | None = None
    noop: bool = False

    @property
    def needs_command(self) -> bool:
        """Whether nothing was said of what to run."""
        return not (self.command or self.noop or self.image or self.service or self.http)

    @property
    def is_open(self) -> bool:
        """Whether something has to be asked."""
        return self.needs_command or self.needs_kind

    @property
    def needs_kind(self) -> bool:
        """Whether nothing was said of how to run it."""
        return not (self.noop or self.image or self.service or self.process or self.http or self.exec)


def kind_from(work: Work) -> Kind:
    """The kind.

    Raises:
        InvalidArgument: there is none, there are several, or options do not belong to it.
    """
    service = work.swarm or work.service is not None
    container = work.image is not None and not service
    given = [container, service, work.exec is not None, work.process, work.http is not None, work.noop]
    if sum(given) != 1:
        why = "give exactly one of --image, --service, --exec, --process, --http and --noop"
        raise InvalidArgument.of("kind", "kind.missing", why)
    _refuse_strangers(work, service=service)
    command, env = list(work.command), pairs(work.env, field="--env")
    if container:
        return Kind(container=ContainerKind(image=work.image or "", command=command, env=env))
    if service:
        return Kind(service=_service(work, command, env))
    if work.exec is not None:
        return Kind(exec=_exec(work, command, env))
    if work.process:
        return Kind(process=ProcessKind(command=command, env=env))
    return Kind(http=_http(work)) if work.http is not None else Kind(noop=NoopKind())


def _refuse_strangers(work: Work, *, service: bool) -> None:
    """Options that would be passed over without a word."""
    if (work.secrets or work.configs or work.networks) and not service:
        why = "are for a service of the Swarm: --service NAME, or --swarm with --image"
        raise InvalidArgument.of("--secret, --config, --network", "kind.service", why)
    if (work.method or work.headers or work.body is not None) and work.http is None:
        raise InvalidArgument.of("--method, --header, --body", "kind.http", "are for a request: --http URL")
    if work.replicas and not (work.exec or "").startswith(OF_SERVICE):
        raise InvalidArgument.of("--replicas", "kind.exec", "is for a command in a service: --exec service/NAME")
    if (work.noop or work.http is not None) and (work.command or work.env):
        option, what = ("--noop", "runs nothing") if work.noop else ("--http", "sends a request")
        raise InvalidArgument.of(option, "kind.command", f"{what}, so it takes neither a command nor --env")


def _service(work: Work, command: list[str], env: dict[str, str]) -> ServiceKind:
    return ServiceKind(
        copy_of=work.service or "",
        image=work.image or "",
        command=command,
        env=env,
        secrets=_files(work.secrets),
        configs=_files(work.configs),
        networks=list(work.networks),
    )


def _files(texts: Sequence[str]) -> list[SwarmFile]:
    return [SwarmFile(name=name, target=target) for name, _, target in (text.partition(":") for text in texts)]


def _exec(work: Work, command: list[str], env: dict[str, str]) -> ExecKind:
    target = work.exec or ""
    name = target.removeprefix(OF_SERVICE)
    return ExecKind(
        container=name if name == target else "",
        service=name if name != target else "",
        replicas=member(Replicas, work.replicas, field="--replicas") if work.replicas else Replicas.UNSPECIFIED,
        command=command,
        env=env,
    )


def _http(work: Work) -> HttpKind:
    return HttpKind(
        url=work.http or "", method=work.method or "", headers=dict(_headers(work.headers)), body=work.body or ""
    )


def _headers(texts: Sequence[str]) -> list[tuple[str, str]]:
    """As curl has them: `Name: value`."""
    found: list[tuple[str, str]] = []
    for text in texts:
        name, colon, value = text.partition(":")
        if not colon:
            raise InvalidArgument.of("--header", "http.header", f"{text[:64]!r} is not NAME: VALUE")
        found.append((name.strip(), value.strip()))
    return found
