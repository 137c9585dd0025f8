"""The world a process sees: its command, its environment, its directory. What is wrong is said before anything runs."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from signal import Signals

from dts.domain.template import PARAMETER, Value, check_template, render
from dts.pb.dts.v1 import ProcessKind, Reason
from dts.roles.executor.process.census import ATTEMPT, RUN_ID
from dts.roles.executor.work import Job, Refused

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

INHERITED = ("HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR")
"""All that a process has of the executor's own environment, beside PATH."""

TOLD = {
    "DTS_TASK": "{{ task }}",
    "DTS_SCHEDULED_AT": "{{ scheduled_at }}",
    "DTS_PREVIOUS_SUCCESS_AT": "{{ previous_success_at }}",
    "DTS_NODE": "{{ node }}",
}
"""Variables that every process has; instants as RFC 3339 writes them, in UTC, empty if there was none."""

TRACEPARENT = "TRACEPARENT"
"""As every library of OpenTelemetry knows it."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_NOT_IN_A_VARIABLE = re.compile(r"[^A-Z0-9_]", re.ASCII)
_SHOWN = 64


@dataclass(frozen=True, slots=True)
class House:
    """What is the same for every process of the node."""

    node: str
    path: Sequence[Path]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class World:
    """What one process is started with."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    cwd: Path
    stop: Signals


def world(job: Job, house: House, *, home: Path) -> World:
    """Everything that the process is to be started with, checked on this machine.

    Args:
        job: the attempt.
        house: what is the same for every process.
        home: its directory if the task names none.

    Raises:
        Refused: something is wrong with it, or missing here.
    """
    kind = _kind_of(job)
    values = template_values(job, node=house.node)
    environment = _environment(job, kind, house, values)
    cwd = _directory(kind.working_dir) if kind.working_dir else home
    command = [_rendered(argument, values, f"argument {index}") for index, argument in enumerate(kind.command)]
    command[0] = _program(command[0], environment["PATH"], cwd)
    return World(tuple(command), environment, cwd, stop_signal(kind.stop_signal))


def template_values(job: Job, *, node: str) -> dict[str, Value]:
    """What templates may name."""
    values: dict[str, Value] = {
        "run_id": str(job.run_id),
        "task": job.spec.task,
        "attempt": job.attempt,
        "scheduled_at": job.scheduled_at.astimezone(UTC),
        "previous_success_at": job.previous_success_at and job.previous_success_at.astimezone(UTC),
        "node": node,
    }
    return values | {PARAMETER + name: value for name, value in job.parameters.items()}


def stop_signal(name: str) -> Signals:
    """The signal of a name such as SIGINT or INT; SIGTERM if it is empty.

    Raises:
        Refused: there is no such signal.
    """
    full = name.upper() if name.upper().startswith("SIG") else f"SIG{name.upper()}"
    try:
        return Signals[full] if name else Signals.SIGTERM
    except KeyError:
        sentence = f"the stop signal must be the name of a signal, such as SIGTERM or SIGINT; it is {_shown(name)}"
        raise _invalid(sentence) from None


def _kind_of(job: Job) -> ProcessKind:
    kind = job.spec.kind.process if job.spec.kind else None
    if kind is None or not kind.command or not kind.command[0]:
        raise _invalid("the command of a process must name a program")
    return kind


def _environment(job: Job, kind: ProcessKind, house: House, values: Mapping[str, Value]) -> dict[str, str]:
    """The later wins, but what names the attempt wins over all: by it the processes of a run are found."""
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    environment["PATH"] = ":".join([*map(str, house.path), os.environ.get("PATH") or DEFAULT_PATH])
    environment |= house.environment
    environment |= told(job, values)
    environment |= {parameter_variable(name): value for name, value in job.parameters.items()}
    environment |= {_variable(name): _rendered(text, values, f"variable {name}") for name, text in kind.env.items()}
    environment |= {RUN_ID: str(job.run_id), ATTEMPT: str(job.attempt)}
    return {name: _no_nul(value, f"variable {name}") for name, value in environment.items()}


def told(job: Job, values: Mapping[str, Value]) -> dict[str, str]:
    """What every run finds in its environment."""
    variables = {name: render(text, values) for name, text in TOLD.items()}
    return variables | ({TRACEPARENT: job.traceparent} if job.traceparent else {})


def parameter_variable(name: str) -> str:
    """The variable of a parameter: DTS_PARAM_ and its name in capitals, `_` for what cannot stand in a variable."""
    return "DTS_PARAM_" + _NOT_IN_A_VARIABLE.sub("_", name.upper())


def _variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise _invalid(
            f"a variable's name consists of letters, digits and _ and does not begin with a digit; it is {_shown(name)}"
        )
    return name


def _rendered(text: str, values: Mapping[str, Value], where: str) -> str:
    if wrong := check_template(text):
        raise _invalid(f"{where} {wrong}")
    return _no_nul(render(text, values), where)


def _no_nul(text: str, where: str) -> str:
    if "\0" in text:
        raise _invalid(f"{where} must not contain a NUL character")
    return text


def _directory(path: str) -> Path:
    if not path.startswith("/") or "\0" in path:
        raise _invalid(f"the working directory must be an absolute path; it is {_shown(path)}")
    if not os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises where this is False
        raise _not_here(f"the working directory {_shown(path)} does not exist on this node")
    if not os.access(path, os.X_OK):
        raise _not_here(f"the working directory {_shown(path)} is not accessible on this node")
    return Path(path)


def _program(name: str, path: str, cwd: Path) -> str:
    """The program as it goes into the command: as it was named, unless the shell could take it for an option."""
    found = _file(cwd / name) if "/" in name else shutil.which(name, path=path)
    if found is None:
        raise _not_here(f"the program {_shown(name)} was not found in PATH on this node")
    return found if name.startswith("-") else name


def _file(path: Path) -> str:
    if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises where this is False
        raise _not_here(f"the program {_shown(str(path))} does not exist on this node")
    if not os.access(path, os.X_OK):
        raise _not_here(f"the program {_shown(str(path))} is not executable on this node")
    return str(path)


def _shown(text: str) -> str:
    """What was given, if it is short and harmless."""
    return f"'{text}'" if text.isprintable() and len(text) <= _SHOWN else "not shown here"


def _invalid(sentence: str) -> Refused:
    return Refused(Reason.INVALID, sentence, final=True)


def _not_here(sentence: str) -> Refused:
    return Refused(Reason.INVALID, sentence)
