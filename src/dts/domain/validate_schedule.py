"""Whether the schedule of a task may be stored: what `check_schedule` says of it, and what it cannot be asked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from dts.domain.errors import Violation
from dts.domain.schedule import compile_schedule
from dts.domain.schedule_check import check_schedule
from dts.domain.validate_text import Findings, check_enum
from dts.pb.dts.v1 import Catchup, Dialect, FoldPolicy, GapPolicy, Schedule, TaskSpec

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
EXCLUDES = 366
MOST_RUNS = 1_000_000_000
LONGEST_WINDOW = timedelta(days=3650)

_OVER = {"schedule.in_past", "schedule.never_fires"}


def check_task_schedule(spec: TaskSpec, before: TaskSpec | None, now: datetime, findings: Findings) -> None:
    """The schedule of a definition.

    Args:
        spec: the definition.
        before: the definition that it replaces; its schedule may be over.
        now: a schedule may not be over by then, unless its single instants are caught up.
        findings: what is wrong or may surprise is left here.
    """
    if spec.schedule is None:
        return
    if before is not None and before.schedule == spec.schedule:
        check_kept(spec.schedule, key=spec.name, now=now, findings=findings)
    else:
        window = _catchup_window(spec) if before is None else None
        check_one(spec.schedule, key=spec.name, now=now, findings=findings, window=window)


def check_one(
    schedule: Schedule, *, key: str, now: datetime, findings: Findings, window: timedelta | None = None
) -> None:
    """A schedule by itself. window: how old its newest tick may be if no other comes."""
    if _check_fields(schedule, findings):
        return
    wrong, surprising = check_schedule(schedule, key=key, now=now, allow_past=window is not None)
    if not wrong and window is not None and compile_schedule(schedule, key=key).next_after(now - window) is None:
        wrong, surprising = check_schedule(schedule, key=key, now=now)
    findings.violations.extend(wrong)
    findings.warnings.extend(Violation("schedule", "schedule.surprising", text) for text in surprising)


def check_kept(schedule: Schedule, *, key: str, now: datetime, findings: Findings) -> None:
    """A schedule that is stored already: it was in order, and what is over is over."""
    own = Findings()
    check_one(schedule, key=key, now=now, findings=own)
    findings.violations.extend(found for found in own.violations if found.code not in _OVER)
    findings.warnings.extend(own.warnings)


def _catchup_window(spec: TaskSpec) -> timedelta | None:
    """How far a new task reaches back, if it does at all: only for single instants."""
    policies, rules = spec.policies, spec.schedule.rules if spec.schedule else []
    if policies is None or policies.catchup is Catchup.NONE or any(rule.at is None for rule in rules):
        return None
    window = policies.catchup_window
    return window if window is not None and timedelta(0) < window <= LONGEST_WINDOW else None


def _check_fields(schedule: Schedule, findings: Findings) -> bool:
    """Whether something is so wrong that the schedule cannot be read."""
    before = len(findings.violations)
    for name in ("starts_at", "ends_at"):
        instant: datetime | None = getattr(schedule, name)
        if instant is not None and (instant.tzinfo is None or not EARLIEST <= instant <= LATEST):
            allowed = f"is an instant from {EARLIEST.year} to {LATEST.year}"
            findings.refuse(f"schedule.{name}", "schedule.bounds", allowed)
    if len(schedule.exclude) > EXCLUDES:
        many = f"has {len(schedule.exclude)} ranges; at most {EXCLUDES} are allowed"
        findings.refuse("schedule.exclude", "schedule.many", many)
    if schedule.max_runs is not None and schedule.max_runs > MOST_RUNS:
        findings.refuse("schedule.max_runs", "schedule.max_runs", f"is a whole number from 1 to {MOST_RUNS}")
    check_enum("schedule.dst_gap", schedule.dst_gap, GapPolicy, findings)
    check_enum("schedule.dst_fold", schedule.dst_fold, FoldPolicy, findings)
    for number, rule in enumerate(schedule.rules):
        if rule.cron is not None:
            check_enum(f"schedule.rules[{number}].cron.dialect", rule.cron.dialect, Dialect, findings)
    return len(findings.violations) > before
