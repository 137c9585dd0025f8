"""Sixty tasks for the lab, and the comparison of what their containers wrote with what the ledger says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from dts.pb.dts.v1 import (
    ContainerKind,
    Interval,
    Kind,
    NoopKind,
    Overlap,
    Policies,
    Rule,
    Run,
    RunState,
    Schedule,
    TaskSpec,
    VolumeMount,
)

VOLUME = "dts-witness"
PERIODS = (1, 2, 3, 5, 7, 10, 12, 15, 20, 30, 45, 60)
"""Seconds between the ticks of a task."""

# One file a run, named by run and attempt, so that a second start would add a second line.
_SCRIPT = """\
me=$DTS_RUN_ID.$DTS_ATTEMPT
echo "start $DTS_TASK $me $DTS_NODE" >> /witness/$me
sleep {sleep}
echo "end $DTS_TASK $me {code}" >> /witness/$me
exit {code}
"""


def specs(image: str, *, count: int = 60) -> list[TaskSpec]:
    """Every third a noop, the others containers with a witness; each seventh fails, some containers are for one node.

    No noop is: there are so many that a node which had more of them for itself would rightly be given less of the rest.
    """
    return [_spec(number, image) for number in range(count)]


def _spec(number: int, image: str) -> TaskSpec:
    code = 3 if number % 7 == 3 else 0
    # Of the containers only a few are quick: three engines share the two processors of this machine.
    period = PERIODS[number % len(PERIODS)] if number % 3 == 0 else 20 + 5 * (number % 9)
    script = _SCRIPT.format(code=code, sleep=number % 3)
    container = ContainerKind(
        image=image, command=["bash", "-c", script], mounts=[VolumeMount(volume=VOLUME, target="/witness")]
    )
    return TaskSpec(
        name=f"mixed-{number:02}",
        schedule=Schedule(rules=[Rule(every=Interval(period=timedelta(seconds=period)))]),
        kind=Kind(noop=NoopKind()) if number % 3 == 0 else Kind(container=container),
        policies=Policies(
            overlap=Overlap.SKIP if number % 2 else Overlap.ALLOW,
            max_parallel=1 if number % 2 else 5,
            constraints=[f"node.hostname==n{1 + number // 10 % 3}"] if number % 5 == 1 and number % 3 else [],
        ),
    )


@dataclass(frozen=True, slots=True)
class Witness:
    """What a container wrote. node: the one whose disk has it."""

    node: str
    starts: int
    code: int | None


def read_witnesses(lines: Mapping[str, Sequence[str]]) -> dict[str, Witness]:
    """By `run.attempt`, from the lines of each node."""
    found: dict[str, Witness] = {}
    for node, told in lines.items():
        starts = Counter(line.split()[2] for line in told if line.startswith("start "))
        codes = {line.split()[2]: int(line.split()[3]) for line in told if line.startswith("end ")}
        for me, count in starts.items():
            assert me not in found, f"{me} was started on {found[me].node} and on {node}"
            found[me] = Witness(node, count, codes.get(me))
    return found


def expected_ticks(period: timedelta, since: datetime, until: datetime) -> list[datetime]:
    """The instants of an interval anchored to the epoch, after `since` and up to `until`."""
    seconds = period.total_seconds()
    first = int(since.timestamp() // seconds) + 1
    last = int(until.timestamp() // seconds)
    return [datetime.fromtimestamp(number * seconds, tz=since.tzinfo) for number in range(first, last + 1)]


def disagreements(runs: Sequence[Run], seen: Mapping[str, Witness], hostnames: Mapping[str, str]) -> list[str]:
    """Where ledger and witnesses tell different stories; a sentence each."""
    told: list[str] = []
    known: set[str] = set()
    for run in runs:
        for attempt in run.attempts:
            me = f"{run.id}.{attempt.number}"
            known.add(me)
            witness = seen.get(me)
            started = attempt.started_at is not None
            if witness is None:
                if started and run.state in {RunState.SUCCEEDED, RunState.FAILED}:
                    told.append(f"{run.task} {me}: {run.state} in the ledger, but nobody saw it start")
                continue
            node = hostnames.get(attempt.node, attempt.node)
            if witness.starts != 1:
                told.append(f"{run.task} {me}: was started {witness.starts} times")
            if witness.node != node:
                told.append(f"{run.task} {me}: ran on {witness.node}, the ledger says {node}")
            if attempt.exit_code is not None and witness.code != attempt.exit_code:
                told.append(f"{run.task} {me}: wrote exit code {witness.code}, the ledger says {attempt.exit_code}")
    told += [
        f"{me}: ran on {witness.node}, and the ledger knows nothing of it"
        for me, witness in seen.items()
        if me not in known
    ]
    return told
