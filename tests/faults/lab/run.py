"""The fault run on the lab: `make soak MINUTES=60 SEED=1`. Report, picture and logs are in build/soak.

`--judge build/soak/observed.pickle` judges what was left of a run again, by the checker as it is now.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import pickle
import random
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from faults.checker.picture import draw
from faults.checker.report import as_dict, as_text, summary
from faults.lab.breakages import CATALOGUE
from faults.lab.load import changing, definitions, spec
from faults.lab.swarm import Swarm
from faults.lookout import Lookout
from faults.model import Observed
from faults.people import People
from faults.run import CALM, FaultRun
from faults.timetable import timetable
from swarm.images import PROJECT
from swarm.lab import NoLab, running_lab
from swarm.stack import Stack

KEPT = PROJECT / "build" / "soak"

PLANNED_PER_MINUTE = 6
"""More faults than there is time for: the run ends by the clock."""

Say = Callable[[str], None]


async def soak(swarm: Swarm, *, seed: int, minutes: float, most: int | None = None, say: Say) -> Observed:
    """On a stack that is well: tasks, faults until the time is over, and everything that is left of it.

    Args:
        swarm: prepared.
        seed: what is broken, in which order, and where.
        minutes: for how long new faults come.
        most: how many faults at most; as many as there is time for if None.
        say: told of each fault.
    """
    run = FaultRun(seed, swarm, People(swarm.channel, spec, changing), Lookout(swarm.database))
    plan = timetable(CATALOGUE, most or max(1, round(minutes * PLANNED_PER_MINUTE)), random.Random(seed))
    async with swarm.listening():
        begin = datetime.now(UTC)
        await run.define(definitions(begin, random.Random(seed)))
        async with run.judged():
            await asyncio.sleep(CALM)
            until = datetime.now(UTC) + timedelta(minutes=minutes)
            await run.suffer(swarm, plan, say, until)
            await asyncio.sleep(max(0.0, (until - datetime.now(UTC)).total_seconds()))
        await run.settle()
        return await run.observed()


def keep(observed: Observed, kept: Path) -> bool:
    """Writes down what a run came to, says it, and whether every promise was kept."""
    shutil.rmtree(kept / "logs", ignore_errors=True)  # of an earlier run
    (kept / "logs").mkdir(parents=True)
    for number, text in enumerate(observed.texts):
        if not text.where.startswith("description"):
            (kept / "logs" / f"{number:03}-{text.where.replace(' ', '-')}.log").write_text(text.content)
    (kept / "observed.pickle").write_bytes(pickle.dumps(observed))
    return judge(observed, kept)


def judge(observed: Observed, kept: Path) -> bool:
    """Writes the report and the picture, and whether every promise was kept."""
    run = summary(observed)
    (kept / "report.txt").write_text(as_text(run))
    (kept / "report.json").write_text(json.dumps(as_dict(run), indent=1))
    (kept / "picture.svg").write_text(draw(run.observed, run.violations))
    print(as_text(run))
    return run.kept


def on_a_lab_of_its_own(*, seed: int, minutes: float, most: int | None, kept: Path) -> Observed:
    """Makes the lab, and leaves nothing of it behind, however it ends.

    Raises:
        NoLab: none can be had.
    """
    with running_lab() as lab:
        stack = Stack(lab)
        say(f"the lab is up; seed {seed}, {minutes:g} minutes")
        stack.deploy()
        assert stack.all_well(), stack.what_is_wrong()
        swarm = Swarm(lab, stack)
        swarm.prepare()
        say("dts is well")
        try:
            return asyncio.run(soak(swarm, seed=seed, minutes=minutes, most=most, say=say))
        finally:
            kept.mkdir(parents=True, exist_ok=True)
            for node in lab.nodes:
                (kept / f"engine-{node.name}.log").write_bytes((node.home / "log").read_bytes())


def say(words: str) -> None:
    """To whom waits before the terminal."""
    print(words, flush=True)


def main(arguments: Sequence[str]) -> int:
    """The command line; 1 if a promise was not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--faults", type=int, help="not more than about so many")
    parser.add_argument("--report", type=Path, default=KEPT)
    parser.add_argument("--judge", type=Path, metavar="PICKLE", help="no run: judge an earlier one again")
    given = parser.parse_args(arguments)
    if given.judge:
        return 0 if judge(pickle.loads(given.judge.read_bytes()), given.report) else 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the lab is tidied up as after Ctrl-C
    try:
        observed = on_a_lab_of_its_own(seed=given.seed, minutes=given.minutes, most=given.faults, kept=given.report)
    except NoLab as error:
        print(f"no lab: {error}", file=sys.stderr)
        return 2
    return 0 if keep(observed, given.report) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
