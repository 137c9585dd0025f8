"""Reads one definition from YAML. Scalars are taken as they are written, so `no` stays no and 1:30 stays 1:30."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, TypeVar

import yaml

from dts.domain.durations import parse_duration
from dts.domain.errors import Violation
from dts.domain.sizes import parse_size
from dts.pb.dts.v1 import (
    Backoff,
    Catchup,
    ContainerKind,
    Cron,
    DateRange,
    Dialect,
    FoldPolicy,
    GapPolicy,
    Interval,
    Kind,
    NodeLoss,
    NoopKind,
    OneShot,
    Overlap,
    Policies,
    ProcessKind,
    PullPolicy,
    Resources,
    Rule,
    Schedule,
    TaskSpec,
    VolumeMount,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """A value in a file, and the path to it."""

    node: yaml.Node
    path: str

    @property
    def line(self) -> int:
        """From 1."""
        return int(self.node.start_mark.line) + 1

    def at(self, node: yaml.Node, name: str) -> Place:
        """A value inside this one."""
        dot = "." if self.path and not name.startswith("[") else ""
        return Place(node, f"{self.path}{dot}{name}")


@dataclass(slots=True)
class Problems:
    """Collects what is wrong, and reads plain values."""

    source: str
    found: list[Violation] = field(default_factory=list)

    def add(self, place: Place, code: str, message: str) -> None:
        """Something is wrong here."""
        self.found.append(Violation(f"{self.source}:{place.line}", code, message))

    def mapping(self, place: Place, known: Mapping[str, Callable[[Place], Any]]) -> dict[str, Any]:
        """The values of a mapping by key, read by what stands beside the key in `known`."""
        if not isinstance(place.node, yaml.MappingNode):
            self.add(place, "file.form", f"{place.path or 'this'} is a mapping of {', '.join(sorted(known))}")
            return {}
        values: dict[str, Any] = {}
        for key, node in place.node.value:
            inner = place.at(node, str(key.value)[:64])
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            if name not in known:
                self.add(Place(key, ""), "file.unknown_key", f"unknown key {name[:64]!r}{_near(name, known)}")
            elif name in values:
                self.add(Place(key, ""), "file.key_twice", f"{inner.path} is given twice")
            else:
                values[name] = known[name](inner)
        return {name: value for name, value in values.items() if value is not None}

    def text(self, place: Place) -> str | None:
        """Any scalar, as it is written."""
        if isinstance(place.node, yaml.ScalarNode):
            return "" if place.node.value in {"", "~", "null"} and place.node.style is None else str(place.node.value)
        self.add(place, "file.form", f"{place.path} is a plain value")
        return None

    def texts(self, place: Place) -> list[str]:
        """A list of scalars."""
        if not isinstance(place.node, yaml.SequenceNode):
            self.add(place, "file.form", f'{place.path} is a list, such as ["a", "b"]')
            return []
        read = (self.text(place.at(node, f"[{number}]")) for number, node in enumerate(place.node.value))
        return [text for text in read if text is not None]

    def one_or_many(self, place: Place) -> list[Place]:
        """A value, or each of a list."""
        if isinstance(place.node, yaml.SequenceNode):
            return [place.at(node, f"[{number}]") for number, node in enumerate(place.node.value)]
        return [place]

    def pairs(self, place: Place) -> dict[str, str]:
        """A mapping of scalars with any keys."""
        if not isinstance(place.node, yaml.MappingNode):
            self.add(place, "file.form", f"{place.path} is a mapping, such as {{KEY: value}}")
            return {}
        values: dict[str, str] = {}
        for key, node in place.node.value:
            name = str(key.value)
            text = self.text(place.at(node, name[:64]))
            if name in values:
                self.add(Place(key, ""), "file.key_twice", f"{place.path}.{name[:64]} is given twice")
            elif text is not None:
                values[name] = text
        return values

    def parsed(self, parse: Callable[[str], T]) -> Callable[[Place], T | None]:
        """Reads scalars with something that raises ValueError with a sentence."""

        def read(place: Place) -> T | None:
            text = self.text(place)
            if text is None:
                return None
            try:
                return parse(text)
            except ValueError as error:
                self.add(place, "file.value", f"{place.path}: {error}")
                return None

        return read


def read_spec(place: Place, problems: Problems) -> TaskSpec:
    """Reads one definition; what is wrong is left to `problems`."""
    return _Reader(problems).spec(place)


class _Reader:
    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._text = problems.text
        self._duration = problems.parsed(parse_duration)
        self._integer = problems.parsed(_integer)
        self._number = problems.parsed(_number)
        self._flag = problems.parsed(_flag)
        self._instant = problems.parsed(_instant)
        self._size = problems.parsed(parse_size)

    def spec(self, place: Place) -> TaskSpec:
        values = self._problems.mapping(place, self._spec_keys())
        kinds = {name: values.pop(name) for name in ("container", "process", "noop") if name in values}
        own = {name: values.pop(name) for name in ("name", "description", "schedule", "labels") if name in values}
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
            "max_runs": self._integer,
            "dst_gap": self._enum(GapPolicy),
            "dst_fold": self._enum(FoldPolicy),
        }
        values = self._problems.mapping(place, keys)
        dialect, phase = values.pop("dialect", Dialect.UNSPECIFIED), values.pop("phase", None)
        rules = [self._cron(each, dialect) for each in values.pop("cron", ())]
        rules += [Rule(every=Interval(period=self._duration(each), phase=phase)) for each in values.pop("every", ())]
        rules += [Rule(at=OneShot(time=self._text(each) or "")) for each in values.pop("at", ())]
        if not rules:
            self._problems.add(place, "schedule.empty", "a schedule has at least one of cron, every and at")
        return Schedule(rules=rules, **values)

    def _cron(self, place: Place, dialect: Dialect) -> Rule:
        if not isinstance(place.node, yaml.MappingNode):
            return Rule(cron=Cron(expression=self._text(place) or "", dialect=dialect))
        values = self._problems.mapping(place, {"expression": self._text, "dialect": self._enum(Dialect)})
        return Rule(cron=Cron(**values))

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
        if isinstance(place.node, yaml.MappingNode):
            self._problems.mapping(place, {})
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


def _near(name: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(sorted(known))}"


def _integer(text: str) -> int:
    if not text.lstrip("-").isdecimal() or not text.isascii() or len(text) > 18:
        raise ValueError(f"{text[:64]!r} is not a whole number")
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


def _instant(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise ValueError(f"{text[:64]!r} is not a time with an offset, such as 2026-12-24T18:00:00Z")
    return found.astimezone(UTC)
