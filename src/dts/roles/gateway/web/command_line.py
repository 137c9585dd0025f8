"""The command that creates a task as it is defined, where the options of `dts task create` can say all of it."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

from dts.domain.kinds import KINDS

Document = dict[str, Any]

PLAIN = ("description", "overlap", "catchup", "catchup_window", "timeout", "start_deadline", "retries", "node")
LISTS = {"constraints": "--constraint", "prefer": "--prefer", "spread": "--spread"}


def create_command(document: Document) -> str | None:
    """The command; None if it could not say everything."""
    left = dict(document)
    options = [f"dts task create {shlex.quote(left.pop('name', ''))}"]
    options += _schedule(left)
    kind = next((name for name in KINDS if name in left), "noop")
    work = dict(left.pop(kind, {}))
    options += _KINDS[kind](work)
    said = [shlex.quote(word) for word in work.pop("command", [])]
    options += _pairs("--env", work.pop("env", {}))
    for name in PLAIN:
        if name in left:
            options.append(_option(f"--{name.replace('_', '-')}", left.pop(name)))
    for name, option in LISTS.items():
        options += [_option(option, each) for each in left.pop(name, [])]
    options += _pairs("--label", left.pop("labels", {}))
    if left or work:
        return None
    if said:
        options.append("-- " + " ".join(said))
    return " \\\n  ".join(options)


def _schedule(left: Document) -> list[str]:
    """The options of a schedule; what they cannot say stays."""
    schedule = dict(left.pop("schedule", {}))
    options = [
        _option(f"--{source}", each)
        for source in ("cron", "every", "at")
        for each in _several(schedule.pop(source, []))
    ]
    options += [
        _option(f"--{name}", schedule.pop(name)) for name in ("timezone", "dialect", "jitter") if name in schedule
    ]
    if schedule:
        left["schedule"] = schedule
    return options


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _container(work: Document) -> list[str]:
    return [_option("--image", work.pop("image", ""))]


def _service(work: Document) -> list[str]:
    if "copy_of" in work:
        copied = [_option("--service", work.pop("copy_of"))]
        return copied + ([_option("--image", work.pop("image"))] if "image" in work else [])
    return [_option("--image", work.pop("image", "")), "--swarm"]


def _exec(work: Document) -> list[str]:
    if "service" in work:
        options = [_option("--exec", "service/" + work.pop("service"))]
        return options + ([_option("--replicas", work.pop("replicas"))] if "replicas" in work else [])
    return [_option("--exec", work.pop("container", ""))]


def _http(work: Document) -> list[str]:
    options = [_option("--http", work.pop("url", ""))]
    options += [_option(f"--{name}", work.pop(name)) for name in ("method", "body") if name in work]
    return options + [_option("--header", f"{name}: {value}") for name, value in work.pop("headers", {}).items()]


_KINDS: dict[str, Callable[[Document], list[str]]] = {
    "container": _container,
    "service": _service,
    "exec": _exec,
    "process": lambda _: ["--process"],
    "http": _http,
    "noop": lambda _: ["--noop"],
}


def _pairs(option: str, values: dict[str, str]) -> list[str]:
    return [_option(option, f"{name}={value}") for name, value in values.items()]


def _option(name: str, value: object) -> str:
    return f"{name} {shlex.quote(str(value))}"
