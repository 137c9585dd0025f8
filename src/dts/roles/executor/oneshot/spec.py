"""What a one-shot service of the Swarm is created with: the definition of another service, and what the task says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from dts.domain.node_policy import NodePolicy
from dts.domain.template import Value
from dts.pb.dts.v1 import Resources, ServiceKind, SwarmFile
from dts.roles.executor.container.config import (
    NANOS,
    OWNER_LABEL,
    environment_of,
    given,
    invalid,
    labels_of,
    mount_of,
    rendered,
)
from dts.roles.executor.process.world import template_values
from dts.roles.executor.work import Job

NANOSECONDS = 1000
"""In a microsecond: Swarm counts durations in nanoseconds."""

_READABLE = 0o444

Ids = Mapping[tuple[str, str], str]
"""The ids of secrets and configs, by what they are and their names."""


def service_kind(job: Job) -> ServiceKind:
    """The definition of the service.

    Raises:
        Refused: there is none, or it names neither an image nor a service.
    """
    kind = job.spec.kind.service if job.spec.kind else None
    if kind is None or not (kind.image or kind.copy_of):
        raise invalid("a service needs an image, or the name of a service to copy")
    return kind


def name_of(key: tuple[UUID, int]) -> str:
    """The name of an attempt's service: the same whoever creates it, so that it is created once (rule N)."""
    return f"dts-{key[0]}-{key[1]}"


def spec_of(
    job: Job,
    kind: ServiceKind,
    *,
    node: str,
    owner: str,
    ids: Ids,
    copied: Mapping[str, Any] | None,
    policy: NodePolicy,
) -> dict[str, Any]:
    """The service's definition, with no replica yet: it starts when it is given one.

    Args:
        job: the attempt.
        kind: the definition.
        node: name of the node that asks for it.
        owner: whose it is.
        ids: of the secrets and configs that it names.
        copied: the definition of the service to copy.
        policy: the node's, for what a task gets that says nothing of it.

    Raises:
        Refused: a template names what there is not, or a value cannot stand where it is.
    """
    labels = labels_of(job, owner)
    template = dict((copied or {}).get("TaskTemplate") or {})
    container = _container(job, kind, template.get("ContainerSpec") or {}, node=node, labels=labels, ids=ids)
    return {
        "Name": name_of(job.key),
        "Labels": labels,
        "TaskTemplate": {
            **given(
                Resources=_resources(job.spec.resources or Resources(), template.get("Resources") or {}, policy),
                Placement=_placement(job.spec.constraints, template.get("Placement") or {}),
                Networks=_networks(kind, template, copied or {}),
                # The driver of the copied service may keep nothing that could be read again.
                LogDriver={"Name": "local", "Options": {"max-size": "20m", "max-file": "3"}},
            ),
            "ContainerSpec": container,
            "RestartPolicy": {"Condition": "none", "MaxAttempts": 0},
        },
        "Mode": {"Replicated": {"Replicas": 0}},
        # Nobody calls it, so it needs no virtual address; and a copy must not take the ports of what it copies.
        "EndpointSpec": {"Mode": "dnsrr"},
    }


def _container(
    job: Job,
    kind: ServiceKind,
    copied: Mapping[str, Any],
    *,
    node: str,
    labels: Mapping[str, str],
    ids: Ids,
) -> dict[str, Any]:
    values = template_values(job, node=node)
    grace = job.spec.stop_grace or timedelta(0)
    return {
        **copied,
        **given(
            Image=kind.image,
            Command=list(kind.entrypoint),
            Args=_arguments(kind.command, values),
            Dir=kind.working_dir,
            User=kind.user,
            StopSignal=kind.stop_signal,
            Mounts=[*(copied.get("Mounts") or ()), *(mount_of(mount) for mount in kind.mounts)],
            Secrets=[*(copied.get("Secrets") or ()), *(_secret(file, ids) for file in kind.secrets)],
            Configs=[*(copied.get("Configs") or ()), *(_config(file, ids) for file in kind.configs)],
        ),
        "Env": _environment(job, kind, copied, values),
        "Labels": _container_labels(copied.get("Labels") or {}, labels),
        # As for a container; engines that do not know it for services pass it over.
        "Privileges": {**(copied.get("Privileges") or {}), "NoNewPrivileges": True},
        "Init": True,
        "TTY": False,
        "OpenStdin": False,
        "StopGracePeriod": round(grace / timedelta(microseconds=1)) * NANOSECONDS,
        # A command that runs once is not well or unwell as the service is that it was copied from.
        "Healthcheck": {"Test": ["NONE"]},
    }


def _container_labels(copied: Mapping[str, str], ours: Mapping[str, str]) -> dict[str, str]:
    """Without an owner: on its node it would pass for a stray of an executor that only knows of the service."""
    return {name: value for name, value in {**copied, **ours}.items() if name != OWNER_LABEL}


def _arguments(command: Sequence[str], values: Mapping[str, Value]) -> list[str]:
    return [rendered(argument, values, f"argument {index}") for index, argument in enumerate(command)]


def _environment(job: Job, kind: ServiceKind, copied: Mapping[str, Any], values: Mapping[str, Value]) -> list[str]:
    ours = environment_of(job, kind.env, values)
    kept = [entry for entry in copied.get("Env") or () if entry.partition("=")[0] not in ours]
    return [*kept, *(f"{name}={value}" for name, value in ours.items())]


def _secret(file: SwarmFile, ids: Ids) -> dict[str, Any]:
    return {"SecretID": ids["secrets", file.name], "SecretName": file.name, "File": _file(file.target or file.name)}


def _config(file: SwarmFile, ids: Ids) -> dict[str, Any]:
    target = file.target or f"/{file.name}"
    return {"ConfigID": ids["configs", file.name], "ConfigName": file.name, "File": _file(target)}


def _file(target: str) -> dict[str, Any]:
    return {"Name": target, "UID": "0", "GID": "0", "Mode": _READABLE}


def _resources(resources: Resources, copied: Mapping[str, Any], policy: NodePolicy) -> dict[str, Any]:
    """What the task says is reserved and is the limit, as for a container."""
    ours, most = _amount(resources), _amount(policy.limited(resources))
    return given(
        Limits={**(copied.get("Limits") or {}), **most, "Pids": policy.pids},
        Reservations={**(copied.get("Reservations") or {}), **ours},
    )


def _amount(resources: Resources) -> dict[str, Any]:
    return given(NanoCPUs=round(resources.cpus * NANOS), MemoryBytes=resources.memory)


def _placement(constraints: Sequence[str], copied: Mapping[str, Any]) -> dict[str, Any]:
    # Platforms belong to the image of the copy; with another one the Swarm finds out by itself.
    return given(Constraints=[*(copied.get("Constraints") or ()), *constraints], Preferences=copied.get("Preferences"))


def _networks(kind: ServiceKind, template: Mapping[str, Any], copied: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Without the aliases of the copied service: nobody must reach the copy under its name."""
    known = template.get("Networks") or copied.get("Networks") or ()
    return [{"Target": name} for name in dict.fromkeys([*(one["Target"] for one in known), *kind.networks])]


def wanted_files(kind: ServiceKind) -> list[tuple[str, str]]:
    """The secrets and configs whose ids `spec_of` needs."""
    named = [("secrets", file.name) for file in kind.secrets] + [("configs", file.name) for file in kind.configs]
    return list(dict.fromkeys(named))
