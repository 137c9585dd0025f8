"""What a container is created with: name, labels, environment, limits. What is wrong is said before anything runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from dts.domain.template import Value, check_template, render
from dts.pb.dts.v1 import ContainerKind, Reason, Resources, VolumeMount
from dts.roles.executor.process_census import ATTEMPT, RUN_ID
from dts.roles.executor.process_world import TOLD, parameter_variable, template_values
from dts.roles.executor.work import Job, Refused

RUN_LABEL = "dts.run"
TASK_LABEL = "dts.task"
ATTEMPT_LABEL = "dts.attempt"
OWNER_LABEL = "dts.owner"

LOG = {"Type": "local", "Config": {"max-size": "20m", "max-file": "3"}}
"""Where the engine keeps what is printed until it is read: the driver that keeps bytes as they are, and bounded."""

_NANOS = 1_000_000_000
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,511}", re.ASCII)


def container_kind(job: Job) -> ContainerKind:
    """The definition of the container.

    Raises:
        Refused: there is none, or its image cannot be the name of an image.
    """
    kind = job.spec.kind.container if job.spec.kind else None
    if kind is None or not _IMAGE.fullmatch(kind.image) or ".." in kind.image:
        raise _invalid("the image must be a reference such as registry/name:tag")
    return kind


def name_of(key: tuple[UUID, int]) -> str:
    """The name of an attempt's container: the same whoever creates it, so that it is created once (rule N)."""
    return f"dts-{key[0]}-{key[1]}"


def labels_of(job: Job, owner: str) -> dict[str, str]:
    """What tells whose a container is."""
    return {
        RUN_LABEL: str(job.run_id),
        TASK_LABEL: job.spec.task,
        ATTEMPT_LABEL: str(job.attempt),
        OWNER_LABEL: owner,
    }


def key_of(labels: Mapping[str, str]) -> tuple[UUID, int] | None:
    """The attempt that labels name; None if they name none."""
    try:
        return UUID(labels[RUN_LABEL]), int(labels[ATTEMPT_LABEL])
    except (KeyError, ValueError):
        return None


def config_of(job: Job, kind: ContainerKind, *, node: str, owner: str) -> dict[str, Any]:
    """What the engine is asked to create.

    Raises:
        Refused: a template names what there is not, or a value cannot stand where it is.
    """
    values = template_values(job, node=node)
    command = [_rendered(argument, values, f"argument {index}") for index, argument in enumerate(kind.command)]
    return _given(
        Image=kind.image,
        Cmd=command,
        Entrypoint=list(kind.entrypoint),
        Env=[f"{name}={value}" for name, value in _environment(job, kind, values).items()],
        WorkingDir=kind.working_dir,
        User=kind.user,
        StopSignal=kind.stop_signal,
        Labels=labels_of(job, owner),
        HostConfig=_host_config(kind, job.spec.resources or Resources()),
    )


def _host_config(kind: ContainerKind, resources: Resources) -> dict[str, Any]:
    """Never AutoRemove: how it ended would be gone. An init process, so that stop signals are heeded (F20)."""
    return {
        "Init": True,
        "AutoRemove": False,
        "RestartPolicy": {"Name": "no"},
        "LogConfig": LOG,
        **_given(
            NetworkMode=kind.network,
            Mounts=[_mount(mount) for mount in kind.mounts],
            ReadonlyRootfs=kind.read_only,
            NanoCpus=round(resources.cpus * _NANOS),
            Memory=resources.memory,
            MemorySwap=resources.memory,  # the same: no swap beside it
        ),
    }


def _mount(mount: VolumeMount) -> dict[str, Any]:
    """Always a named volume: a path of the node cannot be mounted."""
    if "/" in mount.volume or not mount.volume:
        raise _invalid("a mount must name a volume, not a path")
    return {"Type": "volume", "Source": mount.volume, "Target": mount.target, "ReadOnly": mount.read_only}


def _environment(job: Job, kind: ContainerKind, values: Mapping[str, Value]) -> dict[str, str]:
    """The later wins; what names the attempt wins over all."""
    environment = {name: render(text, values) for name, text in TOLD.items()}
    environment |= {parameter_variable(name): value for name, value in job.parameters.items()}
    environment |= {_variable(name): _rendered(text, values, f"variable {name}") for name, text in kind.env.items()}
    return environment | {RUN_ID: str(job.run_id), ATTEMPT: str(job.attempt)}


def _variable(name: str) -> str:
    if not name or "=" in name or "\0" in name:
        raise _invalid("a variable's name must not be empty nor contain = or NUL")
    return name


def _rendered(text: str, values: Mapping[str, Value], where: str) -> str:
    if wrong := check_template(text):
        raise _invalid(f"{where} {wrong}")
    rendered = render(text, values)
    if "\0" in rendered:
        raise _invalid(f"{where} must not contain a NUL character")
    return rendered


def _given(**values: Any) -> dict[str, Any]:
    """What was said; the image or the engine decides the rest."""
    return {name: value for name, value in values.items() if value}


def _invalid(sentence: str) -> Refused:
    return Refused(Reason.INVALID, sentence, final=True)
