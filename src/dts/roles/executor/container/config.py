"""What a container is created with: name, labels, environment, limits. What is wrong is said before anything runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from dts.domain.node_policy import NodePolicy, container_denials
from dts.domain.template import Value, check_template, render
from dts.pb.dts.v1 import ContainerKind, Reason, Resources, VolumeMount
from dts.roles.executor.process.census import ATTEMPT, RUN_ID
from dts.roles.executor.process.world import parameter_variable, template_values, told
from dts.roles.executor.work import Job, Refused

RUN_LABEL = "dts.run"
TASK_LABEL = "dts.task"
ATTEMPT_LABEL = "dts.attempt"
OWNER_LABEL = "dts.owner"

LOG = {"Type": "local", "Config": {"max-size": "20m", "max-file": "3"}}
"""Where the engine keeps what is printed until it is read: the driver that keeps bytes as they are, and bounded."""

NANOS = 1_000_000_000
"""Of a processor, as engines count."""

_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,511}", re.ASCII)


def container_kind(job: Job) -> ContainerKind:
    """The definition of the container.

    Raises:
        Refused: there is none, or its image cannot be the name of an image.
    """
    kind = job.spec.kind.container if job.spec.kind else None
    if kind is None or not _IMAGE.fullmatch(kind.image) or ".." in kind.image:
        raise invalid("the image must be a reference such as registry/name:tag")
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


def config_of(job: Job, kind: ContainerKind, *, node: str, owner: str, policy: NodePolicy) -> dict[str, Any]:
    """What the engine is asked to create; the policy of the node has the last word.

    Raises:
        Refused: a template names what there is not, a value cannot stand where it is, or the policy denies it.
    """
    wanted = job.spec.resources or Resources()
    deny(container_denials(policy, kind, wanted), node)
    values = template_values(job, node=node)
    command = [rendered(argument, values, f"argument {index}") for index, argument in enumerate(kind.command)]
    return given(
        Image=kind.image,
        Cmd=command,
        Entrypoint=list(kind.entrypoint),
        Env=[f"{name}={value}" for name, value in environment_of(job, kind.env, values).items()],
        WorkingDir=kind.working_dir,
        User=kind.user,
        StopSignal=kind.stop_signal,
        Labels=labels_of(job, owner),
        HostConfig=_host_config(kind, policy.limited(wanted), policy.pids),
    )


def _host_config(kind: ContainerKind, resources: Resources, pids: int) -> dict[str, Any]:
    """Never AutoRemove: how it ended would be gone. An init process, so that stop signals are heeded (F20)."""
    return {
        "Init": True,
        "AutoRemove": False,
        "RestartPolicy": {"Name": "no"},
        "LogConfig": LOG,
        "SecurityOpt": ["no-new-privileges"],
        "PidsLimit": pids,
        **given(
            NetworkMode=kind.network,
            Mounts=[mount_of(mount) for mount in kind.mounts],
            ReadonlyRootfs=kind.read_only,
            NanoCpus=round(resources.cpus * NANOS),
            Memory=resources.memory,
            MemorySwap=resources.memory,  # the same: no swap beside it
        ),
    }


def deny(denials: Sequence[str], node: str) -> None:
    """Raises Refused if the policy of the node has denied anything."""
    if denials:
        sentence = f"the policy of node {node} does not allow {'; nor '.join(denials)}"
        raise Refused(Reason.POLICY_DENIED, sentence, final=True)


def mount_of(mount: VolumeMount) -> dict[str, Any]:
    """As the engine wants it; always a named volume, since a path of the node cannot be mounted.

    Raises:
        Refused: it names no volume.
    """
    if "/" in mount.volume or not mount.volume:
        raise invalid("a mount must name a volume, not a path")
    return {"Type": "volume", "Source": mount.volume, "Target": mount.target, "ReadOnly": mount.read_only}


def environment_of(job: Job, env: Mapping[str, str], values: Mapping[str, Value]) -> dict[str, str]:
    """What a container is told, with the variables of its definition; what names the attempt wins over all.

    Raises:
        Refused: a name or a value is impossible.
    """
    environment = told(job, values)
    environment |= {parameter_variable(name): value for name, value in job.parameters.items()}
    environment |= {_variable(name): rendered(text, values, f"variable {name}") for name, text in env.items()}
    return environment | {RUN_ID: str(job.run_id), ATTEMPT: str(job.attempt)}


def _variable(name: str) -> str:
    if not name or "=" in name or "\0" in name:
        raise invalid("a variable's name must not be empty nor contain = or NUL")
    return name


def rendered(text: str, values: Mapping[str, Value], where: str) -> str:
    """A text with its templates filled in.

    Raises:
        Refused: it cannot be; `where` says in the message which text it is.
    """
    if wrong := check_template(text):
        raise invalid(f"{where} {wrong}")
    rendered = render(text, values)
    if "\0" in rendered:
        raise invalid(f"{where} must not contain a NUL character")
    return rendered


def given(**values: Any) -> dict[str, Any]:
    """What was said; the image or the engine decides the rest."""
    return {name: value for name, value in values.items() if value}


def invalid(sentence: str) -> Refused:
    """The definition is wrong, and would be on any node."""
    return Refused(Reason.INVALID, sentence, final=True)
