"""Writes one definition as a document that a task file holds: only what was said, in the order of the page."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any

from dts.domain.durations import format_duration
from dts.domain.kinds import kind_of
from dts.domain.sizes import format_size
from dts.domain.words import rfc3339
from dts.pb.dts.v1 import (
    Backoff,
    DateRange,
    Interval,
    Policies,
    Resources,
    Rule,
    Schedule,
    SwarmFile,
    TaskSpec,
    VolumeMount,
)

POLICIES = tuple(Policies.__dataclass_fields__)


def spec_document(spec: TaskSpec) -> dict[str, Any]:
    """The definition as plain values."""
    document: dict[str, Any] = {"name": spec.name}
    document |= _said({"description": spec.description, "schedule": _schedule(spec.schedule)})
    if name := kind_of(spec.kind):
        kind = getattr(spec.kind, name)
        document[name] = _fields(kind, tuple(kind.__dataclass_fields__))
    if spec.policies is not None:
        document |= _fields(spec.policies, POLICIES)
    return document | _said({"labels": dict(spec.labels)})


def _schedule(schedule: Schedule | None) -> dict[str, Any] | None:
    if schedule is None:
        return None
    document = _rules(schedule.rules)
    document |= _said({"timezone": schedule.timezone, "jitter": _plain(schedule.jitter)})
    document |= _said({"starts_at": rfc3339(schedule.starts_at), "ends_at": rfc3339(schedule.ends_at)})
    document |= _said({"exclude": [_range(dates) for dates in schedule.exclude], "max_runs": schedule.max_runs})
    return document | _said({"dst_gap": _plain(schedule.dst_gap), "dst_fold": _plain(schedule.dst_fold)})


def _rules(rules: list[Rule]) -> dict[str, Any]:
    crons = [rule.cron for rule in rules if rule.cron is not None]
    dialects = {cron.dialect for cron in crons}
    document: dict[str, Any] = {}
    if len(dialects) == 1:
        document = _said({"cron": _one([cron.expression for cron in crons]), "dialect": _plain(dialects.pop())})
    elif crons:
        document["cron"] = [_said({"expression": c.expression, "dialect": _plain(c.dialect)}) for c in crons]
    intervals = [rule.every for rule in rules if rule.every is not None]
    phases = {each.phase for each in intervals}
    if len(phases) == 1:
        document |= _said({"every": _one([_period(each) for each in intervals]), "phase": _plain(phases.pop())})
    elif intervals:
        document["every"] = [_said({"period": _period(each), "phase": _plain(each.phase)}) for each in intervals]
    return document | _said({"at": _one([rule.at.time for rule in rules if rule.at is not None])})


def _period(interval: Interval) -> str:
    return format_duration(interval.period or timedelta(0))


def _one(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values


def _range(dates: DateRange) -> str:
    return f"{dates.first}..{dates.last}" if dates.last else dates.first


def _fields(message: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return _said({name: _plain(getattr(message, name)) for name in names})


def _plain(value: Any) -> Any:  # noqa: PLR0911 - a table
    match value:
        case IntEnum():
            return value.name.lower() if value and value.name else None
        case timedelta():
            return format_duration(value)
        case datetime():
            return rfc3339(value)
        case Backoff():
            return _fields(value, ("initial", "factor", "max"))
        case Resources():
            return _said({"cpus": value.cpus or None, "memory": format_size(value.memory) if value.memory else None})
        case SwarmFile():
            return _said({"name": value.name, "target": value.target}) if value.target else value.name
        case VolumeMount():
            return _said({"volume": value.volume, "target": value.target, "read_only": value.read_only})
        case list():
            return [_plain(item) for item in value]
        case dict():
            return dict(value)
        case _:
            return value


def _said(values: dict[str, Any]) -> dict[str, Any]:
    """Only what says something: 0 does, False, empty and None do not."""
    return {
        name: value
        for name, value in values.items()
        if value is not None and value is not False and value not in ("", [], {})
    }
