"""Whether a definition may be stored: every field that is wrong, each with a sentence that says what is allowed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from datetime import datetime

from dts.domain.errors import Violation
from dts.domain.schedule_check import check_schedule
from dts.domain.validate_kind import check_kind
from dts.domain.validate_policies import check_policies
from dts.domain.validate_text import Findings, text_trouble
from dts.pb.dts.v1 import Catchup, TaskSpec

NAME_LENGTH = 63
DESCRIPTION_LENGTH = 2000
LABELS = 64
LABEL_LENGTH = 256
SPEC_BYTES = 64 * 1024

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?", re.ASCII)
_LABEL = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9._/-]{0,61}[a-zA-Z0-9])?", re.ASCII)
_RESERVED = ("dts.", "com.docker.")


def check_task(spec: TaskSpec, *, now: datetime) -> tuple[TaskSpec, list[Violation], list[Violation]]:
    """Checks a definition.

    Args:
        spec: what somebody wrote.
        now: a one-shot may not lie before it, unless its policies let it be caught up.

    Returns:
        The definition with its text normalised (NFC), what is wrong, and what is allowed but may surprise.
    """
    spec = _normalised(spec)
    findings = Findings()
    _check_name(spec.name, findings)
    _check_description(spec.description, findings)
    _check_labels(spec, findings)
    check_kind(spec.kind, findings)
    check_policies(spec, findings)
    _check_schedule(spec, now, findings)
    _guard(findings, "spec", lambda: len(bytes(spec)) > SPEC_BYTES, f"is larger than {SPEC_BYTES // 1024} KiB")
    return spec, findings.violations, findings.warnings


def _normalised(spec: TaskSpec) -> TaskSpec:
    spec = TaskSpec(
        name=spec.name,
        description=spec.description,
        schedule=spec.schedule,
        kind=spec.kind,
        policies=spec.policies,
        labels=spec.labels,
    )
    if not text_trouble(spec.description):
        spec.description = unicodedata.normalize("NFC", spec.description)
    return spec


def _check_name(name: str, findings: Findings) -> None:
    if not _NAME.fullmatch(name):
        findings.refuse(
            "name",
            "name.invalid",
            f"is 1 to {NAME_LENGTH} of a-z, 0-9, '.', '_' and '-', and begins and ends with a letter or digit",
        )


def _check_description(text: str, findings: Findings) -> None:
    if trouble := text_trouble(text):
        findings.refuse("description", "text.characters", trouble)
    elif len(text) > DESCRIPTION_LENGTH:
        findings.refuse("description", "text.length", f"has {len(text)} characters; at most {DESCRIPTION_LENGTH}")


def _check_labels(spec: TaskSpec, findings: Findings) -> None:
    if len(spec.labels) > LABELS:
        findings.refuse("labels", "labels.many", f"are {len(spec.labels)}; at most {LABELS} are allowed")
        return
    for key, value in spec.labels.items():
        if not _LABEL.fullmatch(key):
            findings.refuse("labels", "labels.key", "a key is 1 to 63 letters, digits and . _ / -")
        elif key.lower().startswith(_RESERVED):
            findings.refuse(
                f"labels.{key}", "labels.reserved", f"keys that begin with {' or '.join(_RESERVED)} are dts's"
            )
        elif trouble := text_trouble(value):
            findings.refuse(f"labels.{key}", "text.characters", trouble)
        elif len(value) > LABEL_LENGTH:
            findings.refuse(f"labels.{key}", "text.length", f"has {len(value)} characters; at most {LABEL_LENGTH}")


def _check_schedule(spec: TaskSpec, now: datetime, findings: Findings) -> None:
    if spec.schedule is None:
        return
    policies = spec.policies
    allow_past = policies is not None and policies.catchup is not Catchup.NONE and policies.catchup_window is not None
    wrong, surprising = check_schedule(spec.schedule, key=spec.name, now=now, allow_past=allow_past)
    findings.violations.extend(wrong)
    findings.warnings.extend(Violation("schedule", "schedule.surprising", text) for text in surprising)


def _guard(findings: Findings, field: str, wrong: Callable[[], bool], message: str) -> None:
    """What cannot even be encoded was refused by its field already."""
    try:
        if wrong():
            findings.refuse(field, "spec.size", message)
    except (ValueError, OverflowError, TypeError):
        if not findings.violations:
            findings.refuse(field, "spec.invalid", "holds a value that cannot be stored")
