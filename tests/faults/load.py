"""The tasks of a fault run, what their work writes down, and how that is read back."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dts.pb.dts.v1 import (
    Backoff,
    Cron,
    Interval,
    Kind,
    NodeLoss,
    NoopKind,
    OneShot,
    Policies,
    ProcessKind,
    Rule,
    Schedule,
    TaskSpec,
)
from dts.pb.dts.v1 import Catchup as CatchupPolicy
from dts.pb.dts.v1 import Overlap as OverlapPolicy
from faults.model import Catchup, Definition, Every, Minutely, Once, Overlap, Plan, Witness

CATCH_UP = timedelta(minutes=10)
"""Of every task: longer than any fault."""

WAIT = timedelta(seconds=15)
"""How long a run of a silent node is waited for."""

SIGN = ".seen"
"""Beside the file of a witness: a file that it touches."""

SCRIPT = """\
me={place}/$DTS_RUN_ID.$DTS_ATTEMPT
echo "start $(date +%s%N) $DTS_TASK $DTS_SCHEDULED_AT" >> $me
i=0; while [ $i -lt {lines} ]; do i=$((i+1)); echo "line $i"; echo "line $i" >&2; done
i=0; while [ $i -lt {steps} ]; do i=$((i+1)); : > $me.seen; sleep 0.5; done
sleep {rest}
echo "end $(date +%s%N) {code}" >> $me
exit {code}
"""
"""Every half second it gives a sign of life. One file a try on its node; a second start would add a second line."""

BESIDE_DATA = "$DTS_DATA.witness"
"""Where a process writes: `DTS_DATA` is the executor's, so that the node is told by where the file lies, and not by
what the work was told."""


def second(seconds: float) -> timedelta:
    """So many of them."""
    return timedelta(seconds=seconds)


def every(seconds: float, **promises: object) -> Definition:
    """Due at an interval."""
    return Definition(Every(second(seconds)), catchup_window=CATCH_UP, **promises)  # type: ignore[arg-type]


def definitions(begin: datetime, chance: random.Random) -> dict[str, Definition]:
    """By name: about eighteen ticks a second, of every overlap and catch-up policy, quick ones and long ones."""
    allow, skip, one = Overlap.ALLOW, Overlap.SKIP, Overlap.QUEUE_ONE
    found = {f"noop-{n}": every(1, overlap=allow, witnessed=False) for n in range(8)}
    found |= {f"noop-skip-{n}": every(2, overlap=skip, witnessed=False) for n in range(2)}
    found |= {f"quick-{n}": every(2, overlap=allow, lines=5) for n in range(5)}
    found |= {f"serial-{n}": every(1, overlap=skip, lasts=second(0.2)) for n in range(3)}
    found |= {f"long-{n}": every(5, overlap=skip, lasts=second(3), lines=3) for n in range(2)}
    found |= {"crowding": every(4, overlap=skip, lasts=second(6)), "queued": every(3, overlap=one, lasts=second(4))}
    found |= {"replaced": every(6, overlap=Overlap.CANCEL_OTHER, lasts=second(8))}
    found |= {f"failing-{n}": every(3, overlap=allow, code=3 + n, retries=1) for n in range(2)}
    found |= {"owed": every(2, overlap=Overlap.QUEUE_ALL, catchup=Catchup.ALL, catchup_max=1000)}
    found |= {"fresh": every(2, overlap=allow, catchup=Catchup.NONE)}
    found |= {"anywhere": every(3, overlap=skip, lasts=second(1), at_most_once=False)}
    found |= {"minutely": Definition(Minutely(frozenset(range(60))), catchup_window=CATCH_UP)}
    once = [begin + second(chance.uniform(10, 240)) for _ in range(5)]
    found |= {f"once-{n}": Definition(Once(at), catchup_window=CATCH_UP) for n, at in enumerate(once)}
    return found


def changing(chance: random.Random) -> Definition:
    """What a person may make of a task that is edited again and again."""
    period = chance.choice([1, 2, 3])
    return every(period, overlap=chance.choice([Overlap.SKIP, Overlap.ALLOW]), code=chance.choice([0, 7]))


def spec(name: str, definition: Definition) -> TaskSpec:
    """The same in dts's words."""
    return TaskSpec(name=name, schedule=schedule(definition.plan), kind=kind(definition), policies=policies(definition))


def script(definition: Definition, place: str) -> str:
    """What its work does. place: the directory that it writes into."""
    steps, rest = divmod(definition.lasts, second(0.5))
    return SCRIPT.format(
        place=place, lines=definition.lines, steps=steps, rest=rest.total_seconds(), code=definition.code
    )


def schedule(plan: Plan) -> Schedule:
    """A plan in dts's words."""
    match plan:
        case Every(period, phase):
            return Schedule(rules=[Rule(every=Interval(period=period, phase=phase or None))])
        case Minutely(minutes):
            fields = "*" if len(minutes) == 60 else ",".join(map(str, sorted(minutes)))
            return Schedule(rules=[Rule(cron=Cron(expression=f"{fields} * * * *"))])
        case Once(at):
            return Schedule(rules=[Rule(at=OneShot(time=at.isoformat()))])


def kind(definition: Definition) -> Kind:
    """A process that tells, or nothing."""
    if not definition.witnessed:
        return Kind(noop=NoopKind())
    return Kind(process=ProcessKind(command=["sh", "-c", script(definition, BESIDE_DATA)]))


def policies(definition: Definition) -> Policies:
    """What the checker holds dts to. Side by side so many may run that the limit is never met."""
    return Policies(
        overlap=OverlapPolicy[definition.overlap.name],
        max_parallel=20 if definition.overlap is Overlap.ALLOW else 1,
        catchup=CatchupPolicy[definition.catchup.name],
        catchup_window=definition.catchup_window if definition.catchup is not Catchup.NONE else None,
        catchup_max=definition.catchup_max,
        timeout=definition.timeout,
        stop_grace=second(2),
        retries=definition.retries,
        backoff=Backoff(initial=second(1), factor=1.0),
        on_node_loss=NodeLoss.FAIL if definition.at_most_once else NodeLoss.RERUN,
        node_loss_wait=WAIT,
    )


def witnesses(data: Path) -> Iterator[Witness]:
    """What the work wrote, on every node."""
    for folder in sorted(data.glob("*.witness")):
        yield from witnesses_in(folder, folder.name.removesuffix(".witness"))


def witnesses_in(folder: Path, node: str) -> Iterator[Witness]:
    """What the work wrote into a directory of one node."""
    for file in sorted(folder.iterdir()):
        if file.suffix != SIGN:
            sign = file.with_name(file.name + SIGN)
            seen = datetime.fromtimestamp(sign.stat().st_mtime, tz=UTC) if sign.exists() else None
            told = _told(file.read_text().splitlines(), file.name, node)
            yield from (replace(witness, seen=seen) for witness in told)


def _told(lines: list[str], name: str, node: str) -> Iterator[Witness]:
    """One for each start: more than one is what must never be."""
    run_id, _, number = name.partition(".")
    starts = [line.split() for line in lines if line.startswith("start ")]
    ends = [line.split() for line in lines if line.startswith("end ")]
    for place, (_, at, task, tick) in enumerate(starts):
        ended = ends[place] if place < len(ends) else None
        yield Witness(
            run_id=run_id,
            number=int(number),
            task=task,
            node=node,
            scheduled_at=datetime.fromisoformat(tick),
            started=_instant(at),
            ended=_instant(ended[1]) if ended else None,
            code=int(ended[2]) if ended else None,
        )


def _instant(nanoseconds: str) -> datetime:
    return datetime.fromtimestamp(int(nanoseconds) / 1e9, tz=UTC)


def by_name(found: Mapping[str, Definition]) -> list[TaskSpec]:
    """All of them in dts's words."""
    return [spec(name, definition) for name, definition in found.items()]
