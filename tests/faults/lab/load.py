"""The tasks of a fault run on the lab: containers that tell, and no-ops; sized for two processors, three engines."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta

from dts.pb.dts.v1 import ContainerKind, Kind, TaskSpec, VolumeMount
from faults import load
from faults.load import CATCH_UP, second
from faults.model import Catchup, Definition, Every, Minutely, Once, Overlap
from swarm.lab import BASE

VOLUME = "dts-soak"
"""Named alike on every node, so that the node is told by where the file lies."""

PLACE = "/witness"

TOLERANCE = timedelta(seconds=5)
"""ε of a container: engines of one machine take a second or two for one, and several are due at once."""

NODES = ("n1", "n2", "n3")
PINNED = "pinned-"
"""How the names of tasks begin that run on one node only; the node follows."""


def container(period: float, phase: float = 0, **promises: object) -> Definition:
    """Due at an interval, and moved, so that not all are due at once."""
    plan = Every(second(period), second(phase))
    return Definition(plan, catchup_window=CATCH_UP, tolerance=TOLERANCE, **promises)  # type: ignore[arg-type]


def noop(period: float, overlap: Overlap) -> Definition:
    """Nothing, at an interval."""
    return Definition(Every(second(period)), catchup_window=CATCH_UP, overlap=overlap, witnessed=False)


def definitions(begin: datetime, chance: random.Random) -> dict[str, Definition]:
    """By name: about six no-ops and three containers in two seconds, of every overlap and catch-up policy."""
    allow, skip = Overlap.ALLOW, Overlap.SKIP
    found = {f"noop-{n}": noop(1, allow) for n in range(5)}
    found |= {f"noop-skip-{n}": noop(2, skip) for n in range(2)}
    found |= {f"quick-{n}": container(12, 3 * n, overlap=allow, lines=5) for n in range(4)}
    found |= {f"{PINNED}{name}": container(15, 5 * n, overlap=allow, lines=2) for n, name in enumerate(NODES)}
    found |= {"serial": container(10, 1, lasts=second(2))}
    found |= {f"long-{n}": container(30, 13 * n, lasts=second(20), lines=50) for n in range(2)}
    found |= {"crowding": container(12, 4, lasts=second(15))}
    found |= {"queued": container(20, 7, overlap=Overlap.QUEUE_ONE, lasts=second(12))}
    found |= {"replaced": container(20, 9, overlap=Overlap.CANCEL_OTHER, lasts=second(25))}
    found |= {f"failing-{n}": container(20, 2 + 9 * n, overlap=allow, code=3 + n, retries=1) for n in range(2)}
    found |= {"owed": container(15, 8, overlap=Overlap.QUEUE_ALL, catchup=Catchup.ALL, catchup_max=1000)}
    found |= {"fresh": container(15, 11, overlap=allow, catchup=Catchup.NONE)}
    found |= {"anywhere": container(20, 14, lasts=second(8), at_most_once=False)}
    found |= {"slow-to-stop": container(60, 33, lasts=second(50))}
    minutely = Definition(Minutely(frozenset(range(60))), catchup_window=CATCH_UP, tolerance=TOLERANCE)
    found |= {"minutely": minutely}
    once = [begin + second(chance.uniform(20, 170)) for _ in range(5)]
    found |= {f"once-{n}": replace(minutely, plan=Once(at)) for n, at in enumerate(once)}
    return found


def changing(chance: random.Random) -> Definition:
    """What a person may make of a task that is edited again and again."""
    overlap = chance.choice([Overlap.SKIP, Overlap.ALLOW])
    if chance.random() < 0.7:
        return noop(chance.choice([1, 2, 3]), overlap)
    return container(chance.choice([12, 20]), overlap=overlap, code=chance.choice([0, 7]))


def spec(name: str, definition: Definition) -> TaskSpec:
    """The same in dts's words: what is a process elsewhere is a container here."""
    made = load.spec(name, definition)
    assert made.policies is not None
    made.policies.constraints = [f"node.hostname=={name.removeprefix(PINNED)}"] if name.startswith(PINNED) else []
    if definition.witnessed:
        mounts = [VolumeMount(volume=VOLUME, target=PLACE)]
        command = ["bash", "-c", load.script(definition, PLACE)]
        made.kind = Kind(container=ContainerKind(image=BASE, command=command, mounts=mounts))
    return made
