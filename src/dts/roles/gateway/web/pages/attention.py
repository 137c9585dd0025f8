"""What wants attention: the runs that ended badly, by task and by how they did, what failed before what was skipped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dts.pb.dts.v1 import Reason, Run, RunState, TaskOutcomes

FAILED = [RunState.FAILED, RunState.TIMED_OUT]
MEANT = {Reason.SKIPPED_PAUSED, Reason.EXCLUDED}
"""Somebody wanted these not to run."""

BY_POLICY = {Reason.SKIPPED_OVERLAP, Reason.QUEUE_FULL, Reason.DROPPED_CAP}
"""The task itself says that these are to be left out; whatever else was skipped should have run."""


@dataclass(frozen=True, slots=True)
class Attention:
    """The latest run of a task that ended so.

    times: how many ticks did, of the runs that were looked through.
    recovered: a later run of the task succeeded.
    """

    run: Run
    times: int
    recovered: bool

    @property
    def failed(self) -> bool:
        """Whether it should have gone otherwise."""
        return self.run.reason not in BY_POLICY


def unwanted(skipped: Sequence[Run]) -> list[Run]:
    """Of what was skipped, what nobody wanted to be."""
    return [run for run in skipped if run.reason not in MEANT]


def attention(wrong: Sequence[Run], outcomes: Mapping[str, TaskOutcomes]) -> list[Attention]:
    """One entry for each task and way to end: failures first, of them those that have not recovered.

    Args:
        wrong: newest first within each state.
        outcomes: how the latest runs of the tasks ended, by task.
    """
    groups: dict[tuple[str, RunState, bool], list[Run]] = {}
    for run in wrong:
        groups.setdefault((run.task_id, run.state, run.reason in BY_POLICY), []).append(run)
    found = [
        Attention(runs[0], sum(max(run.ticks, 1) for run in runs), _recovered(outcomes.get(task)))
        for (task, _, _), runs in groups.items()
    ]
    return sorted(found, key=lambda each: (not each.failed, each.recovered))


def _recovered(outcomes: TaskOutcomes | None) -> bool:
    return outcomes is not None and bool(outcomes.states) and outcomes.states[-1] is RunState.SUCCEEDED
