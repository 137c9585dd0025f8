"""What a fault run came to: a page of text, and the same figures for a program.

Contents: `summary`: the figures; `as_dict`: for JSON; `as_text`: for people.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from faults.checker import PROMISES, check
from faults.checker.evidence import Evidence, gather, group, rows_by_tick
from faults.checker.timing import Recovery, due_at, recoveries
from faults.checker.words import clock, short, span
from faults.model import Observed, Violation

SHOWN = 10
"""How many violations of one promise are written out in the text."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of one run.

    Attributes:
        expected: ticks that were surely due, of which each needs one row.
        absent: of these, those without a row.
        doubled: of these, those with more than one.
        ran: rows of which work started.
        ends: rows by state.
        skipped: ticks by the reason for which they did not run; a stretch counts as many as it stands for.
        false: results that are not what the work saw (P8).
        lateness: of first starts, from when they were due; p50, p99 and the greatest.
        recoveries: how long each fault was felt.
        violations: all.
    """

    observed: Observed
    expected: int
    absent: int
    doubled: int
    ran: int
    ends: Mapping[str, int]
    skipped: Mapping[str, int]
    false: int
    lateness: Mapping[str, timedelta]
    recoveries: Sequence[Recovery]
    violations: Sequence[Violation]

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return not self.violations


def summary(observed: Observed) -> Summary:
    """Judges a run and counts."""
    evidence = gather(observed)
    standing = list(_rows_per_tick(evidence))
    violations = check(observed)
    return Summary(
        observed,
        expected=len(standing),
        absent=standing.count(0),
        doubled=sum(1 for rows in standing if rows > 1),
        ran=sum(1 for row in observed.rows if evidence.began(row)),
        ends=dict(Counter(row.state for row in observed.rows)),
        skipped=_skipped(observed),
        false=sum(1 for violation in violations if violation.promise == "P8"),
        lateness=_lateness(evidence),
        recoveries=recoveries(observed),
        violations=violations,
    )


def _rows_per_tick(evidence: Evidence) -> Iterator[int]:
    for task in evidence.tasks:
        ticks = list(evidence.owed(task))
        rows = rows_by_tick(evidence.rows_of.get(task, ()), ticks)
        yield from (len(rows.get(tick, ())) for tick in ticks)


def _skipped(observed: Observed) -> Mapping[str, int]:
    counts = Counter[str]()
    for row in observed.rows:
        if row.state == "skipped":
            counts[row.reason] += row.ticks
    return dict(counts)


def _lateness(evidence: Evidence) -> Mapping[str, timedelta]:
    starts = ((row, evidence.began(row)) for row in evidence.observed.rows)
    late = sorted(began - due_at(evidence, row) for row, began in starts if began)
    if not late:
        return {}
    return {"p50": late[len(late) // 2], "p99": late[len(late) * 99 // 100], "max": late[-1]}


# -- for a program


def as_dict(run: Summary) -> dict[str, Any]:
    """The figures in what JSON knows; lengths of time in seconds."""
    return {
        "seed": run.observed.seed,
        "kept": run.kept,
        "begun": run.observed.begun.isoformat(),
        "read": run.observed.read.isoformat(),
        "ticks": {"expected": run.expected, "absent": run.absent, "doubled": run.doubled},
        "rows": {"all": len(run.observed.rows), "ran": run.ran, "ends": dict(run.ends), "skipped": dict(run.skipped)},
        "false_results": run.false,
        "lateness_s": {name: late.total_seconds() for name, late in run.lateness.items()},
        "faults": [_fault_dict(recovery) for recovery in run.recoveries],
        "violations": [
            {"promise": one.promise, "task": one.task, "run": one.run_id, "what": one.what} for one in run.violations
        ],
    }


def _fault_dict(recovery: Recovery) -> dict[str, Any]:
    fault = recovery.fault
    return {
        "name": fault.name,
        "target": fault.target,
        "begun": fault.begun.isoformat(),
        "healed": fault.healed.isoformat(),
        "recovered_after_s": recovery.took.total_seconds(),
        "allowed_s": fault.recovery.total_seconds(),
    }


# -- for people


def as_text(run: Summary) -> str:
    """A page: the verdict, the figures, the faults, and what was not kept."""
    return "\n".join([*_heading(run), "", *_figures(run), "", *_faults(run), "", *_verdicts(run)]) + "\n"


def _heading(run: Summary) -> Iterator[str]:
    observed = run.observed
    verdict = "every promise was kept" if run.kept else f"{len(run.violations)} violations"
    yield f"Fault run {observed.seed}: {verdict}"
    yield (
        f"{clock(observed.begun)} to {clock(observed.read)} ({span(observed.read - observed.begun)}), "
        f"{len(group(observed.operations, lambda one: one.task))} tasks, {len(observed.faults)} faults"
    )


def _figures(run: Summary) -> Iterator[str]:
    skipped = ", ".join(f"{count} {reason}" for reason, count in sorted(run.skipped.items()))
    ends = ", ".join(f"{count} {state}" for state, count in sorted(run.ends.items()))
    late = ", ".join(f"{name} {span(length)}" for name, length in run.lateness.items())
    yield f"{'ticks expected':<16}{run.expected}"
    yield f"{'without a row':<16}{run.absent}"
    yield f"{'doubled':<16}{run.doubled}"
    yield f"{'rows':<16}{len(run.observed.rows)}: {ends or 'none'}"
    yield f"{'started':<16}{run.ran}"
    yield f"{'skipped':<16}{skipped or 'none'}"
    yield f"{'false results':<16}{run.false}"
    yield f"{'lateness':<16}{late or 'nothing started'}"


def _faults(run: Summary) -> Iterator[str]:
    yield "Faults, how long they were felt after their end, and how long they may be"
    for recovery in run.recoveries:
        fault = recovery.fault
        mark = " " if recovery.took <= fault.recovery else "!"
        when = f"{clock(fault.begun)} – {clock(fault.healed)}"
        yield f"{mark} {when}  {span(recovery.took):>9} of {span(fault.recovery):<6} {fault.name}: {fault.target}"
    if not run.recoveries:
        yield "  none"


def _verdicts(run: Summary) -> Iterator[str]:
    broken = group(run.violations, lambda violation: violation.promise)
    for promise, judge in PROMISES.items():
        violations = broken.get(promise, ())
        sentence = (judge.__doc__ or "").strip().partition("\n")[0]
        yield f"{promise:<4}{'kept' if not violations else f'BROKEN {len(violations)} times'}: {sentence}"
        for violation in violations[:SHOWN]:
            run_id = f" ({short(violation.run_id)})" if violation.run_id else ""
            yield f"      {violation.task}{run_id}: {violation.what}"
        if len(violations) > SHOWN:
            yield f"      and {len(violations) - SHOWN} more"
