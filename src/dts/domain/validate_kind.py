"""Whether what a task runs is possible."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from dts.domain.image import check_image, split_image
from dts.domain.template import check_template
from dts.domain.validate_text import Findings, text_trouble
from dts.pb.dts.v1 import ContainerKind, Kind, ProcessKind, VolumeMount

KINDS = "container, process and noop"
COMMAND_BYTES = 64 * 1024
ARGUMENTS = 1000
VARIABLES = 128
ENVIRONMENT_BYTES = 128 * 1024
PATH_LENGTH = 4096
MOUNTS = 32
RESERVED = "DTS_"

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}", re.ASCII)
_USER = re.compile(r"(?:[a-z_][a-z0-9_-]{0,31}|\d{1,9})(?::(?:[a-z_][a-z0-9_-]{0,31}|\d{1,9}))?", re.ASCII)
_OBJECT = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,126}", re.ASCII)
_SIGNAL = re.compile(
    r"(?:SIG)?(?:HUP|INT|QUIT|TERM|USR1|USR2|WINCH|ALRM|CONT|ABRT|PIPE|KILL|RTMIN(?:\+\d{1,2})?)", re.ASCII
)
_HOST_NETWORKS = re.compile(r"host|none|container:.*")


def check_kind(kind: Kind | None, findings: Findings) -> None:
    """Exactly one kind, with fields that are possible."""
    given = (
        [] if kind is None else [name for name in ("container", "process", "noop") if getattr(kind, name) is not None]
    )
    if len(given) != 1:
        findings.refuse("kind", "kind.missing", f"is missing; a task runs exactly one of {KINDS}")
    elif kind is not None and kind.container is not None:
        _check_container(kind.container, findings)
    elif kind is not None and kind.process is not None:
        _check_process(kind.process, findings)


def _check_process(process: ProcessKind, findings: Findings) -> None:
    if not process.command or not process.command[0]:
        findings.refuse("process.command", "command.empty", "is empty; it is a list: program and arguments")
    _check_command(process.command, "process.command", findings)
    _check_env(process.env, "process.env", findings)
    _check_path(process.working_dir, "process.working_dir", findings)
    _check_signal(process.stop_signal, "process.stop_signal", findings)


def _check_container(container: ContainerKind, findings: Findings) -> None:
    if wrong := check_image(container.image):
        findings.refuse("container.image", "image.invalid", wrong)
    elif split_image(container.image)[1:] in {(None, None), ("latest", None)}:
        findings.warn("container.image", "image.unpinned", "names no version: latest changes under your feet")
    _check_command(container.command, "container.command", findings)
    _check_command(container.entrypoint, "container.entrypoint", findings)
    _check_env(container.env, "container.env", findings)
    _check_path(container.working_dir, "container.working_dir", findings)
    _check_signal(container.stop_signal, "container.stop_signal", findings)
    if container.user and not _USER.fullmatch(container.user):
        findings.refuse(
            "container.user", "user.invalid", "is a name or number, with an optional group: app:app or 1000"
        )
    if container.network and _HOST_NETWORKS.fullmatch(container.network):
        why = "is the name of a network; the host's own and those of other containers are not allowed"
        findings.refuse("container.network", "network.denied", why)
    elif container.network and not _OBJECT.fullmatch(container.network):
        findings.refuse("container.network", "network.invalid", "is the name of a network: letters, digits and . _ -")
    if len(container.mounts) > MOUNTS:
        findings.refuse("container.mounts", "mounts.many", f"are {len(container.mounts)}; at most {MOUNTS} are allowed")
    for number, mount in enumerate(container.mounts[:MOUNTS]):
        _check_mount(mount, f"container.mounts[{number}]", findings)


def _check_mount(mount: VolumeMount, path: str, findings: Findings) -> None:
    if not _OBJECT.fullmatch(mount.volume):
        findings.refuse(
            f"{path}.volume", "mounts.volume", "is the name of a volume; folders of the host are not allowed"
        )
    if not mount.target or mount.target == "/":
        findings.refuse(f"{path}.target", "mounts.target", "is an absolute path in the container, and not / itself")
    _check_path(mount.target, f"{path}.target", findings)


def _check_command(command: Sequence[str], path: str, findings: Findings) -> None:
    if len(command) > ARGUMENTS:
        findings.refuse(path, "command.long", f"has {len(command)} arguments; at most {ARGUMENTS} are allowed")
        return
    for number, argument in enumerate(command):
        _check_value(argument, f"{path}[{number}]", findings)
    if sum(len(argument) for argument in command) > COMMAND_BYTES:
        findings.refuse(path, "command.long", f"is larger than {COMMAND_BYTES // 1024} KiB")


def _check_env(env: Mapping[str, str], path: str, findings: Findings) -> None:
    if len(env) > VARIABLES:
        findings.refuse(path, "env.many", f"has {len(env)} variables; at most {VARIABLES} are allowed")
        return
    for name, value in env.items():
        if not _VARIABLE.fullmatch(name):
            findings.refuse(path, "env.name", "a name has letters, digits and _, and no digit first")
        elif name.startswith(RESERVED):
            findings.refuse(f"{path}.{name}", "env.reserved", f"names that begin with {RESERVED} are set by dts")
        else:
            _check_value(value, f"{path}.{name}", findings)
    if sum(len(name) + len(value) for name, value in env.items()) > ENVIRONMENT_BYTES:
        findings.refuse(path, "env.long", f"is larger than {ENVIRONMENT_BYTES // 1024} KiB")


def _check_value(text: str, path: str, findings: Findings) -> None:
    """An argument or variable: any text without NUL, with templates that mean something."""
    if "\0" in text:
        findings.refuse(path, "text.characters", "holds a NUL, which no program can be given")
    elif any("\ud800" <= character <= "\udfff" for character in text):
        findings.refuse(path, "text.characters", "holds half a character: it is not valid Unicode")
    elif wrong := check_template(text):
        findings.refuse(path, "template.invalid", wrong)


def _check_path(text: str, path: str, findings: Findings) -> None:
    if not text:
        return
    if trouble := text_trouble(text, lines=False):
        findings.refuse(path, "text.characters", trouble)
    elif not text.startswith("/") or ".." in text.split("/") or len(text) > PATH_LENGTH:
        findings.refuse(path, "path.invalid", "is an absolute path without ..")


def _check_signal(text: str, path: str, findings: Findings) -> None:
    if text and not _SIGNAL.fullmatch(text.upper()):
        findings.refuse(path, "signal.unknown", "is the name of a signal such as SIGTERM or SIGINT")
