"""Whether what a task runs is possible."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from dts.domain.image import check_image, split_image
from dts.domain.kinds import KINDS, kinds_of
from dts.domain.template import check_template
from dts.domain.validate_http import check_http
from dts.domain.validate_text import Findings, check_enum, text_trouble, under
from dts.pb.dts.v1 import (
    ContainerKind,
    ExecKind,
    Kind,
    ProcessKind,
    PullPolicy,
    Replicas,
    ServiceKind,
    SwarmFile,
    VolumeMount,
)

COMMAND_BYTES = 64 * 1024
ARGUMENTS = 1000
VARIABLES = 128
ENVIRONMENT_BYTES = 64 * 1024
PATH_LENGTH = 4096
MOUNTS = 32
RESERVED = "DTS_"

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}", re.ASCII)
_USER = re.compile(r"([a-zA-Z_][a-zA-Z0-9_.-]{0,31}|\d{1,10})(?::([a-zA-Z_][a-zA-Z0-9_.-]{0,31}|\d{1,10}))?", re.ASCII)
_HIGHEST_ID = (1 << 31) - 1
_OBJECT = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,126}", re.ASCII)
_SIGNAL = re.compile(r"(?:SIG)?(?:HUP|INT|QUIT|TERM|USR1|USR2|WINCH|ALRM|CONT|ABRT|PIPE|KILL)", re.ASCII)
_REAL_TIME_SIGNAL = re.compile(r"(?:SIG)?RTMIN\+(?:[1-9]|[12]\d|30)", re.ASCII)
_FOREIGN_NETWORKS = re.compile(r"host|container:.*", re.DOTALL)


def check_kind(kind: Kind | None, findings: Findings) -> None:
    """Exactly one kind, with fields that are possible."""
    given = kinds_of(kind)
    if not given:
        findings.refuse("kind", "kind.missing", f"is missing; a task runs exactly one of {', '.join(KINDS)}")
    elif len(given) > 1:
        findings.refuse("kind", "kind.many", f"is {' and '.join(given)}; a task runs exactly one of them")
    elif kind is not None and kind.container is not None:
        _check_container(kind.container, findings)
    elif kind is not None and kind.process is not None:
        _check_process(kind.process, findings)
    elif kind is not None and kind.service is not None:
        _check_service(kind.service, findings)
    elif kind is not None and kind.exec is not None:
        _check_exec(kind.exec, findings)
    elif kind is not None and kind.http is not None:
        check_http(kind.http, findings)


def _check_service(service: ServiceKind, findings: Findings) -> None:
    if not service.copy_of and not service.image:
        findings.refuse("service.image", "image.missing", "is missing; a service has an image, or is a copy of another")
    if service.copy_of and not _OBJECT.fullmatch(service.copy_of):
        findings.refuse("service.copy_of", "service.name", "is the name of a service: letters, digits and . _ -")
    if service.image:
        _check_image(service.image, "service.image", findings)
    _check_command(service.command, "service.command", findings)
    _check_command(service.entrypoint, "service.entrypoint", findings, templates=False)
    _check_env(service.env, "service.env", findings)
    _check_path(service.working_dir, "service.working_dir", findings)
    _check_user(service.user, "service.user", findings)
    _check_swarm_files(service.secrets, "service.secrets", findings)
    _check_swarm_files(service.configs, "service.configs", findings)
    _check_networks(service.networks, findings)
    _check_mounts(service.mounts, "service.mounts", findings)
    _check_signal(service.stop_signal, "service.stop_signal", findings, real_time=True)


def _check_exec(command: ExecKind, findings: Findings) -> None:
    if bool(command.container) == bool(command.service):
        findings.refuse("exec", "exec.target", "runs in a container or in a service: exactly one of them is named")
    for name in ("container", "service"):
        if (target := getattr(command, name)) and not _OBJECT.fullmatch(target):
            findings.refuse(f"exec.{name}", "exec.target", f"is the name of a {name}: letters, digits and . _ -")
    check_enum("exec.replicas", command.replicas, Replicas, findings)
    if command.replicas is Replicas.ALL and command.container:
        findings.refuse("exec.replicas", "exec.replicas", "means nothing for a container; a service has replicas")
    if not command.command or not command.command[0]:
        findings.refuse("exec.command", "command.empty", "is empty; it is a list: program and arguments")
    _check_command(command.command, "exec.command", findings)
    _check_env(command.env, "exec.env", findings)
    _check_path(command.working_dir, "exec.working_dir", findings)
    _check_user(command.user, "exec.user", findings)


def _check_swarm_files(files: Sequence[SwarmFile], path: str, findings: Findings) -> None:
    if len(files) > MOUNTS:
        findings.refuse(path, "files.many", f"are {len(files)}; at most {MOUNTS} are allowed")
        return
    targets: set[str] = set()
    for number, file in enumerate(files):
        if not _OBJECT.fullmatch(file.name):
            findings.refuse(f"{path}[{number}].name", "files.name", "is a name of letters, digits and . _ -")
        target = file.target or file.name
        if file.target and not (_OBJECT.fullmatch(file.target) or file.target.startswith("/")):
            findings.refuse(f"{path}[{number}].target", "files.target", "is the name of a file, or an absolute path")
        elif file.target.startswith("/"):
            _check_path(file.target, f"{path}[{number}].target", findings)
        if target in targets:
            findings.refuse(f"{path}[{number}].target", "files.twice", "is the target of an earlier one")
        targets.add(target)


def _check_networks(networks: Sequence[str], findings: Findings) -> None:
    if len(networks) > MOUNTS:
        findings.refuse("service.networks", "networks.many", f"are {len(networks)}; at most {MOUNTS} are allowed")
        return
    for number, network in enumerate(networks):
        _check_network(network or "?", f"service.networks[{number}]", findings)


def _check_image(image: str, path: str, findings: Findings) -> None:
    if wrong := check_image(image):
        findings.refuse(path, "image.invalid", wrong)
    elif split_image(image)[1:] in {(None, None), ("latest", None)}:
        findings.warn(path, "image.unpinned", "names no version: latest changes under your feet")


def _check_process(process: ProcessKind, findings: Findings) -> None:
    if not process.command or not process.command[0]:
        findings.refuse("process.command", "command.empty", "is empty; it is a list: program and arguments")
    _check_command(process.command, "process.command", findings)
    _check_env(process.env, "process.env", findings)
    _check_path(process.working_dir, "process.working_dir", findings)
    _check_signal(process.stop_signal, "process.stop_signal", findings)


def _check_container(container: ContainerKind, findings: Findings) -> None:
    _check_image(container.image, "container.image", findings)
    _check_command(container.command, "container.command", findings)
    _check_command(container.entrypoint, "container.entrypoint", findings, templates=False)
    _check_env(container.env, "container.env", findings)
    _check_path(container.working_dir, "container.working_dir", findings)
    _check_user(container.user, "container.user", findings)
    check_enum("container.pull", container.pull, PullPolicy, findings)
    _check_network(container.network, "container.network", findings)
    _check_mounts(container.mounts, "container.mounts", findings)
    _check_signal(container.stop_signal, "container.stop_signal", findings, real_time=True)


def _check_user(user: str, path: str, findings: Findings) -> None:
    match = _USER.fullmatch(user)
    ids = [int(part) for part in (match.groups() if match else ()) if part and part.isdecimal()]
    if user and (match is None or max(ids, default=0) > _HIGHEST_ID):
        words = "is a name or number, with an optional group: app:app or 1000"
        findings.refuse(path, "user.invalid", words)


def _check_network(network: str, path: str, findings: Findings) -> None:
    if _FOREIGN_NETWORKS.fullmatch(network):
        why = "is the name of a network; the host's own and those of other containers are not allowed"
        findings.refuse(path, "network.denied", why)
    elif network and not _OBJECT.fullmatch(network):
        findings.refuse(path, "network.invalid", "is the name of a network: letters, digits and . _ -")


def _check_mounts(mounts: Sequence[VolumeMount], field: str, findings: Findings) -> None:
    if len(mounts) > MOUNTS:
        many = f"are {len(mounts)}; at most {MOUNTS} are allowed"
        findings.refuse(field, "mounts.many", many)
        return
    targets: set[str] = set()
    for number, mount in enumerate(mounts):
        path = f"{field}[{number}]"
        _check_mount(mount, path, findings)
        target = _plain(mount.target)
        if target in targets:
            findings.refuse(f"{path}.target", "mounts.twice", "is the target of an earlier mount")
        targets.add(target)


def _check_mount(mount: VolumeMount, path: str, findings: Findings) -> None:
    if not _OBJECT.fullmatch(mount.volume):
        why = "is the name of a volume; folders of the host are not allowed"
        findings.refuse(f"{path}.volume", "mounts.volume", why)
    if _plain(mount.target) == "":
        findings.refuse(f"{path}.target", "mounts.target", "is an absolute path in the container, and not / itself")
    _check_path(mount.target, f"{path}.target", findings)


def _plain(path: str) -> str:
    """A path without what means nothing in it: `/a//./b/` is /a/b."""
    return "/".join(part for part in path.split("/") if part not in {"", "."})


def _check_command(command: Sequence[str], path: str, findings: Findings, *, templates: bool = True) -> None:
    if len(command) > ARGUMENTS:
        findings.refuse(path, "command.long", f"has {len(command)} arguments; at most {ARGUMENTS} are allowed")
        return
    for number, argument in enumerate(command):
        _check_value(argument, f"{path}[{number}]", findings, templates=templates)
    if sum(len(argument) for argument in command) > COMMAND_BYTES:
        findings.refuse(path, "command.long", f"is larger than {COMMAND_BYTES // 1024} KiB")


def _check_env(env: Mapping[str, str], path: str, findings: Findings) -> None:
    if len(env) > VARIABLES:
        findings.refuse(path, "env.many", f"has {len(env)} variables; at most {VARIABLES} are allowed")
        return
    for name, value in env.items():
        if not _VARIABLE.fullmatch(name):
            words = "a name has letters, digits and _, no digit first, and at most 255 of them"
            findings.refuse(under(path, name), "env.name", words)
        elif name.startswith(RESERVED):
            findings.refuse(under(path, name), "env.reserved", f"names that begin with {RESERVED} are set by dts")
        else:
            _check_value(value, under(path, name), findings)
    if sum(len(name) + len(value) for name, value in env.items()) > ENVIRONMENT_BYTES:
        findings.refuse(path, "env.long", f"is larger than {ENVIRONMENT_BYTES // 1024} KiB")


def _check_value(text: str, path: str, findings: Findings, *, templates: bool = True) -> None:
    """An argument or variable: text of any number of lines, with templates that mean something."""
    if trouble := text_trouble(text):
        findings.refuse(path, "text.characters", trouble)
    elif templates and (wrong := check_template(text)):
        findings.refuse(path, "template.invalid", wrong)


def _check_path(text: str, path: str, findings: Findings) -> None:
    if not text:
        return
    if trouble := text_trouble(text, lines=False):
        findings.refuse(path, "text.characters", trouble)
    elif not text.startswith("/") or ".." in text.split("/") or len(text) > PATH_LENGTH:
        words = f"is an absolute path without .. and of at most {PATH_LENGTH} characters"
        findings.refuse(path, "path.invalid", words)


def _check_signal(text: str, path: str, findings: Findings, *, real_time: bool = False) -> None:
    """real_time: an engine knows SIGRTMIN+3, which systemd wants; a process is stopped with one of the plain ones."""
    name = text.upper()
    if text and not _SIGNAL.fullmatch(name) and not (real_time and _REAL_TIME_SIGNAL.fullmatch(name)):
        findings.refuse(path, "signal.unknown", "is the name of a signal such as SIGTERM or SIGINT")
