"""Whether a definition may be stored: every field that is wrong, each with a sentence that says what is allowed."""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime

from dts.domain.errors import Violation
from dts.domain.validate_kind import check_kind
from dts.domain.validate_policies import check_policies
from dts.domain.validate_schedule import check_task_schedule
from dts.domain.validate_text import Findings, is_id, text_trouble, under
from dts.pb.dts.v1 import Backoff, Policies, Resources, TaskSpec

NAME_LENGTH = 63
DESCRIPTION_LENGTH = 2000
LABELS = 64
LABEL_LENGTH = 256
SPEC_BYTES = 64 * 1024

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?", re.ASCII)
_LABEL = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9._/-]{0,61}[a-zA-Z0-9])?", re.ASCII)
_RESERVED = ("dts.", "com.docker.")


def check_task(
    spec: TaskSpec, *, now: datetime, before: TaskSpec | None = None
) -> tuple[TaskSpec, list[Violation], list[Violation]]:
    """Checks a definition. It raises nothing.

    Args:
        spec: what somebody wrote.
        now: a one-shot may not lie before it, unless its policies let it be caught up.
        before: the definition that it replaces, if any: a schedule that is kept may be over.

    Returns:
        The definition in its normal form (text in NFC, empty policies left out), what is wrong, and what is allowed
        but may surprise.
    """
    spec = _normalised(spec)
    findings = Findings()
    check_name(spec.name, findings)
    _check_description(spec.description, findings)
    _check_labels(spec, findings)
    check_kind(spec.kind, findings)
    check_policies(spec, findings)
    check_task_schedule(spec, before, now, findings)
    _check_size(spec, findings)
    return spec, findings.violations, findings.warnings


def is_name(text: str) -> bool:
    """Whether text can be the name of a task."""
    findings = Findings()
    check_name(text, findings)
    return not findings.violations


def check_name(name: str, findings: Findings) -> None:
    """The name of a task; never one that could be taken for an id."""
    if not _NAME.fullmatch(name):
        findings.refuse(
            "name",
            "name.invalid",
            f"is 1 to {NAME_LENGTH} of a-z, 0-9, '.', '_' and '-', and begins and ends with a letter or digit",
        )
    elif is_id(name):
        findings.refuse("name", "name.id", "reads as an id; a name needs something that is not a hexadecimal digit")


def _normalised(spec: TaskSpec) -> TaskSpec:
    description = spec.description
    if not text_trouble(description):
        description = unicodedata.normalize("NFC", description)
    return TaskSpec(
        name=spec.name,
        description=description,
        schedule=spec.schedule,
        kind=spec.kind,
        policies=_policies(spec.policies),
        labels=spec.labels,
    )


def _policies(given: Policies | None) -> Policies | None:
    """An empty message says as much as an absent one: two definitions that mean the same are stored the same."""
    if given is None:
        return None
    fields = {name: getattr(given, name) for name in Policies.__dataclass_fields__}
    if given.backoff == Backoff():
        fields["backoff"] = None
    if given.resources == Resources():
        fields["resources"] = None
    policies = Policies(**fields)
    return None if policies == Policies() else policies


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
            findings.refuse(under("labels", key), "labels.key", "a key is 1 to 63 letters, digits and . _ / -")
        elif key.lower().startswith(_RESERVED):
            findings.refuse(
                f"labels.{key}", "labels.reserved", f"keys that begin with {' or '.join(_RESERVED)} are dts's"
            )
        elif trouble := text_trouble(value):
            findings.refuse(f"labels.{key}", "text.characters", trouble)
        elif len(value) > LABEL_LENGTH:
            findings.refuse(f"labels.{key}", "text.length", f"has {len(value)} characters; at most {LABEL_LENGTH}")


def _check_size(spec: TaskSpec, findings: Findings) -> None:
    """What cannot even be encoded was refused by its field already, or is refused here."""
    try:
        size = len(bytes(spec))
    except (ValueError, OverflowError, TypeError, AttributeError):
        if not findings.violations:
            findings.refuse("spec", "spec.invalid", "holds a value that cannot be stored")
        return
    if size > SPEC_BYTES:
        findings.refuse("spec", "spec.size", f"has {size} bytes; at most {SPEC_BYTES} are allowed")
