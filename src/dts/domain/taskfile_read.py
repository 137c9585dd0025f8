"""Reads one definition from YAML."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from enum import IntEnum
from typing import Any

import yaml

from dts.domain.durations import parse_duration
from dts.domain.kinds import KINDS
from dts.domain.sizes import parse_size
from dts.domain.taskfile_values import Place, Problems
from dts.domain.words import read_rfc3339
from dts.pb.dts.v1 import (
    Backoff,
    Catchup,
    ContainerKind,
    Cron,
    DateRange,
    Dialect,
    ExecKind,
    FoldPolicy,
    GapPolicy,
    HttpKind,
    Interval,
    Kind,
    NodeChoice,
    NodeLoss,
    NoopKind,
    OneShot,
    Overlap,
    Policies,
    ProcessKind,
    PullPolicy,
    Replicas,
    Resources,
    Rule,
    Schedule,
    ServiceKind,
    SwarmFile,
    TaskSpec,
    VolumeMount,
)

MOST = {32: 2**31 - 1, 64: 2**63 - 1}


def read_spec(place: Place, problems: Problems) -> TaskSpec:
    """Reads one definition; what is wrong is left to `problems`."""
    return _Reader(problems).spec(place)


class _Reader:
    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._text = problems.text
        self._duration = problems.parsed(parse_duration)
        self._integer = problems.parsed(lambda text: _integer(text, 32))
        self._number = problems.parsed(_number)
        self._flag = problems.parsed(_flag)
        self._instant = problems.parsed(read_rfc3339)
        self._size = problems.parsed(parse_size)

    def spec(self, place: Place) -> TaskSpec:
        values = self._problems.mapping(place, self._spec_keys())
        kinds = {name: values.pop(name) for name in KINDS if name in values}
        own = {name: values.pop(name) for name in ("name", "description", "schedule", "labels") if name in values}
        if not own.get("name"):
            self._problems.add(place, "task.unnamed", f"{place.path or 'the task'} has no name")
        if len(kinds) > 1:
            self._problems.add(place, "kind.many", f"a task runs one of {' and '.join(kinds)}, not both")
            kinds = {}
        return TaskSpec(**own, kind=Kind(**kinds) if kinds else None, policies=Policies(**values) if values else None)

    def _spec_keys(self) -> dict[str, Callable[[Place], Any]]:
        return {
            "name": self._text,
            "description": self._text,
            "schedule": self._schedule,
            "container": self._container,
            "process": self._process,
            "noop": self._noop,
            "service": self._service,
            "exec": self._exec,
            "http": self._http,
            "labels": self._problems.pairs,
            **self._policy_keys(),
        }

    def _policy_keys(self) -> dict[str, Callable[[Place], Any]]:
        return {
            "overlap": self._enum(Overlap),
            "max_parallel": self._integer,
            "group": self._text,
            "group_limit": self._integer,
            "queue_limit": self._integer,
            "catchup": self._enum(Catchup),
            "catchup_window": self._duration,
            "catchup_max": self._integer,
            "start_deadline": self._duration,
            "timeout": self._duration,
            "stop_grace": self._duration,
            "retries": self._integer,
            "backoff": self._backoff,
            "retry_exit_codes": self._integers,
            "on_node_loss": self._enum(NodeLoss),
            "node_loss_wait": self._duration,
            "constraints": self._problems.texts,
            "prefer": self._problems.texts,
            "spread": self._problems.texts,
            "node": self._enum(NodeChoice),
            "resources": self._resources,
        }

    def _schedule(self, place: Place) -> Schedule | None:
        keys: dict[str, Callable[[Place], Any]] = {
            "cron": self._problems.one_or_many,
            "dialect": self._enum(Dialect),
            "every": self._problems.one_or_many,
            "phase": self._duration,
            "at": self._problems.one_or_many,
            "timezone": self._text,
            "jitter": self._duration,
            "starts_at": self._instant,
            "ends_at": self._instant,
            "exclude": self._exclude,
            "max_runs": self._problems.parsed(lambda text: _integer(text, 64)),
            "dst_gap": self._enum(GapPolicy),
            "dst_fold": self._enum(FoldPolicy),
        }
        values = self._problems.mapping(place, keys)
        dialect, phase = values.pop("dialect", Dialect.UNSPECIFIED), values.pop("phase", None)
        rules = [self._cron(each, dialect) for each in values.pop("cron", ())]
        rules += [self._every(each, phase) for each in values.pop("every", ())]
        rules += [Rule(at=OneShot(time=self._text(each) or "")) for each in values.pop("at", ())]
        if not rules:
            self._problems.add(place, "schedule.empty", "a schedule has at least one of cron, every and at")
        return Schedule(rules=rules, **values)

    def _cron(self, place: Place, dialect: Dialect) -> Rule:
        if not isinstance(place.node, yaml.MappingNode):
            return Rule(cron=Cron(expression=self._text(place) or "", dialect=dialect))
        values = self._problems.mapping(place, {"expression": self._text, "dialect": self._enum(Dialect)})
        return Rule(cron=Cron(**values))

    def _every(self, place: Place, phase: timedelta | None) -> Rule:
        if not isinstance(place.node, yaml.MappingNode):
            return Rule(every=Interval(period=self._duration(place), phase=phase))
        values = self._problems.mapping(place, {"period": self._duration, "phase": self._duration})
        return Rule(every=Interval(**values))

    def _exclude(self, place: Place) -> list[DateRange]:
        ranges = []
        for text in self._problems.texts(place):
            first, _, last = text.partition("..")
            ranges.append(DateRange(first=first.strip(), last=last.strip()))
        return ranges

    def _container(self, place: Place) -> ContainerKind:
        keys: dict[str, Callable[[Place], Any]] = {
            "image": self._text,
            "command": self._problems.texts,
            "entrypoint": self._problems.texts,
            "env": self._problems.pairs,
            "working_dir": self._text,
            "user": self._text,
            "pull": self._enum(PullPolicy),
            "network": self._text,
            "mounts": self._mounts,
            "read_only": self._flag,
            "stop_signal": self._text,
        }
        return ContainerKind(**self._problems.mapping(place, keys))

    def _service(self, place: Place) -> ServiceKind:
        keys: dict[str, Callable[[Place], Any]] = {
            "copy_of": self._text,
            "image": self._text,
            "command": self._problems.texts,
            "entrypoint": self._problems.texts,
            "env": self._problems.pairs,
            "working_dir": self._text,
            "user": self._text,
            "secrets": self._swarm_files,
            "configs": self._swarm_files,
            "networks": self._problems.texts,
            "mounts": self._mounts,
            "stop_signal": self._text,
        }
        return ServiceKind(**self._problems.mapping(place, keys))

    def _exec(self, place: Place) -> ExecKind:
        keys: dict[str, Callable[[Place], Any]] = {
            "container": self._text,
            "service": self._text,
            "replicas": self._enum(Replicas),
            "command": self._problems.texts,
            "env": self._problems.pairs,
            "working_dir": self._text,
            "user": self._text,
        }
        return ExecKind(**self._problems.mapping(place, keys))

    def _http(self, place: Place) -> HttpKind:
        keys: dict[str, Callable[[Place], Any]] = {
            "url": self._text,
            "method": self._text,
            "headers": self._problems.pairs,
            "body": self._text,
            "expect": self._integers,
        }
        return HttpKind(**self._problems.mapping(place, keys))

    def _swarm_files(self, place: Place) -> list[SwarmFile]:
        keys = {"name": self._text, "target": self._text}
        return [
            SwarmFile(**self._problems.mapping(each, keys))
            if isinstance(each.node, yaml.MappingNode)
            else SwarmFile(name=self._text(each) or "")
            for each in self._problems.one_or_many(place)
        ]

    def _mounts(self, place: Place) -> list[VolumeMount]:
        keys = {"volume": self._text, "target": self._text, "read_only": self._flag}
        return [VolumeMount(**self._problems.mapping(each, keys)) for each in self._problems.one_or_many(place)]

    def _process(self, place: Place) -> ProcessKind:
        keys: dict[str, Callable[[Place], Any]] = {
            "command": self._problems.texts,
            "env": self._problems.pairs,
            "working_dir": self._text,
            "stop_signal": self._text,
        }
        return ProcessKind(**self._problems.mapping(place, keys))

    def _noop(self, place: Place) -> NoopKind:
        if not isinstance(place.node, yaml.ScalarNode) or self._text(place):
            self._problems.empty(place)
        return NoopKind()

    def _backoff(self, place: Place) -> Backoff:
        keys: dict[str, Callable[[Place], Any]] = {
            "initial": self._duration,
            "factor": self._number,
            "max": self._duration,
        }
        return Backoff(**self._problems.mapping(place, keys))

    def _resources(self, place: Place) -> Resources:
        return Resources(**self._problems.mapping(place, {"cpus": self._number, "memory": self._size}))

    def _integers(self, place: Place) -> list[int]:
        read = [self._integer(each) for each in self._problems.one_or_many(place)]
        return [number for number in read if number is not None]

    def _enum(self, kind: type[IntEnum]) -> Callable[[Place], IntEnum | None]:
        words = {member.name.lower(): member for member in kind if member and member.name}

        def parse(text: str) -> IntEnum:
            if text not in words:
                raise ValueError(f"{text[:64]!r} is not one of {', '.join(words)}")
            return words[text]

        return self._problems.parsed(parse)


def _integer(text: str, bits: int) -> int:
    """Within what the field can carry: one bit more would be cut off without a word."""
    if not re.fullmatch(r"-?\d{1,19}", text, re.ASCII) or abs(int(text)) > MOST[bits]:
        raise ValueError(f"{text[:64]!r} is not a whole number, or too large")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text[:64]!r} is not a number") from None


def _flag(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError(f"{text[:64]!r} is not true or false")
    return text == "true"
